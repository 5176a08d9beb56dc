"""Grad-CAM of networks whose reasons are known."""

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from face2exp_lib.config import load_config
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.networks import Backbone, FaceNetwork, build_network
from face2exp_lib.runs.explain import explain, explain_images, side_by_side
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.plans import initial_form
from tests.runs.test_predict import UpperLeft

pytest.importorskip("captum", reason="the explain extra is not installed")


class ByCorner(FaceNetwork):
    """Class 0 is how red the upper left is, class 1 how red the lower right, the rest nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Conv2d(3, 2, 1)
        with torch.no_grad():
            self.blocks.weight.zero_()
            self.blocks.weight[:, 0] = 1
            self.blocks.get_parameter("bias").fill_(3)

    def forward(self, x: Tensor) -> Tensor:
        planes = nn.functional.avg_pool2d(self.blocks(x), 8)
        logits = x.new_zeros(len(x), 7)
        logits[:, 0] = planes[:, 0, 0, 0] * 4
        logits[:, 1] = planes[:, 1, -1, -1] * 4
        return logits

    @property
    def last_maps(self) -> nn.Module:
        return self.blocks


def red(where: slice) -> Tensor:
    pixels = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    pixels[:, 0, where, where] = 255
    return pixels


@pytest.fixture
def config(config_path: Path) -> Any:
    return load_config(config_path)


@pytest.mark.parametrize(
    ("where", "expected"), [(slice(4, 12), 0), (slice(28, 36), 1)], ids=["upper left", "lower"]
)
def test_map_is_high_where_the_class_is_seen(config: Any, where: slice, expected: int) -> None:
    code, probability, heat = explain(config, ByCorner(), red(where))
    assert code == expected
    assert probability > 0.5
    assert heat.shape == (32, 32)
    assert (heat.min(), heat.max()) == (0, 1) or heat.max() == 1
    inside = slice(where.start - 4, where.stop - 4)  # the centre crop begins at 4
    assert heat[inside, inside].mean() > 1.5 * heat.mean()


def test_nothing_speaks_for_a_class_that_the_network_never_sees(config: Any) -> None:
    code, _, heat = explain(config, ByCorner(), red(slice(4, 12)), code=5)
    assert code == 5
    assert not heat.any()


def test_overlay_leaves_cold_pixels_and_colours_hot_ones() -> None:
    view = np.full((8, 8, 3), 100, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:4] = 1
    picture = np.asarray(side_by_side(view, heat))
    assert picture.shape == (448, 896, 3)
    assert (picture[:, :448] == 100).all()
    assert (picture[300:, 500:] == 100).all()
    hot = picture[100, 700]
    assert hot.tolist() == [round(0.45 * 100 + 0.55 * 255)] * 2 + [45]


def test_files(finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path) -> None:
    paths = [squares_root / "squares" / "test" / name / "0.png" for name in ("sad", "fear")]
    written = explain_images(finished_runs["meta"], paths, tmp_path / "maps")
    assert [each.picture.parent.name for each in written] == ["maps", "maps"]
    for number, (image, face, path, label, probability) in enumerate(written):
        assert (image, face) == (str(paths[number]), 0)
        assert path.name == f"000{number}-0-{label}.png"
        with Image.open(path) as picture:
            assert picture.size == (896, 448)
        assert 1 / 7 - 1e-6 <= probability <= 1
    (one,) = explain_images(finished_runs["meta"], paths[:1], tmp_path / "maps", "fear")
    assert one.label == "fear"
    assert len(list((tmp_path / "maps").iterdir())) in (2, 3)


def test_maps_of_a_resnet(config_path: Path) -> None:
    """Its blocks end with a ReLU in place, which hooks have to survive."""
    config = load_config(config_path, ["network.backbone=resnet18"])
    network = build_network("resnet18", 7, pretrained=False, seed=0)
    _, _, heat = explain(config, network, red(slice(4, 12)))
    assert heat.shape == (32, 32)


@pytest.mark.parametrize("method", ["cake", "ran", "gacnn"])
def test_maps_of_networks_of_other_forms(config_path: Path, method: str) -> None:
    """Of the face's own row, where crops of it pass beside it."""
    config = load_config(config_path, [f"method={method}"])
    network = initial_form(config, "base")
    seen: list[Tensor] = []
    network.last_maps.register_forward_hook(lambda _, __, found: seen.append(found))
    _, _, heat = explain(config, network, red(slice(4, 12)))
    assert heat.shape == (32, 32)
    assert {len(found) for found in seen} == {6 if method == "ran" else 1}


@pytest.mark.parametrize("backbone", ["resnet50", "resnet18", "small"])
def test_features_are_the_means_of_a_backbone_s_last_maps(backbone: Backbone) -> None:
    network = build_network(backbone, 7, pretrained=False, seed=0).eval()
    maps: list[Tensor] = []
    network.last_maps.register_forward_hook(lambda _, __, found: maps.append(found))
    with torch.no_grad():
        features = network.features(torch.rand(2, 3, 64, 64))
    assert maps[0].shape[2] > 1
    torch.testing.assert_close(maps[0].mean((2, 3)), features)


def test_mistakes_are_named(
    finished_runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_runs["meta"]
    with pytest.raises(Face2ExpError, match="no class 'joy' in this run: take neutral, happy"):
        explain_images(run, [], tmp_path, "joy")
    with pytest.raises(Face2ExpError, match=r"gone\.png: not a readable image"):
        explain_images(run, [tmp_path / "gone.png"], tmp_path)
    real_import = builtins.__import__

    def without(name: str, *rest: Any, **others: Any) -> Any:
        if name.startswith("captum"):
            raise ImportError("no", name="captum")
        return real_import(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Face2ExpError, match=r"explaining needs captum: pip install 'face2exp-lib"):
        explain_images(run, [], tmp_path)


def test_odd_names_become_plain(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "a b: ü.png"
    odd.write_bytes((squares_root / "squares" / "test" / "sad" / "0.png").read_bytes())
    (one,) = explain_images(finished_runs["meta"], [odd], tmp_path / "maps")
    assert one.picture.name == f"0000-a_b_-{one.label}.png"
    assert one.label in class_names(7)


def test_what_cannot_be_read_is_left_out_if_asked(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path
) -> None:
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    (tmp_path / "broken.png").write_bytes(b"broken")
    paths = [tmp_path / "broken.png", good]
    with pytest.raises(Face2ExpError, match=r"broken\.png: not a readable image"):
        explain_images(finished_runs["meta"], paths, tmp_path / "maps")
    left_out: list[str] = []
    (one,) = explain_images(finished_runs["meta"], paths, tmp_path / "maps", left_out=left_out)
    assert one.image == str(good)
    assert [text.split(": ")[0] for text in left_out] == [str(paths[0])]


def test_every_face_of_a_photo_is_explained(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "photo.png"
    with Image.open(squares_root / "squares" / "test" / "sad" / "0.png") as image:
        image.resize((80, 80)).save(picture)
    run, detector, maps = finished_runs["meta"], UpperLeft(), tmp_path / "maps"
    written = explain_images(run, [picture], maps, "sad", detector=detector, every_face=True)
    assert [(each.face, each.picture.name) for each in written] == [
        (1, "0000-photo-face1-sad.png"),
        (2, "0001-photo-face2-sad.png"),
    ]
    (one,) = explain_images(run, [picture], maps, "sad", detector=detector)
    assert (one.face, one.picture.name) == (0, "0000-photo-sad.png")
    assert one.probability == written[0].probability != written[1].probability
