"""Pseudo-Label: ramp and step by hand."""

import math

import pytest
import torch

from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.pseudo_label import (
    PseudoLabelOptions,
    pseudo_label_step,
    unlabelled_weight,
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
    ("progress", "weight"),
    [(0.0, 0.0), (0.1, 0.0), (0.35, 1.5), (0.475, 2.25), (0.6, 3.0), (1.0, 3.0)],
)
def test_weight_ramps_as_in_the_paper(progress: float, weight: float) -> None:
    assert unlabelled_weight(PseudoLabelOptions(), progress) == pytest.approx(weight, abs=1e-12)


def test_a_ramp_without_length_is_a_jump() -> None:
    options = PseudoLabelOptions(ramp_start=0.5, ramp_end=0.5)
    assert [unlabelled_weight(options, t) for t in (0.49, 0.5)] == [0.0, 3.0]


def test_a_ramp_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ramp_end 0\.2 is before ramp_start 0\.5"):
        PseudoLabelOptions(ramp_start=0.5, ramp_end=0.2)


def test_step_by_hand() -> None:
    """w = (1, 0). x_FER = (1, 1) of class 1: logits (1, 0). x_FR = (2, 1): logits (2, 0), so its
    pseudo label is 0. At progress 0.35 the unlabelled loss weighs 1.5."""
    network = TwoWeights(1.0, 0.0)
    # An augmented view that is not a number would show if it were used.
    batch = StepBatch(rows((1, 1)), torch.tensor([1]), rows((2, 1)), rows((math.nan, math.nan)))
    result = pseudo_label_step(network, sgd(network), batch, PseudoLabelOptions(), 0.35)
    p, q = sigmoid(1), sigmoid(2)
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    assert result["loss_u"].item() == pytest.approx(-math.log(q), abs=1e-14)
    assert result["w_u"].item() == pytest.approx(1.5)
    assert result["y_hat_fr"].tolist() == [0]
    grad_s = [p * 1, -p * 1]
    grad_u = [1.5 * (q - 1) * 2, 1.5 * (1 - q) * 1]  # as of a label that is given
    assert network.weights() == pytest.approx(descended([1, 0], grad_s, grad_u), abs=1e-14)


def test_before_the_ramp_it_is_the_supervised_step_bit_for_bit() -> None:
    assert_supervised(
        lambda network, optimiser, batch: pseudo_label_step(
            network, optimiser, batch, PseudoLabelOptions(), 0.05
        )
    )


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    network, expected, batch = small(), small(), images()
    pseudo_label_step(network, sgd(network), batch, PseudoLabelOptions(), 1.0)
    expected(batch.x_fer)
    for buffer, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)
