"""Class-balanced loss: weights and a step by hand."""

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from face2exp_lib.methods.class_balanced import (
    ClassBalancedOptions,
    class_balanced_step,
    class_weights,
)
from tests.methods.nets import TwoWeights, assert_supervised, descended, rows, sgd, sigmoid


def test_weights_by_hand() -> None:
    """beta 1/2: effective numbers of 1 and 3 images are 1 and (1 - 1/8) / (1/2) = 7/4. Their
    inverses 1 and 4/7 sum to 11/7, so weights are 2 * 7/11 and 2 * 4/11."""
    assert class_weights([1, 3], 0.5).tolist() == pytest.approx([14 / 11, 8 / 11], abs=1e-15)


@pytest.mark.parametrize(("beta", "ratio"), [(0.0, 1.0), (1 - 1e-9, 100.0)])
def test_beta_goes_from_equal_weights_to_inverse_counts(beta: float, ratio: float) -> None:
    weights = class_weights([10, 1000], beta)
    assert (weights[0] / weights[1]).item() == pytest.approx(ratio, rel=1e-5)
    assert weights.sum().item() == pytest.approx(2)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9999])
def test_a_class_without_images_has_no_weight_and_changes_no_other(beta: float) -> None:
    weights = class_weights([1, 0, 3], beta).tolist()
    assert weights == [class_weights([1, 3], beta)[0], 0, class_weights([1, 3], beta)[1]]


def test_step_by_hand() -> None:
    """Two images at w = (1, 0): x = (1, 1) of class 1, logits (1, 0), and x = (2, 1) of class 0,
    logits (2, 0). Weights 3 of class 0, 1/2 of class 1; the mean is over the two images."""
    network = TwoWeights(1.0, 0.0)
    weights = torch.tensor([3.0, 0.5], dtype=torch.float64)
    result = class_balanced_step(
        network, sgd(network), rows((1, 1), (2, 1)), torch.tensor([1, 0]), weights
    )
    p, q = sigmoid(1), sigmoid(2)
    loss = (0.5 * -math.log(1 - p) + 3 * -math.log(q)) / 2
    assert result["loss_s"].item() == pytest.approx(loss, abs=1e-14)
    grad = [(0.5 * p * 1 + 3 * (q - 1) * 2) / 2, (0.5 * (-p) * 1 + 3 * (1 - q) * 1) / 2]
    assert network.weights() == pytest.approx(descended([1, 0], grad), abs=1e-14)


def test_equal_weights_are_the_supervised_step_bit_for_bit() -> None:
    weights = class_weights([5] * 7, ClassBalancedOptions().beta).float()
    assert weights.tolist() == [1.0] * 7
    assert_supervised(
        lambda network, optimiser, batch: class_balanced_step(
            network, optimiser, batch.x_fer, batch.y_fer, weights
        )
    )


def test_beta_one_is_refused_in_a_config() -> None:
    with pytest.raises(ValidationError, match="less than 1"):
        TypeAdapter(ClassBalancedOptions).validate_python({"beta": 1.0})
