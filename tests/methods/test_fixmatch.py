"""FixMatch: a step by hand."""

import math

import pytest
import torch

from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.method import StepBatch
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


def test_step_by_hand() -> None:
    """w = (1, 0). Plain views (2, 1) and (1/2, 1): class 0 at sigmoid(2) = 0.88 and 0.62, so over
    0.85 only the first counts, with half the weight of a mean over two. Its augmented view (-1, 1)
    has logits (-1, 0)."""
    network = TwoWeights(1.0, 0.0)
    batch = StepBatch(
        rows((1, 1)), torch.tensor([1]), rows((2, 1), (0.5, 1)), rows((-1, 1), (9, 1))
    )
    options = FixMatchOptions(w_u=3.0, confidence=0.85)
    result = fixmatch_step(network, sgd(network), batch, options)
    p, q = sigmoid(1), sigmoid(-1)
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    assert result["loss_u"].item() == pytest.approx(-math.log(q) / 2, abs=1e-14)
    assert result["kept_fr"].item() == 0.5
    assert result["y_hat_fr"].tolist() == [0, 0]
    grad_s = [p * 1, -p * 1]
    grad_u = [3 / 2 * (q - 1) * -1, 3 / 2 * (1 - q) * 1]  # of the augmented view alone
    assert network.weights() == pytest.approx(descended([1, 0], grad_s, grad_u), abs=1e-14)


def test_defaults_are_the_papers() -> None:
    assert FixMatchOptions() == FixMatchOptions(w_u=1.0, confidence=0.95)


@pytest.mark.parametrize(
    "options", [FixMatchOptions(w_u=0.0, confidence=0.0), FixMatchOptions(confidence=1.0)]
)
def test_at_weight_zero_or_nobody_confident_it_is_the_supervised_step(
    options: FixMatchOptions,
) -> None:
    assert_supervised(
        lambda network, optimiser, batch: fixmatch_step(network, optimiser, batch, options)
    )


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    network, expected, batch = small(), small(), images()
    fixmatch_step(network, sgd(network), batch, FixMatchOptions(confidence=0.0))
    expected(batch.x_fer)
    for buffer, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)
