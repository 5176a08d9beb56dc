"""What may change in mid-run, what the record tells of it, and that each advice can be followed."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.sources import Source
from face2exp_lib.runs.card import model_card
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl
from face2exp_lib.training import loop as training
from face2exp_lib.training.checkpoint import checkpoints
from face2exp_lib.training.loop import train
from face2exp_lib.training.pretrain_config import PretrainConfig
from face2exp_lib.training.run_changes import (
    KEYS,
    changed_keys,
    kind_of,
    note_changes,
    read_changes,
    told,
)
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@pytest.fixture
def broken_off(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """A run of ten steps that died in its sixth, by default, after the checkpoint of four."""

    def die(*changes: str, root: Path = squares_root, at: int = 5) -> Path:
        finite = training._finite

        def dying(*seen: Any) -> Any:
            if seen[-1].step == at:
                raise Killed
            return finite(*seen)

        with monkeypatch.context() as patched:
            patched.setattr(training, "_finite", dying)
            with pytest.raises(Killed):
                train(tiny(*changes), tmp_path / "run", root)
        return tmp_path / "run"

    return die


@pytest.fixture
def root(squares_root: Path, tmp_path: Path) -> Path:
    """A data root of this test's own."""
    return Path(shutil.copytree(squares_root, tmp_path / "root"))


def sections() -> dict[str, set[str]]:
    """Section of a config, as the table calls it -> the keys in it that are no sections."""
    found: dict[str, set[str]] = {"": set(), "SOURCE": {field.name for field in fields(Source)}}
    for config in (RunConfig, PretrainConfig):
        hints = get_type_hints(config)
        for field in fields(config):
            if not is_dataclass(hints[field.name]):
                found[""].add(field.name)
                continue
            inner = get_type_hints(hints[field.name])
            found.setdefault(field.name, set()).update(
                key.name
                for key in fields(hints[field.name])
                if Source not in (inner[key.name], *get_args(inner[key.name]))
            )
    return found


def test_the_table_has_each_key_of_a_config_once() -> None:
    """A new key has to be entered, and with it somebody has to think about resuming."""
    listed = {
        section: [name for names in kinds.values() for name in names.split()]
        for section, kinds in KEYS.items()
    }
    assert {section: sorted(keys) for section, keys in sections().items()} == {
        section: sorted(names) for section, names in listed.items()
    }


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("device", "free"),
        ("data.num_workers", "free"),
        ("telemetry.tensorboard", "free"),
        ("training.eta_b", "noted"),
        ("data.drop", "noted"),
        ("data.labelled.path", "noted"),
        ("data.unlabelled.format", "fixed"),
        ("seed", "fixed"),
        ("network.backbone", "fixed"),
        ("uda.not_there", "fixed"),
    ],
)
def test_kinds_of_keys(key: str, kind: str) -> None:
    assert kind_of(key) == kind


def test_changes_are_told_by_key_old_and_new(tiny: Tiny) -> None:
    now = tiny("seed=3", "training.eta_b=0.5", "data.drop=x.csv", "data.num_workers=2")
    keys = changed_keys(tiny(), now, None)
    assert keys == {
        "data.drop": (None, "x.csv"),
        "training.eta_b": (0.05, 0.5),
        "seed": (0, 3),
    }
    assert told(keys) == "data.drop null -> 'x.csv', training.eta_b 0.05 -> 0.5, seed 0 -> 3"
    many = {f"key{number}": (0, 1) for number in range(7)}
    assert told(many).endswith("key4 0 -> 1 and 2 more")


def test_a_path_may_be_spelt_otherwise(tiny: Tiny, root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root / "squares")
    (root / "bad.csv").write_text("set,image,drop\n")
    before = tiny("data.drop=bad.csv")
    for path in (root / "squares", tmp_path / "link", "people/../squares"):
        now = tiny(f"data.labelled.path={path}", f"data.drop=[{root}/bad.csv]")
        assert changed_keys(before, now, root) == {}
    other = tiny("data.labelled.path=people", "data.drop=bad.csv")
    assert changed_keys(before, other, root) == {"data.labelled.path": ("squares", "people")}
    assert set(changed_keys(before, tiny(), root)) == {"data.drop"}


def test_a_validation_set_of_its_own_is_another_run(tiny: Tiny) -> None:
    part = "{format: class_folders, path: squares, part: val}"
    own = tiny(f"data.validation={part}", "data.validation_per_class=null")
    keys = changed_keys(tiny(), own, None)
    assert kind_of("data.validation.format") == "fixed"
    assert {"data.validation.format", "data.validation_per_class"} <= keys.keys()


# The record


def test_the_record_keeps_all_changes_in_order(tmp_path: Path) -> None:
    note_changes(tmp_path, 4, {}, {})
    assert not (tmp_path / "changes.jsonl").exists()
    note_changes(tmp_path, 4, {"training.eta_b": (0.1, 0.2)}, {})
    note_changes(tmp_path, 4, {"training.eta_b": (0.1, 0.2)}, {})  # killed before the config
    note_changes(tmp_path, 8, {}, {"labelled": {"images": [21, 20]}})
    note_changes(tmp_path, 8, {}, {})
    assert read_changes(tmp_path) == [
        {"step": 4, "config": {"training.eta_b": [0.1, 0.2]}, "sets": {}},
        {"step": 8, "config": {}, "sets": {"labelled": {"images": [21, 20]}}},
    ]


def test_steps_that_are_made_anew_have_what_changed_at_them(tmp_path: Path) -> None:
    note_changes(tmp_path, 4, {"training.eta_b": (0.1, 0.2)}, {})
    note_changes(tmp_path, 8, {"training.eta_b": (0.2, 0.3)}, {})
    note_changes(tmp_path, 6, {}, {})  # the checkpoint of step 8 was lost
    assert [change["step"] for change in read_changes(tmp_path)] == [4, 6]
    note_changes(tmp_path, 0, {}, {})  # all of them: nothing has changed in mid-run
    assert read_changes(tmp_path) == []


# Runs that go on


def test_what_decides_nothing_may_change(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], broken_off: Callable[..., Path]
) -> None:
    run = broken_off()
    free = [
        "name=other",
        "device=auto",
        "data.num_workers=1",
        "data.in_memory=true",
        f"data.labelled.path={squares_root}/squares",
        "training.checkpoint_every_steps=3",
        "training.keep_checkpoints=2",
        "compute.threads=1",
        "telemetry={pseudo_labels: false, distance_images: 3}",
    ]
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        free.remove("device=auto")
    train(tiny(*free), run, squares_root, resume=True)
    assert load_config(run / "config.yaml") == tiny(*free)
    assert not (run / "changes.jsonl").exists()
    assert read_json(run / "finished.json") == read_json(finished_runs["meta"] / "finished.json")
    for key in ("loss_s", "validation"):
        first, second = (
            [r.get(key) for r in read_jsonl(path / "metrics.jsonl")]
            for path in (run, finished_runs["meta"])
        )
        assert first == second
    train(tiny(), run, squares_root, resume=True)  # finished, and as free as before


def test_rates_may_change_when_it_is_said_and_noted(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], broken_off: Callable[..., Path]
) -> None:
    run = broken_off()
    now = tiny("training.eta_b=0.001", "training.momentum_b=0.5", "meta.w_c=0.5")
    message = (
        r"run: its config has changed \(training.eta_b 0.05 -> 0.001, training.momentum_b 0.9 -> "
        r"0.5, meta.w_c 1.0 -> 0.5\): go on with --resume --changed, which notes it"
    )
    with pytest.raises(Face2ExpError, match=message):
        train(now, run, squares_root, resume=True)
    assert load_config(run / "config.yaml") == tiny()
    train(now, run, squares_root, resume=True, changed=True)
    assert load_config(run / "config.yaml") == now
    change = {
        "step": 4,
        "config": {
            "training.eta_b": [0.05, 0.001],
            "training.momentum_b": [0.9, 0.5],
            "meta.w_c": [1.0, 0.5],
        },
        "sets": {},
    }
    assert read_changes(run) == [change]
    assert read_json(run / "finished.json")["changes"] == [change]
    result, _ = evaluate_run(run, "val", squares_root)
    assert result["changes"] == [change]
    assert "- from step 4 on with changes: training.eta_b 0.05 -> 0.001; tr" in model_card(run)
    old, new = (read_jsonl(r / "metrics.jsonl") for r in (finished_runs["meta"], run))
    assert [r["loss_s"] for r in new[:5]] == [r["loss_s"] for r in old[:5]]
    assert new[5]["loss_s"] != old[5]["loss_s"]
    with pytest.raises(Face2ExpError, match=r"has finished with another config \(training.eta_b"):
        train(tiny("training.eta_b=0.7"), run, squares_root, resume=True, changed=True)


def test_the_configs_momentum_counts_and_not_the_checkpoints(
    tiny: Tiny, squares_root: Path, broken_off: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An optimiser's own state holds its momentum and weight decay, too."""
    run, seen = broken_off("method=supervised", at=3), []
    take = training._finite

    def watched(losses: Any, phase: Any, *others: Any) -> Any:
        (group,) = phase.optimisers["base"].param_groups
        seen.append((group["momentum"], group["weight_decay"]))
        return take(losses, phase, *others)

    monkeypatch.setattr(training, "_finite", watched)
    now = tiny("method=supervised", "training.momentum_b=0.25", "training.weight_decay=0.125")
    train(now, run, squares_root, resume=True, changed=True)
    assert set(seen) == {(0.25, 0.125)}


def test_changed_with_nothing_changed_is_harmless(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], broken_off: Callable[..., Path]
) -> None:
    run = broken_off()
    train(tiny(), run, squares_root, resume=True, changed=True)
    for name in ("metrics.jsonl", "finished.json", "config.yaml"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()


def test_a_run_may_be_made_longer_while_its_phase_is_not_over(
    tiny: Tiny, squares_root: Path, broken_off: Callable[..., Path]
) -> None:
    run = broken_off()  # after 3 steps of warm start and 1 of Algorithm 1
    longer = tiny("training.num_steps=6")
    train(longer, run, squares_root, resume=True, changed=True)
    phases = [record["phase"] for record in read_jsonl(run / "metrics.jsonl")]
    assert phases == ["warm_start"] * 3 + ["meta"] * 6 + ["finetune"] * 3
    # 3 x 2 x 6 + 6 x (2 x 6 + 3 x 5) + 3 x 6 images
    assert read_json(run / "finished.json")["image_passes"] == 216


@pytest.mark.parametrize("steps", [1, 6])
def test_a_phase_that_is_over_keeps_its_length(
    tiny: Tiny, squares_root: Path, broken_off: Callable[..., Path], steps: int
) -> None:
    run = broken_off(at=9)  # its last checkpoint is one of the fine-tune
    with pytest.raises(Face2ExpError, match=r"step-00000008.pt: it has come further than"):
        train(tiny(f"training.num_steps={steps}"), run, squares_root, resume=True, changed=True)


@pytest.mark.parametrize("how", ["dropped", "deleted"])
def test_images_may_go_when_it_is_said_and_noted(
    tiny: Tiny, root: Path, broken_off: Callable[..., Path], how: str
) -> None:
    """Of happy there are ten images, two of them in validation and three drawn for training."""
    run = broken_off(root=root)
    config, faces = tiny(), run_data(tiny(), root).labelled
    image = next(i for i in faces.ids if i.startswith("happy/"))
    if how == "dropped":
        name = config.data.labelled.read(root).name
        (root / "bad.csv").write_text(f"set,image,drop\n{name},{image},yes\n")
        config = tiny("data.drop=bad.csv")
        message = r"its config has changed \(data.drop null -> .*bad.csv'\): go on with --resume"
    else:
        (root / "squares" / "train" / image).unlink()
        message = (
            r"run: has begun with other images: long_tailed \(31 images now, 32 then; .*labelled "
            r"\(21 images now, 21 then; \d gone, \d new\).*: restore them, go on with --resume "
            "--changed"
        )
    with pytest.raises(Face2ExpError, match=message):
        train(config, run, root, resume=True)
    train(config, run, root, resume=True, changed=True)
    (change,) = read_changes(run)
    assert change["step"] == 4
    assert change["sets"]["long_tailed"]["images"] == [32, 31]
    assert change["sets"]["labelled"]["gone"] >= 1
    assert ("data.drop" in change["config"]) == (how == "dropped")
    assert "test" not in change["sets"]
    assert image not in run_data(config, root).labelled.ids
    assert read_json(run / "data.json")["sets"]["long_tailed"]["num_images"] == 31
    assert read_json(run / "finished.json")["changes"] == [change]
    evaluate_run(run, "val", root)
    assert "long_tailed set: 31 images now, 32 then; 1 gone, 0 new" in model_card(run)


def test_images_that_come_into_validation_from_training_are_counted(
    tiny: Tiny, root: Path, broken_off: Callable[..., Path]
) -> None:
    """They flatter it: all of the pool has been trained on, but for those held out before."""
    changes = ("training.warm_start_labels=long_tailed",)
    run = broken_off(*changes, root=root)
    for image in run_data(tiny(*changes), root).validation.ids:
        if image.startswith("happy/"):
            (root / "squares" / "train" / image).unlink()
    train(tiny(*changes), run, root, resume=True, changed=True)
    (change,) = read_changes(run)
    validation = change["sets"]["validation"]
    assert validation == {"images": [14, 14], "gone": 2, "new": 2, "trained_on": 2}


def test_another_set_is_another_run(
    tiny: Tiny, root: Path, broken_off: Callable[..., Path]
) -> None:
    run = broken_off(root=root)
    for path in (root / "people").rglob("*.png"):
        path.rename(path.with_name(f"other-{path.name}"))
    message = "its unlabelled set has none of the images that the run began with: restore it, or"
    with pytest.raises(Face2ExpError, match=message):
        train(tiny(), run, root, resume=True, changed=True)


def test_what_a_method_chose_of_a_set_holds_the_set(
    tiny: Tiny, root: Path, broken_off: Callable[..., Path]
) -> None:
    """SCN keeps a label for each place in the labelled set."""
    run = broken_off("method=scn", root=root, at=3)
    faces = run_data(tiny("method=scn"), root).labelled
    image = next(image for image in faces.ids if image.startswith("happy/"))
    (root / "squares" / "train" / image).unlink()
    with pytest.raises(Face2ExpError, match="method scn: the labelled set has changed"):
        train(tiny("method=scn"), run, root, resume=True, changed=True)


def test_a_run_of_a_version_without_lists_goes_on_by_its_counts(
    tiny: Tiny, root: Path, broken_off: Callable[..., Path]
) -> None:
    run = broken_off(root=root)
    (run / "data_lists.npz").write_bytes(b"damaged")
    next((root / "people" / "person0").glob("*.png")).unlink()
    message = r"other images: unlabelled \(11 images now, 12 then\): restore"
    with pytest.raises(Face2ExpError, match=message):
        train(tiny(), run, root, resume=True)
    train(tiny(), run, root, resume=True, changed=True)
    assert read_changes(run)[0]["sets"] == {"unlabelled": {"images": [12, 11]}}


# Weights that diverge


def test_lower_rates_after_a_loss_that_was_not_finite(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    """The checkpoint of a step whose weights are finite and whose loss is not is let go."""
    run = tmp_path / "run"
    wild = ("method=supervised", "training.checkpoint_every_steps=1", "training.eta_b=1e30")
    with pytest.raises(
        Face2ExpError, match="; there is no checkpoint yet, so --resume begins anew"
    ):
        train(tiny(*wild), run, squares_root)
    assert checkpoints(run) == []
    train(tiny(*wild[:2]), run, squares_root, resume=True)
    assert read_json(run / "finished.json")["num_steps"] == 4
    assert not (run / "changes.jsonl").exists()  # all of it was made with the lower rate


def test_lower_rates_from_the_last_checkpoint_that_serves(
    tiny: Tiny, squares_root: Path, broken_off: Callable[..., Path]
) -> None:
    every = (
        "method=supervised",
        "training.checkpoint_every_steps=1",
        "training.eval_every_steps=9",
    )
    run = broken_off(*every, at=2)
    wild = tiny(*every, "training.eta_b=1e30")
    with pytest.raises(Face2ExpError, match=r"; --resume --changed goes on from (\S+)") as raised:
        train(wild, run, squares_root, resume=True, changed=True)
    found = re.search(r"from (\S+)$", str(raised.value))
    assert found
    assert [path.name for path in checkpoints(run)] == [found[1]]
    state = torch.load(checkpoints(run)[0], weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["networks"]["base"].values())
    assert state["step"] < 3  # not what the wild rate has made
    train(tiny(*every), run, squares_root, resume=True, changed=True)
    assert all(r["loss_s"] < 10 for r in read_jsonl(run / "metrics.jsonl"))
    assert json.loads((run / "finished.json").read_text())["num_steps"] == 4
