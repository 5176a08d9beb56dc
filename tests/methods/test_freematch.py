"""FreeMatch: thresholds, fairness and step by hand."""

import math

import pytest
import torch
from torch import Tensor

from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.freematch import (
    FreeMatchOptions,
    fairness_loss,
    freematch_step,
    moved,
    sum_norm,
    thresholds,
)
from face2exp_lib.methods.method import StepBatch
from tests.methods.nets import (
    TwoWeights,
    assert_supervised,
    descended,
    images,
    rows,
    same,
    sgd,
    sigmoid,
    small,
    state,
)
from tests.methods.toy import accuracy


def test_averages_and_thresholds_by_hand() -> None:
    """Logits (2, 0), (3, 0) and (-1, 0), at lambda 1/2 from halves."""
    a, b, c = sigmoid(2), sigmoid(3), sigmoid(1)
    found = moved({}, rows((2, 0), (3, 0), (-1, 0)), 0.5)
    assert found["tau"].item() == pytest.approx(0.25 + (a + b + c) / 6, abs=1e-14)
    p = 0.25 + (a + b + 1 - c) / 6
    assert found["p"].tolist() == pytest.approx([p, 1 - p], abs=1e-14)
    assert found["h"].tolist() == pytest.approx([0.25 + 2 / 6, 0.25 + 1 / 6], abs=1e-14)
    tau = found["tau"].item()
    assert thresholds(found).tolist() == pytest.approx([tau, tau * (1 - p) / p], abs=1e-14)
    again = moved(found, rows((0, 9), (0, 9)), 0.5)
    assert again["h"].tolist() == pytest.approx([7 / 24, 17 / 24], abs=1e-14)


def test_step_by_hand() -> None:
    """w = (1, 0), lambda 1/2. Plain views with logits 3, -0.4 and 0.4 for class 0: it is named by
    a = 0.95 and b = 0.60, class 1 by b. tau is 0.61, of class 1, which is rarer, 0.45: of the two
    images named by b only that of class 1 counts. The augmented views of the first two have logits
    1 and -2: p_bar is (s + r) / 3, and h_bar a third of each."""
    network = TwoWeights(1.0, 0.0)
    batch = StepBatch(
        rows((1, 1)),
        torch.tensor([1]),
        rows((3, 1), (-0.4, 1), (0.4, 1)),
        rows((1, 1), (-2, 1), (9, 1)),
    )
    options = FreeMatchOptions(w_u=3.0, w_f=2.0, decay=0.5)
    averages: dict[str, Tensor] = {}
    result = freematch_step(network, sgd(network), batch, options, averages)
    a, b, p, s, r = sigmoid(3), sigmoid(0.4), sigmoid(1), sigmoid(1), sigmoid(-2)
    tau = 0.25 + (a + 2 * b) / 6
    assert result["threshold"].item() == pytest.approx(tau, abs=1e-14)
    assert averages["h"].tolist() == pytest.approx([0.25 + 1 / 3, 0.25 + 1 / 6])
    assert result["kept_fr"].item() == pytest.approx(2 / 3)
    assert result["y_hat_fr"].tolist() == [0, 1, 0]
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    loss_u = (-math.log(s) - math.log(1 - r)) / 3
    assert result["loss_u"].item() == pytest.approx(loss_u, abs=1e-14)
    mean = 0.25 + (a + 1) / 6  # of class 0: (a + (1 - b) + b) / 3
    first, second = mean / (0.25 + 1 / 3), (1 - mean) / (0.25 + 1 / 6)
    wanted, share = first / (first + second), (s + r) / 2
    loss_f = wanted * math.log(share) + (1 - wanted) * math.log(1 - share)
    assert result["loss_f"].item() == pytest.approx(loss_f, abs=1e-14)
    grad_s = [p * 1, -p * 1]
    grad_u = [3 / 3 * ((s - 1) * 1 + r * -2), 3 / 3 * ((1 - s) * 1 - r * 1)]
    slope = 2 * (wanted / share - (1 - wanted) / (1 - share)) / 2  # by s and by r
    ds, dr = s * (1 - s), r * (1 - r)
    grad_f = [slope * (ds * 1 + dr * -2), -slope * (ds * 1 + dr * 1)]
    assert network.weights() == pytest.approx(descended([1, 0], grad_s, grad_u, grad_f), abs=1e-13)


def test_a_class_that_no_kept_image_was_taken_for_has_no_part() -> None:
    wanted = torch.tensor([0.5, 0.25, 0.25])
    logits = torch.tensor([[3.0, 0, 1], [0, 2, 1], [0, 0, 9]], requires_grad=True)
    kept = torch.tensor([True, True, False])
    p = logits.detach()[:2].softmax(1).sum(0)
    first = (p[0] / (p[0] + p[1])).item()
    expected = 0.5 * math.log(first) + 0.25 * math.log(1 - first)
    assert fairness_loss(logits, kept, wanted).item() == pytest.approx(expected, abs=1e-6)
    none = fairness_loss(logits, torch.zeros(3, dtype=torch.bool), wanted)
    (gradient,) = torch.autograd.grad(none, logits)
    assert none.item() == 0.0
    assert torch.equal(gradient, torch.zeros(3, 3))
    assert sum_norm(torch.tensor([0.5, 0.5]), torch.tensor([0.25, 0.0])).tolist() == [1, 0]


def test_the_fairness_loss_is_highest_where_the_two_agree() -> None:
    """The sign as printed: a descent leads away from there."""
    wanted, kept = torch.tensor([0.5, 0.5]).double(), torch.ones(2, dtype=torch.bool)
    agreed = fairness_loss(rows((1, 0), (-1, 0)), kept, wanted)  # 0.73 and 0.27: half
    assert agreed.item() == pytest.approx(-math.log(2))
    for first, second in ((2, -1), (1, -2)):
        assert fairness_loss(rows((first, 0), (second, 0)), kept, wanted) < agreed - 0.01


@pytest.mark.parametrize("put", [False, True])
def test_where_the_averages_stand_still_it_is_fixmatch_bit_for_bit(put: bool) -> None:
    """At lambda = 1 they stay where they are: at first at 1 / K, or wherever they were put."""
    looked = fixmatch_step(one := small(), sgd(one), images(), FixMatchOptions())
    confidence = looked["confidence_fr"].median().item() if put else 1 / 7
    even = torch.ones(7) / 7
    averages = {"tau": torch.tensor(confidence), "p": even, "h": even} if put else {}
    one, other = small(), small()
    options = FreeMatchOptions(w_f=0.0, decay=1.0)
    found = freematch_step(one, sgd(one), images(), options, averages)
    expected = fixmatch_step(other, sgd(other), images(), FixMatchOptions(confidence=confidence))
    assert (found["kept_fr"] < 1) == put
    assert same(state(one), state(other))
    assert found["kept_fr"] == expected["kept_fr"]
    assert torch.equal(found["y_hat_fr"], expected["y_hat_fr"])


def test_defaults_are_the_papers() -> None:
    assert FreeMatchOptions() == FreeMatchOptions(w_u=1.0, w_f=0.05, decay=0.999)


def test_at_weights_zero_it_is_the_supervised_step_bit_for_bit() -> None:
    options = FreeMatchOptions(w_u=0.0, w_f=0.0)
    averages: dict[str, Tensor] = {}
    assert_supervised(
        lambda network, optimiser, batch: freematch_step(
            network, optimiser, batch, options, averages
        )
    )
    assert averages


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    network, expected, batch = small(), small(), images()
    freematch_step(network, sgd(network), batch, FreeMatchOptions(), {})
    expected(batch.x_fer)
    for buffer, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)


def test_where_faces_without_labels_decide_it_is_far_ahead() -> None:
    assert accuracy("supervised", 0) < 0.75
    assert accuracy("freematch", 0) > 0.95
