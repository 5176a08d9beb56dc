"""UDA: schedule, mask, target and step by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.uda import (
    Schedule,
    UdaOptions,
    annealed_loss,
    annealing_threshold,
    consistency_target,
    uda_step,
)
from tests.methods.nets import (
    TwoWeights,
    assert_supervised,
    descended,
    images,
    rows,
    sgd,
    sigmoid,
    small,
)


@pytest.mark.parametrize(
    ("schedule", "start", "middle", "end"),
    [
        ("none", 1.0, 1.0, 1.0),
        ("linear", 0.25, 0.625, 1.0),
        ("log", 0.25, 0.25 + 0.75 * (1 - math.exp(-2.5)), 0.25 + 0.75 * (1 - math.exp(-5))),
        ("exp", 0.25 + 0.75 * math.exp(-5), 0.25 + 0.75 * math.exp(-2.5), 1.0),
    ],
)
def test_threshold_rises_from_chance(
    schedule: Schedule, start: float, middle: float, end: float
) -> None:
    values = [annealing_threshold(schedule, t, 4) for t in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([start, middle, end], abs=1e-12)


def test_labelled_images_known_too_well_are_left_out() -> None:
    """Own class at sigmoid(1) = 0.73 and sigmoid(2) = 0.88; under 0.75 only the first counts."""
    logits, labels = rows((1, 0), (2, 0)), torch.tensor([0, 0])
    assert annealed_loss(logits, labels, 0.75).item() == pytest.approx(-math.log(sigmoid(1)))
    assert annealed_loss(logits, labels, 0.5).item() == 0.0


def test_target_by_hand() -> None:
    """Plain logits (2, 0), confidence sigmoid(2) = 0.88, and (0.8, 0), 0.69: over 0.8 only the
    first. At temperature 1/2 they become sigmoid(4) and 0.83, but that is not asked."""
    target, kept = consistency_target(rows((2, 0), (0.8, 0)), 0.5, 0.8)
    expected = [[sigmoid(4), 1 - sigmoid(4)], [0.0, 0.0]]
    torch.testing.assert_close(target, rows(*expected), atol=1e-14, rtol=0)  # type: ignore[arg-type]
    assert kept.item() == 0.5


def test_step_by_hand() -> None:
    """w = (1, 0); the unlabelled images are those of the test before, in pixels. The labelled
    ones, (1, 1) and (2, 1) of class 0, are known by 0.73 and 0.88: half-way on the linear schedule
    of two classes, the threshold is 0.75 and the first alone counts."""
    network = TwoWeights(1.0, 0.0)
    batch = StepBatch(
        rows((1, 1), (2, 1)), torch.tensor([0, 0]), rows((2, 1), (0.8, 1)), rows((1, 1), (9, 1))
    )
    options = UdaOptions(w_u=3.0, temperature=0.5, confidence=0.8, tsa="linear")
    result = uda_step(network, sgd(network), batch, options, 0.5)
    p, target = sigmoid(1), sigmoid(4)
    assert result["loss_s"].item() == pytest.approx(-math.log(p), abs=1e-14)
    loss_u = (-target * math.log(p) - (1 - target) * math.log(1 - p)) / 2
    assert result["loss_u"].item() == pytest.approx(loss_u, abs=1e-14)
    assert result["kept_fr"].item() == 0.5
    assert result["y_hat_fr"].tolist() == [0, 0]
    grad_s = [(p - 1) * 1, (1 - p) * 1]
    grad_u = [3 / 2 * (p - target) * 1, 3 / 2 * (target - p) * 1]
    assert network.weights() == pytest.approx(descended([1, 0], grad_s, grad_u), abs=1e-14)


def test_the_target_takes_no_gradient() -> None:
    """The step by hand has none of it; where it would flow to, it would be seen."""
    batch = StepBatch(rows((1, 1)), torch.tensor([0]), rows((2, 1)), rows((1, 1)))
    start, moved = TwoWeights(1.0, 0.0), TwoWeights(1.0, 0.0)
    uda_step(moved, sgd(moved), batch, UdaOptions(confidence=0.0, temperature=0.5), 0.0)

    def loss(target: torch.Tensor) -> torch.Tensor:
        labelled = F.cross_entropy(start(batch.x_fer), batch.y_fer)
        return labelled + F.cross_entropy(start(batch.x_fr_aug), target)

    plain = (start(batch.x_fr) / 0.5).softmax(1)
    (fixed,) = torch.autograd.grad(loss(plain.detach()), start.fc.w)
    (flowing,) = torch.autograd.grad(loss(plain), start.fc.w)
    expected = descended([1, 0], fixed.tolist())
    assert moved.weights() == pytest.approx(expected, abs=1e-14)
    assert (flowing - fixed).abs().max() > 0.01


@pytest.mark.parametrize("tsa", ["none", "exp"])
def test_at_weight_zero_it_is_the_supervised_step_bit_for_bit(tsa: Schedule) -> None:
    options = UdaOptions(w_u=0.0, confidence=0.0, tsa=tsa)
    assert_supervised(
        lambda network, optimiser, batch: uda_step(network, optimiser, batch, options, 1.0)
    )


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    network, expected, batch = small(), small(), images()
    uda_step(network, sgd(network), batch, UdaOptions(), 0.5)
    expected(batch.x_fer)
    for buffer, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)


def test_a_temperature_of_zero_is_refused_in_a_config() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TypeAdapter(UdaOptions).validate_python({"temperature": 0.0})
