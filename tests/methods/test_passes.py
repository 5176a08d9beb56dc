"""Passes against plain autograd: gradients, slopes, micro-batches, precisions."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib.backbones.small import SmallResNet
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    Grads,
    add_scaled,
    compile_networks,
    gradient_pass,
    loss_pass,
    slope_pass,
)
from face2exp_lib.networks import build_network, frozen_running_stats
from face2exp_lib.runtime.errors import Face2ExpError

Case = tuple[SmallResNet, Tensor, Tensor]


def network_without_statistics(seed: int = 0) -> nn.Module:
    """Convolution and layers that treat each image by itself, float64."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 7)
        ).double()


def batch(number: int = 7, side: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(number, 3, side, side, dtype=torch.float64, generator=generator)
    return x, torch.randint(7, (number,), generator=generator)


@pytest.fixture
def case() -> Case:
    """The small net with batch norm, float64, on 6 images of 32 px."""
    network = build_network("small", 7, pretrained=False, seed=0).double()
    assert isinstance(network, SmallResNet)
    return network, *batch(6, 32)


def plain_gradient(network: nn.Module, loss: Tensor) -> Grads:
    return torch.autograd.grad(loss, list(network.parameters()))


def assert_close(first: Grads, second: Grads, tolerance: float) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=tolerance, rtol=tolerance)


def test_gradient_pass_is_autograd(case: Case) -> None:
    network, x, y = case
    found = gradient_pass(network, x, y, PLAIN, weight=0.3)
    logits = network(x)
    loss = F.cross_entropy(logits, y)
    assert torch.equal(found.loss, loss)
    assert torch.equal(found.logits, logits)
    assert_close(found.grad, plain_gradient(network, 0.3 * loss), 0)
    assert not any(tensor.requires_grad for tensor in (found.loss, found.logits, *found.grad))
    assert all(parameter.grad is None for parameter in network.parameters())


def test_without_a_target_the_network_labels_the_images_itself(case: Case) -> None:
    network, x, _ = case
    found = gradient_pass(network, x, None, PLAIN)
    logits = network(x)
    loss = F.cross_entropy(logits, logits.argmax(1))
    assert torch.equal(found.loss, loss)
    assert_close(found.grad, plain_gradient(network, loss), 0)
    assert torch.equal(loss_pass(network, x, None, PLAIN).loss, loss)


def test_loss_pass_has_the_loss_and_no_gradient(case: Case) -> None:
    network, x, y = case
    found = loss_pass(network, x, y, PLAIN)
    assert torch.equal(found.loss, F.cross_entropy(network(x), y))
    assert found.grad == ()


def test_slope_is_the_dot_product_with_the_gradient(case: Case) -> None:
    """Through convolutions, batch norm by the batch, pooling and cross-entropy; image by image."""
    network, x, y = case
    generator = torch.Generator().manual_seed(2)
    direction = tuple(
        torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in network.parameters()
    )
    losses, slopes = slope_pass(network, x, y, direction, PLAIN)
    expected = F.cross_entropy(network(x), y, reduction="none")
    torch.testing.assert_close(losses, expected.detach(), atol=1e-12, rtol=0)
    for index, loss in enumerate(expected):
        grads = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
        product = sum((g * d).sum() for g, d in zip(grads, direction, strict=True))
        torch.testing.assert_close(slopes[index], product, atol=1e-10, rtol=1e-10)
    assert not slopes.requires_grad


@pytest.mark.parametrize("size", [2, 3, 4, 6, 7, 100])
def test_micro_batches_add_up_to_the_batch(size: int) -> None:
    network = network_without_statistics()
    x, y = batch()
    compute = Compute(micro_batch_size=size)
    whole, parts = (gradient_pass(network, x, y, c, weight=2.0) for c in (PLAIN, compute))
    assert_close(parts.grad, whole.grad, 1e-10)
    torch.testing.assert_close(parts.loss, whole.loss, atol=1e-12, rtol=0)
    assert torch.equal(parts.logits.argmax(1), whole.logits.argmax(1))
    torch.testing.assert_close(
        loss_pass(network, x, y, compute).loss, whole.loss, atol=1e-12, rtol=0
    )
    slopes = [slope_pass(network, x, y, whole.grad, c)[1] for c in (PLAIN, compute)]
    torch.testing.assert_close(slopes[0], slopes[1], atol=1e-10, rtol=0)


@pytest.mark.parametrize(("size", "expected"), [(None, [7]), (2, [1, 2, 2, 2]), (4, [3, 4])])
def test_parts_are_no_larger_than_asked_and_as_equal_as_can_be(
    size: int | None, expected: list[int]
) -> None:
    network = network_without_statistics()
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    gradient_pass(network, *batch(), Compute(micro_batch_size=size))
    assert seen == expected


def test_probabilities_are_cut_like_images() -> None:
    network = network_without_statistics()
    x, _ = batch()
    target = torch.rand(7, 7, dtype=torch.float64).softmax(1)
    whole, parts = (
        gradient_pass(network, x, target, Compute(micro_batch_size=size)) for size in (None, 3)
    )
    assert_close(parts.grad, whole.grad, 1e-10)


def relative_error(first: Grads, second: Grads) -> float:
    pairs = list(zip(first, second, strict=True))
    distance = sum(((a - b).double() ** 2).sum() for a, b in pairs)
    return float((distance / sum((b.double() ** 2).sum() for _, b in pairs)) ** 0.5)


# 8 and 11 significant bits; ReLUs that flip near 0 make a gradient less exact than that.
@pytest.mark.parametrize(("precision", "tolerance"), [("bfloat16", 0.3), ("float16", 0.1)])
def test_low_precision_stays_near_and_hands_out_float32(precision: Any, tolerance: float) -> None:
    network = build_network("small", 7, pretrained=False, seed=0)
    x, y = batch(6, 32)
    x = x.float()
    exact = gradient_pass(network, x, y, PLAIN)
    low = gradient_pass(network, x, y, Compute(precision=precision))
    assert not torch.equal(low.logits, exact.logits)  # it did compute in another precision
    assert {t.dtype for t in (low.loss, low.logits, *low.grad)} == {torch.float32}
    assert low.loss.item() == pytest.approx(exact.loss.item(), abs=0.02)
    assert relative_error(low.grad, exact.grad) < tolerance
    losses, slopes = slope_pass(network, x, y, exact.grad, Compute(precision=precision))
    assert slopes.dtype == losses.dtype == torch.float32
    squared = sum((grad**2).sum().item() for grad in exact.grad)
    assert slopes.mean().item() == pytest.approx(squared, rel=tolerance)


def test_loss_scale_is_gone_from_the_gradient_and_saves_small_ones() -> None:
    """Gradients of 1e-9 vanish in float16, whose smallest number is 6e-8; scaled, they do not."""
    network = build_network("small", 7, pretrained=False, seed=0)
    x, y = batch(6, 32)
    exact = gradient_pass(network, x.float(), y, PLAIN, weight=1e-7).grad
    lost, kept = (
        gradient_pass(
            network,
            x.float(),
            y,
            Compute(precision="float16", loss_scale=scale),
            weight=1e-7,
        ).grad
        for scale in (1.0, 2.0**20)
    )
    assert relative_error(kept, exact) < 0.1
    assert relative_error(lost, exact) > 0.5


def test_running_statistics_move_as_the_caller_says(case: Case) -> None:
    network, x, y = case
    before = copy.deepcopy(network.state_dict())
    with frozen_running_stats(network):
        slope_pass(network, x, y, gradient_pass(network, x, y, PLAIN).grad, PLAIN)
        loss_pass(network, x, y, PLAIN)
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]), name
    gradient_pass(network, x, y, PLAIN)
    assert network.get_buffer("stem.0.1.num_batches_tracked") == 1


def test_a_pass_leaves_no_graph_behind(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """What autograd saved of one part is gone before the next part begins."""
    network, x, y = case
    alive = [0]

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            alive[0] += 1

        def __del__(self) -> None:
            alive[0] -= 1

    seen: list[int] = []
    network.register_forward_pre_hook(lambda *_: seen.append(alive[0]))
    with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        gradient_pass(network, x, y, Compute(micro_batch_size=2))
    assert seen == [0, 0, 0]


def test_add_scaled_works_in_place() -> None:
    grads = (torch.tensor([1.0, 2.0]), torch.tensor(3.0))
    more = (torch.tensor([10.0, 20.0]), torch.tensor(30.0))
    assert add_scaled(grads, more, torch.tensor(0.5)) is grads
    assert [grad.tolist() for grad in grads] == [[6, 12], 18]
    add_scaled(grads, more)
    assert [grad.tolist() for grad in grads] == [[16, 32], 48]
    with pytest.raises(ValueError, match="shorter"):
        add_scaled(grads, more[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch_size": 1}, "micro_batch_size is 1: batch norm needs 2 images or more"),
        ({"threads": 0}, "threads is 0: give 1 to 1024"),
        ({"threads": 1025}, "threads is 1025: give 1 to 1024"),
        ({"loss_scale": 0.0}, "loss_scale is 0.0: give a positive number"),
        ({"loss_scale": float("inf")}, "loss_scale is inf"),
    ],
)
def test_compute_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Compute(**change)


def test_a_machine_that_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Callable[..., Any]) -> Callable[..., Any]:
        raise RuntimeError("No working C++ compiler found\nlong trace")

    monkeypatch.setattr(torch, "compile", fail)
    network = network_without_statistics()
    with pytest.raises(
        Face2ExpError,
        match=r"compute\.compile: torch\.compile does not work here \(No working C\+\+ compiler "
        r"found\): install a C\+\+ compiler such as g\+\+, or set compute\.compile to false",
    ):
        compile_networks([network], Compute(compile=True))
    compile_networks([network], PLAIN)  # asks for nothing


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_compiled_passes_find_what_plain_ones_find(case: Case) -> None:
    network, x, y = case
    compute = Compute(compile=True)
    compiled = copy.deepcopy(network)
    compile_networks([compiled], compute)
    plain, fused = (gradient_pass(n, x, y, compute) for n in (network, compiled))
    assert_close(fused.grad, plain.grad, 1e-8)
    with frozen_running_stats(network), frozen_running_stats(compiled):
        _, slopes = slope_pass(network, x, y, plain.grad, compute)
        _, same = slope_pass(compiled, x, y, plain.grad, compute)
        torch.testing.assert_close(slopes, same)
        gradient_pass(compiled, x, y, compute)
    for name, buffer in compiled.named_buffers():
        torch.testing.assert_close(buffer, network.get_buffer(name), msg=name)
