"""WideResNet-28-2: its weights counted by hand, shapes, gradient, and that a config finds it."""

import pytest
import torch
import torch.nn.functional as F

from face2exp_lib.backbones.wide_resnet import NAME, PreActivationBlock, WideResNet
from face2exp_lib.networks import build_network, forward_operations

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))


def test_it_has_the_published_number_of_weights() -> None:
    """1.47 M at 10 classes, as FixMatch's and other papers on semi-supervised learning have it."""
    expected, inputs = 3 * 16 * 9, 16
    for width in (32, 64, 128):
        expected += 2 * inputs + inputs * width * 9 + 2 * width + width * width * 9  # first block
        expected += inputs * width  # its shortcut
        expected += 3 * 2 * (2 * width + width * width * 9)
        inputs = width
    expected += 2 * 128 + 128 * 10 + 10
    assert sum(p.numel() for p in WideResNet(10).parameters()) == expected == 1_467_610


def test_depth_is_28() -> None:
    """25 convolutions of 3 x 3 and three shortcuts; the last layer is not counted."""
    network = WideResNet(10)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    sizes = [convolution.kernel_size for convolution in convolutions]
    assert (sizes.count((3, 3)), sizes.count((1, 1))) == (25, 3)


@pytest.mark.parametrize("num_classes", [7, 8])
@pytest.mark.parametrize("side", [32, 44, 48, 64])
def test_it_maps_images_to_logits(num_classes: int, side: int) -> None:
    network = WideResNet(num_classes)
    images = torch.zeros(2, 3, side, side)
    assert network(images).shape == (2, num_classes)
    assert network.features(images).shape == (2, 128)


def test_the_side_is_halved_twice() -> None:
    network, seen = WideResNet(7), []
    network.last_maps.register_forward_hook(lambda _, given, made: seen.append(made.shape))
    network(torch.zeros(2, 3, 48, 48))
    assert seen == [(2, 128, 12, 12)]


def test_a_shortcut_is_the_input_itself_where_the_width_stays() -> None:
    images = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    block = PreActivationBlock(4, 4, 1)
    torch.nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(images), images)


def test_a_shortcut_begins_behind_the_relu_where_the_width_changes() -> None:
    block = PreActivationBlock(4, 6, 2).eval()  # batch norm changes nothing but by its epsilon
    torch.nn.init.zeros_(block.conv2.weight)
    assert block(-torch.ones(1, 4, 6, 6)).abs().max() == 0  # nothing passes the ReLU
    assert block(torch.ones(1, 4, 6, 6)).shape == (1, 6, 3, 3)


def test_gradient_against_a_finite_difference() -> None:
    """Along a random direction, in float64 and at a step that ReLUs hardly notice."""
    network = build_network(NAME, 7, pretrained=False, seed=0).double().train()
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(4, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(7, (4,), generator=generator)
    parameters = list(network.parameters())
    grads = torch.autograd.grad(F.cross_entropy(network(images), labels), parameters)
    assert all(grad.abs().sum() > 0 for grad in grads)
    direction = [torch.randn(p.shape, generator=generator).double() for p in parameters]
    product = sum((g * d).sum().item() for g, d in zip(grads, direction, strict=True))
    step, losses = 1e-9, []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, along in zip(parameters, direction, strict=True):
                parameter.add_(sign * step * along)
            losses.append(F.cross_entropy(network(images), labels).item())
    assert product == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-3)


def test_a_config_finds_it() -> None:
    """By its name, from a seed; its operations by hand: the side is 32, 16 and 8 px."""
    first, again, other = (build_network(NAME, 7, pretrained=False, seed=s) for s in (5, 5, 6))
    assert isinstance(first, WideResNet)
    stems = [network.get_parameter("stem.weight") for network in (first, again, other)]
    assert torch.equal(stems[0], stems[1])
    assert not torch.equal(stems[0], stems[2])
    with torch.no_grad():
        assert torch.equal(first.head(first.features(IMAGES)), first(IMAGES))
    places, expected = 32 * 32, 3 * 16 * 9 * 32 * 32
    for inputs, width in ((16, 32), (32, 64), (64, 128)):
        if width > 32:
            places //= 4
        expected += places * (9 * inputs * width + inputs * width + 7 * 9 * width * width)
    assert forward_operations(NAME, 7, 32) == 2 * (expected + 128 * 7)


def test_initial_outputs_of_a_convolution_keep_their_spread() -> None:
    """Weights have variance 2 over 9 times the outputs."""
    weight = build_network(NAME, 7, pretrained=False, seed=0).get_parameter("groups.9.conv2.weight")
    assert weight.var().item() == pytest.approx(2 / (9 * 128), rel=0.05)
