"""Pre-training on identities: to the bit, from the command line, and as a start of runs."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from face2exp_lib.config import dump_config
from face2exp_lib.networks import build_network
from face2exp_lib.runs.export import export_weights
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError, RunStopped
from face2exp_lib.runtime.storage import read_json, read_jsonl
from face2exp_lib.training import loop
from face2exp_lib.training.loop import train
from face2exp_lib.training.pretrain import (
    plan_pretraining,
    pretrain,
    read_persons,
)
from face2exp_lib.training.pretrain_config import (
    PretrainConfig,
    load_either_config,
    load_pretrain_config,
)
from tests.training.runs import Killed, Tiny, assert_same_run

CONFIG = """\
name: persons
data:
  faces: {format: identity_folders, path: people}
  stored_size: 40
  view_size: 32
network: {backbone: small}
training:
  num_steps: 6
  batch_size: 5
  eval_every_steps: 2
  checkpoint_every_steps: 2
device: cpu
"""
Persons = Callable[..., PretrainConfig]


@pytest.fixture(scope="module")
def persons(tmp_path_factory: pytest.TempPathFactory) -> Persons:
    path = tmp_path_factory.mktemp("config") / "persons.yaml"
    path.write_text(CONFIG)
    return lambda *changes: load_pretrain_config(path, list(changes))


@pytest.fixture(scope="module")
def finished(
    persons: Persons, squares_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished pre-training, to be read only."""
    run = tmp_path_factory.mktemp("pretrained") / "run"
    pretrain(persons(), run, squares_root)
    return run


def test_what_a_folder_holds(persons: Persons, finished: Path) -> None:
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*.*")}
    assert names - {"checkpoints"} == {
        ".lock",
        "config.yaml",
        "data.json",
        "environment.json",
        "finished.json",
        "metrics.jsonl",
        "checkpoints/best.pt",
        "checkpoints/step-00000006.pt",
    }
    assert load_pretrain_config(finished / "config.yaml") == persons()
    assert load_either_config(finished / "config.yaml") == persons()
    told = read_json(finished / "finished.json")
    assert (told["num_steps"], told["num_identities"], told["image_passes"]) == (6, 6, 30)
    sets = read_json(finished / "data.json")["sets"]
    assert [sets[name]["num_images"] for name in ("train", "held_out")] == [6, 6]
    records = read_jsonl(finished / "metrics.jsonl")
    validated = [r["validation"]["base"] for r in records if "validation" in r]
    assert len(validated) == 3
    assert (
        max(v["identity_accuracy"] for v in validated) == told["best_validation_identity_accuracy"]
    )
    state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)["network"]
    assert state["fc.weight"].shape == (6, 128)


def test_the_loss_is_that_of_persons(persons: Persons, squares_root: Path) -> None:
    """At the first weights, by torch's own words."""
    config = persons()
    parts = read_persons(config, squares_root)
    plan = plan_pretraining(config, parts, torch.device("cpu"))
    before = build_network("small", 6, pretrained=False, seed=config.seed).train()
    given, losses = next(plan.phases[0].steps(0))
    names = parts.train.identities
    assert names is not None
    labels = [sorted(set(names)).index(names[index]) for index in given.indices_fer]
    expected = F.cross_entropy(before(given.batch.x_fer), torch.tensor(labels))
    assert losses["loss_s"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_killed_and_resumed_is_the_same(
    persons: Persons,
    squares_root: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
    ema: float,
) -> None:
    config = persons(f"training.ema={ema}", "training.momentum=0.5")
    pretrain(config, tmp_path / "whole", squares_root)
    for step in (1, 3):
        kill_at(step)
        with pytest.raises(Killed):
            pretrain(config, tmp_path / "run", squares_root, resume=True)
    pretrain(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-00000006.pt", weights_only=True)
    assert ("averages" in state) == bool(ema)


def test_sigterm(
    persons: Persons,
    squares_root: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finite = loop._finite

    def terminated(*seen: Any) -> Any:
        if seen[-1].step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return finite(*seen)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "_finite", terminated)
        with pytest.raises(RunStopped, match="stopped after step 3 of 6"):
            pretrain(persons(), tmp_path / "run", squares_root)
    pretrain(persons(), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished)


def test_it_learns_who_is_who(persons: Persons, squares_root: Path, tmp_path: Path) -> None:
    """Colours are persons here."""
    config = persons("training.num_steps=60", "training.eval_every_steps=60", "training.eta=0.05")
    pretrain(config, tmp_path / "run", squares_root)
    last = read_jsonl(tmp_path / "run" / "metrics.jsonl")[-1]["validation"]["base"]
    assert last["identity_accuracy"] > 60
    assert last["verification_auc"] is None  # one image each is held out


def test_a_run_begins_with_it(
    tiny: Tiny, squares_root: Path, finished: Path, tmp_path: Path
) -> None:
    """From the folder as from the file, at the very same weights; all the way to a prediction."""
    size = export_weights(finished, tmp_path / "faces.safetensors")
    assert size == (tmp_path / "faces.safetensors").stat().st_size
    for place in (finished, tmp_path / "faces.safetensors"):
        config = tiny("method=supervised", f"network.pretrained={place}")
        train(config, tmp_path / place.stem, squares_root)
    assert (tmp_path / finished.stem / "metrics.jsonl").read_bytes() == (
        tmp_path / "faces" / "metrics.jsonl"
    ).read_bytes()
    _, network, _ = load_trained(tmp_path / "faces")
    assert network.head.out_features == 7


def test_a_file_says_where_it_is_from(finished: Path, tmp_path: Path) -> None:
    path, half = tmp_path / "faces.safetensors", tmp_path / "half.safetensors"
    assert export_weights(finished, half, half=True) < 0.6 * export_weights(finished, path)
    with safetensors.safe_open(path, framework="pt") as opened:
        about = opened.metadata()
        assert not any(name.startswith("fc.") for name in opened.keys())  # noqa: SIM118
    assert (about["backbone"], about["view_size"], about["name"]) == ("small", "32", "persons")
    assert "RecordIO" not in about["weights_terms"]
    assert "The training began with random weights" in about["weights_terms"]
    assert len(about["config_digest"]) == 16
    with pytest.raises(Face2ExpError, match=r"x\.pt: name the file \.safetensors"):
        export_weights(finished, tmp_path / "x.pt")


def test_a_pre_training_is_no_run(finished: Path) -> None:
    with pytest.raises(Face2ExpError, match="is a pre-training's: `face2exp pretrain` takes it"):
        load_trained(finished)


def test_it_may_begin_with_another(
    persons: Persons, squares_root: Path, finished: Path, tmp_path: Path
) -> None:
    config = persons(f"network.pretrained={finished}")
    plan = plan_pretraining(config, read_persons(config, squares_root), torch.device("cpu"))
    state = torch.load(finished / "checkpoints" / "best.pt", weights_only=True)["network"]
    for name, value in plan.networks["base"].state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(value, state[name]), name


def test_another_start_is_noticed(
    persons: Persons,
    squares_root: Path,
    finished: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    start = tmp_path / "faces.safetensors"
    export_weights(finished, start)
    config = persons(f"network.pretrained={start}")
    kill_at(3)
    with pytest.raises(Killed):
        pretrain(config, tmp_path / "run", squares_root)
    export_weights(finished, start, half=True)
    with pytest.raises(Face2ExpError, match="has begun from other weights than"):
        pretrain(config, tmp_path / "run", squares_root, resume=True)


def test_changes_are_noted_or_refused(
    persons: Persons, squares_root: Path, kill_at: Callable[[int], None], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    kill_at(3)
    with pytest.raises(Killed):
        pretrain(persons(), run, squares_root)
    with pytest.raises(Face2ExpError, match=r"training\.batch_size 5 -> 4"):
        pretrain(persons("training.batch_size=4"), run, squares_root, resume=True)
    slower = persons("training.eta=0.01")
    with pytest.raises(Face2ExpError, match=r"training\.eta 0\.03 -> 0\.01.*--resume --changed"):
        pretrain(slower, run, squares_root, resume=True)
    with pytest.raises(Face2ExpError, match="holds a run already"):
        pretrain(persons(), run, squares_root)
    pretrain(slower, run, squares_root, resume=True, changed=True)
    (change,) = read_json(run / "finished.json")["changes"]
    assert change["config"] == {"training.eta": [0.03, 0.01]}


def test_other_images_are_noticed(
    persons: Persons,
    squares_root: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
    picture: Callable[[int, int], bytes],
) -> None:
    root = tmp_path / "root"
    for person in "abc":
        (root / "people" / person).mkdir(parents=True)
        for number in range(3):
            (root / "people" / person / f"{number}.png").write_bytes(picture(ord(person), number))
    kill_at(3)
    with pytest.raises(Killed):
        pretrain(persons(), tmp_path / "run", root)
    (root / "people" / "a" / "3.png").write_bytes(picture(97, 3))
    with pytest.raises(Face2ExpError, match="has begun with other images, or other persons"):
        pretrain(persons(), tmp_path / "run", root, resume=True)


def test_images_of_nobody_else_and_dropped_ones(
    persons: Persons,
    tmp_path: Path,
    picture: Callable[[int, int], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A person with one image is told of; so is one that is left with one."""
    root = tmp_path / "root"
    for person, count in {"a": 3, "b": 2, "c": 1, "d": 2}.items():
        (root / "people" / person).mkdir(parents=True)
        for number in range(count):
            (root / "people" / person / f"{number}.png").write_bytes(picture(ord(person), number))
    origin = (root / "people").resolve()
    (root / "drop.csv").write_text(f"set,path,image,drop\npeople,{origin},d/0.png,yes\n")
    pretrain(persons("data.drop=drop.csv"), tmp_path / "run", root)
    assert "note: 2 persons have one image and are left out" in capsys.readouterr().err
    assert read_json(tmp_path / "run" / "finished.json")["num_identities"] == 2
    assert read_json(tmp_path / "run" / "data.json")["left_out"] == {"persons with one image": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("data.faces={format: class_folders, path: squares, part: train}", "does not say whose"),
        ("data.faces.path=gone", "gone: no such file or folder"),
        ("data.view_size=64", "view_size 64 is over stored_size 40"),
        ("data.held_out=1", r"data\.held_out: .*less than 1"),
        ("data.labelled=3", r"data\.labelled: unknown key"),
        ("training.eta_b=3", r"training\.eta_b: unknown key"),
        ("network.pretrained=gone", r"^network\.pretrained: gone: no such file or folder"),
        ("training.eta=1e9", r"lower training\.eta_a or eta_b \(of a pre-training: eta\)"),
    ],
)
def test_mistakes_are_named(
    persons: Persons, squares_root: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(Face2ExpError, match=message):
        pretrain(persons(change), tmp_path / "run", squares_root)


def test_the_packaged_one() -> None:
    config = load_pretrain_config("pretrain_rendered.yaml")
    assert len(read_persons(config, None).train) > 7000


def test_a_config_is_written_as_it_is_read(persons: Persons, tmp_path: Path) -> None:
    config = persons("data.drop=[a.csv, b.csv]", "seed=4")
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_pretrain_config(tmp_path / "c.yaml") == config
