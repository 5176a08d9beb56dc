"""Backbones: shapes, seeds, pre-trained weights, and batch norm that forgets."""

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from face2exp_lib.backbones.small import SmallResNet
from face2exp_lib.networks import (
    Backbone,
    build_network,
    forward_operations,
    frozen_running_stats,
)
from face2exp_lib.runtime.errors import Face2ExpError


def small(num_classes: int = 7, seed: int = 0) -> nn.Module:
    return build_network("small", num_classes, pretrained=False, seed=seed)


def weights(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("num_classes", [7, 8])
@pytest.mark.parametrize("side", [32, 44, 57])
def test_small_net_maps_images_to_logits(num_classes: int, side: int) -> None:
    assert small(num_classes)(torch.zeros(2, 3, side, side)).shape == (2, num_classes)


def test_small_net_has_the_number_of_weights_that_it_says() -> None:
    assert 250_000 < len(weights(small())) < 350_000


def test_resnet18_maps_images_to_logits() -> None:
    network = build_network("resnet18", 7, pretrained=False, seed=0)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_large_net_is_torchvision_s_with_another_last_layer(backbone: Backbone) -> None:
    """The same weights under the same names give the same bits."""
    network = build_network(backbone, 7, pretrained=False, seed=0)
    published = get_model(backbone, num_classes=7)
    published.load_state_dict(network.state_dict())
    assert list(network.state_dict()) == list(published.state_dict())
    images = torch.rand(2, 3, 64, 64)
    for net in (network, published):
        net.to(memory_format=torch.channels_last).train()
    assert torch.equal(network(images), published(images))
    assert torch.equal(network.head(network.features(images)), published(images))


def test_weights_are_a_function_of_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = weights(small(seed=5))
    torch.manual_seed(2)
    assert torch.equal(weights(small(seed=5)), first)
    assert not torch.equal(weights(small(seed=6)), first)


def test_operations_of_the_small_net_by_hand() -> None:
    """On 32 px: a multiplication and an addition for each weight at each place that it is used.

    The stem halves the side and so does each block: they see 16, 8, 4 and 2 squared places.
    """
    places = 16**2 * (3 * 8 + 8 * 16) * 9
    for side, c_in, c_out in ((8, 16, 32), (4, 32, 64), (2, 64, 128)):
        places += side**2 * (c_in * c_out * 9 + c_out * c_out * 9 + c_in * c_out)
    assert forward_operations("small", 7, 32) == 2 * (places + 128 * 7)


def test_operations_of_resnet50_are_the_known_ones() -> None:
    """He et al. 2016 give 3.8e9 for the original; torchvision's, which strides later, has 4.09e9
    multiplications with additions."""
    assert forward_operations("resnet50", 1000, 224) == pytest.approx(2 * 4.09e9, rel=0.01)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    small()
    assert torch.equal(torch.get_rng_state(), before)


def buffers(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def test_frozen_running_stats_normalise_by_the_batch_and_forget_it() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 32, 32) * 3 + 1
    frozen, usual = small(), small()
    with frozen_running_stats(frozen):
        logits = frozen(images)
    assert torch.equal(logits, usual(images))  # the usual one normalises by its batch as well
    before = buffers(small())
    for name, buffer in frozen.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert not torch.equal(buffers(usual)["stem.0.1.running_mean"], before["stem.0.1.running_mean"])
    assert usual.get_buffer("stem.0.1.num_batches_tracked") == 1
    # And it is not what the running statistics would give.
    assert not torch.allclose(logits, frozen.eval()(images), atol=1e-2)


def test_frozen_running_stats_end_with_the_block_even_on_an_error() -> None:
    network = small()
    with pytest.raises(ValueError, match="inside"), frozen_running_stats(network):
        raise ValueError("inside")
    network(torch.ones(2, 3, 32, 32))
    assert network.get_buffer("stem.0.1.num_batches_tracked") == 1


def test_frozen_running_stats_may_be_nested_and_keep_norms_that_track_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, track_running_stats=False))
    with frozen_running_stats(network):
        with frozen_running_stats(network):
            pass
        network(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert [norm.track_running_stats for norm in network] == [True, False]
    assert buffers(network)["0.running_mean"].tolist() == [0, 0]


LOADER = "torchvision.models._api.load_state_dict_from_url"


@pytest.mark.parametrize(
    "error",
    [
        URLError("no network"),
        RuntimeError('invalid hash value (expected "0", got "1")'),
        UnpicklingError("cut off"),
        EOFError("cut off"),
    ],
)
def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(LOADER, fail)
    with pytest.raises(
        Face2ExpError,
        match=r"network\.pretrained: the ImageNet weights of resnet18 could not be fetched "
        r".*: connect once, or put the file into .*/checkpoints, or set network\.pretrained",
    ):
        build_network("resnet18", 7, pretrained=True, seed=0)


def test_small_net_has_no_weights_to_fetch() -> None:
    with pytest.raises(Face2ExpError, match=r"network\.pretrained: there are no ImageNet weights"):
        build_network("small", 7, pretrained=True, seed=0)


def test_pretrained_weights_are_taken_but_for_the_last_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = build_network("resnet18", 1000, pretrained=False, seed=9).state_dict()
    fetch: Callable[..., Any] = lambda *_, **__: published  # noqa: E731
    monkeypatch.setattr(LOADER, fetch)
    network = build_network("resnet18", 7, pretrained=True, seed=0)
    for name, tensor in network.state_dict().items():
        if name.startswith("fc."):
            assert tensor.shape[0] == 7
        else:
            assert torch.equal(tensor, published[name]), name
    assert not isinstance(network, SmallResNet)
