"""Inception-ResNet-V1: the published network with another last layer."""

from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn

from face2exp_lib.augmentation.apply import MEAN, STD
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.errors import Face2ExpError

NAME = "inception_resnet_v1"
facenet = pytest.importorskip("facenet_pytorch", reason="the landmarks extra is not installed")
LOADER = "facenet_pytorch.models.inception_resnet_v1.load_weights"


def test_it_is_the_published_one_on_its_own_pixels() -> None:
    """facenet-pytorch's embeddings are the features, scaled to length 1."""
    network = build_network(NAME, 7, pretrained=False, seed=0).eval()
    published = facenet.InceptionResnetV1().eval()
    state = {name.removeprefix("network."): v for name, v in network.state_dict().items()}
    published.load_state_dict({name: v for name, v in state.items() if not name.startswith("fc.")})
    pixels = torch.rand(2, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    view = (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        features = network.features(view)
        expected = published((255 * pixels - 127.5) / 128)
        assert torch.equal(network.head(features), network(view))
        torch.testing.assert_close(nn.functional.normalize(features), expected)
    assert features.shape == (2, 512)
    assert network.last_maps is network.get_submodule("network.block8")


def test_it_draws_nothing() -> None:
    network = build_network(NAME, 7, pretrained=False, seed=0).train()
    images = torch.rand(2, 3, 80, 80)
    with torch.no_grad():
        assert torch.equal(network(images), network(images))


def test_published_weights_but_for_the_last_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(network: nn.Module, name: str) -> None:
        asked.append(name)
        nn.init.constant_(network.get_parameter("last_linear.weight"), 0.25)

    monkeypatch.setattr(LOADER, load)
    network = build_network(NAME, 7, pretrained="vggface2", seed=0)
    assert asked == ["vggface2"]
    assert set(network.get_parameter("network.last_linear.weight").unique().tolist()) == {0.25}
    assert network.get_parameter("fc.weight").shape == (7, 512)


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(LOADER, fail)
    message = (
        rf"network\.pretrained: the casia-webface weights of {NAME} could not be fetched .*: "
        r"connect once, or put the file into \S+torch/checkpoints, or set"
    )
    with pytest.raises(Face2ExpError, match=message):
        build_network(NAME, 7, pretrained="casia-webface", seed=0)
    with pytest.raises(Face2ExpError, match="there are no ImageNet weights for inception_resnet"):
        build_network(NAME, 7, pretrained="imagenet", seed=0)


def test_without_facenet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "facenet_pytorch", None)
    with pytest.raises(Face2ExpError, match=r"needs facenet-pytorch: pip install 'face2exp-lib\["):
        build_network(NAME, 7, pretrained=False, seed=0)
