"""What networks begin from: another run, a file, and what is wrong with either."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch

from face2exp_lib.config import Network, RunConfig, config_digest, dump_config, load_config
from face2exp_lib.networks import build_network
from face2exp_lib.runs.card import weights_terms
from face2exp_lib.runs.mismatch import _initial
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training import stored_weights
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import plan_run
from face2exp_lib.training.pretrain_config import load_pretrain_config
from face2exp_lib.training.starts import initial_network
from face2exp_lib.training.stored_weights import read_backbone, write_backbone
from tests.run_data import run_data
from tests.training.runs import Killed, Tiny, assert_same_run, refused


@pytest.fixture
def stored(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """The weights of a finished run as a file."""
    path = tmp_path / "faces.safetensors"
    write_backbone(path, read_backbone(finished_runs["supervised"]), {"made": "here"})
    return path


def test_both_networks_begin_from_a_run_with_heads_of_their_own(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path]
) -> None:
    run = finished_runs["supervised"]
    _, source, _ = load_trained(run)
    config = tiny(f"network.pretrained={run}")
    plan = plan_run(config, run_data(config, squares_root), torch.device("cpu"))
    heads = []
    for network in plan.classifiers.values():
        for name, value in network.state_dict().items():
            if not name.startswith("fc."):
                assert torch.equal(value, source.state_dict()[name]), name
        heads.append(network.get_parameter("fc.weight"))
    assert not torch.equal(*heads)
    fresh = build_network("small", 7, pretrained=False, seed=config.seed)
    assert torch.equal(heads[0], fresh.get_parameter("fc.weight"))
    assert torch.equal(_initial(config).get_parameter("fc.weight"), heads[1])


def test_a_file_holds_what_its_run_held(stored: Path, finished_runs: dict[str, Path]) -> None:
    from_run, from_file = (
        initial_network(Network("small", str(place)), 8, seed=3).state_dict()
        for place in (finished_runs["supervised"], stored)
    )
    assert from_run.keys() == from_file.keys()
    assert all(torch.equal(from_run[name], from_file[name]) for name in from_run)
    assert from_file["fc.weight"].shape[0] == 8
    assert read_backbone(stored).about == {"made": "here", "backbone": "small"}


def test_half_the_bytes(stored: Path, finished_runs: dict[str, Path], tmp_path: Path) -> None:
    half = tmp_path / "half.safetensors"
    write_backbone(half, read_backbone(finished_runs["supervised"]), {}, half=True)
    assert half.stat().st_size < 0.6 * stored.stat().st_size
    whole, rounded = (
        initial_network(Network("small", str(place)), 7, seed=0) for place in (stored, half)
    )
    for name, value in rounded.state_dict().items():
        assert value.dtype == whole.state_dict()[name].dtype
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-3, atol=1e-6)


def test_a_run_records_its_start_and_notices_another(
    tiny: Tiny,
    squares_root: Path,
    stored: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    config = tiny("method=supervised", f"network.pretrained={stored}")
    train(config, tmp_path / "whole", squares_root)
    kill_at(3)
    with pytest.raises(Killed):
        train(config, tmp_path / "run", squares_root)
    began = read_json(tmp_path / "run" / "environment.json")["pretrained"]
    assert began["place"] == str(stored)
    assert len(began["sha256"]) == 64
    held = stored.read_bytes()
    stored.write_bytes(held[:-4] + b"\0\0\0\0")
    refused(
        config, tmp_path / "run", squares_root, "has begun from other weights than", resume=True
    )
    stored.write_bytes(held)
    train(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert f"the weights in {stored}" in weights_terms(config)


def test_a_start_changes_the_run(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], stored: Path, tmp_path: Path
) -> None:
    train(tiny("method=supervised", f"network.pretrained={stored}"), tmp_path / "run", squares_root)
    before, after = (
        (run / "metrics.jsonl").read_text()
        for run in (finished_runs["supervised"], tmp_path / "run")
    )
    assert before != after


def test_a_bare_name_may_be_that_of_a_packaged_file(
    stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "pretrained").mkdir(parents=True)
    stored.rename(tmp_path / "data" / "pretrained" / "packaged.safetensors")
    monkeypatch.setattr(stored_weights, "shipped", lambda name: tmp_path / name)
    assert stored_weights.weights_file("packaged.safetensors").is_file()
    for other in ("packaged", "x/packaged.safetensors"):
        with pytest.raises(Face2ExpError, match="no such file or folder"):
            stored_weights.weights_file(other)


def broken(tmp_path: Path, run: Path, name: str) -> Path:
    """Places that are no start."""
    place = tmp_path / f"{name}.safetensors"
    weights = read_backbone(run)
    if name == "empty folder":
        place = tmp_path / name
        place.mkdir()
    elif name == "no checkpoint":
        place = tmp_path / name
        place.mkdir()
        shutil.copy(run / "config.yaml", place)
    elif name == "damaged run":
        place = Path(shutil.copytree(run, tmp_path / name))
        (place / "checkpoints" / "best.pt").write_bytes(b"garbage")
    elif name == "run without a backbone":
        place = Path(shutil.copytree(run, tmp_path / name))
        (place / "config.yaml").write_text("network: 3")
    elif name == "cut off":
        write_backbone(place, weights, {})
        place.write_bytes(place.read_bytes()[:5000])
    elif name == "garbage":
        place.write_bytes(b"garbage")
    elif name == "nobody's":
        safetensors.torch.save_file({"x": torch.zeros(1)}, place)
    elif name == "too few":
        write_backbone(place, weights._replace(tensors={}), {})
    elif name == "too many":
        write_backbone(place, weights._replace(tensors={**weights.tensors, "x": torch.ones(1)}), {})
    elif name == "other shapes":
        wide = {key: torch.zeros(3, 3) for key in weights.tensors}
        write_backbone(place, weights._replace(tensors=wide), {})
    elif name == "text":
        place = tmp_path / "notes.txt"
        place.write_text("weights")
    elif name == "another backbone":
        write_backbone(place, weights._replace(backbone="resnet18"), {})
    return place


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no such file or folder: give a run's folder or a .safetensors"),
        ("empty folder", "no run directory: `face2exp train` and `pretrain` make them"),
        ("no checkpoint", "no best checkpoint yet: go on with that run first"),
        ("damaged run", "best.pt: cut off or no checkpoint"),
        ("run without a backbone", "no run directory that can be read"),
        ("cut off", "cut off or no .safetensors file"),
        ("garbage", "cut off or no .safetensors file"),
        ("nobody's", "does not say whose weights it holds"),
        ("too few", "do not fit small: they are those of another version, or damaged"),
        ("too many", "do not fit small"),
        ("other shapes", "do not fit small"),
        ("text", "notes.txt: no weights: give a run's folder or a .safetensors file"),
        ("another backbone", "holds weights of resnet18, and network.backbone is small"),
    ],
)
def test_places_that_are_no_start(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    tmp_path: Path,
    name: str,
    message: str,
) -> None:
    """Nothing is left behind but the folder."""
    place = broken(tmp_path, finished_runs["supervised"], name)
    config = tiny("method=supervised", f"network.pretrained={place}")
    refused(config, tmp_path / "run", squares_root, rf"^network\.pretrained: .*{message}")
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_old_configs_say_yes_or_no(tiny: Tiny, tmp_path: Path) -> None:
    for told, name in (("false", "none"), ("true", "imagenet"), ("none", "none")):
        config = tiny("network.backbone=resnet18", f"network.pretrained={told}")
        assert config.network.pretrained == name
        (tmp_path / "c.yaml").write_text(dump_config(config))
        assert load_config(tmp_path / "c.yaml") == config


def test_a_config_is_read_without_its_start(tiny: Callable[..., RunConfig]) -> None:
    """Whoever evaluates a run need not have what it began from."""
    assert tiny("network.pretrained=gone").network.pretrained == "gone"


def test_the_shipped_backbone_is_that_of_its_config_and_small() -> None:
    path = shipped("data/pretrained") / "small_rendered.safetensors"
    assert path.stat().st_size <= 3e6
    with safetensors.safe_open(path, "pt") as file:
        about = file.metadata()
    config = load_pretrain_config(Path("pretrain_rendered.yaml"))
    assert about["config_digest"] == config_digest(config)
    assert "Rendered faces: Public domain" in about["weights_terms"]
    stored = shipped("results") / "pretrain_rendered"
    assert load_pretrain_config(stored / "config.yaml") == config
    begun = initial_network(Network("small", path.name), 7, seed=0).state_dict()
    fresh = build_network("small", 7, pretrained=False, seed=0).state_dict()
    assert begun.keys() == fresh.keys()
    assert not torch.equal(begun["stem.0.0.weight"], fresh["stem.0.0.weight"])


def test_the_shipped_backbone_is_as_good_as_its_config_says() -> None:
    found = read_json(shipped("results") / "pretrain_rendered" / "finished.json")
    accuracy = found["best_validation_identity_accuracy"]
    header = (shipped("configs") / "pretrain_rendered.yaml").read_text()
    assert f"# Expected score: {accuracy:.1f} % of held-out faces" in header
