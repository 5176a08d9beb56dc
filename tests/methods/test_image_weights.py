"""What images weigh in A's step: by their names' shares, and by whether they help, by hand."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.image_weights import balanced_weights, helpful_weights, weighted_target
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.methods.running import MEMORY, RunningMoments
from tests.methods.nets import (
    TwoWeights,
    after_meta_step,
    descended,
    images,
    rows,
    sigmoid,
    small,
)


def run(x_fr: Tensor, **options: Any) -> tuple[list[float], dict[str, Tensor]]:
    """A, from (0, 0), after a step with B = (2, 0) and the labelled face (3, 1) of class 0."""
    batch = StepBatch(rows((3, 1)), torch.tensor([0]), x_fr, x_fr)
    _, weights_a, found = after_meta_step(batch, **options)
    return weights_a, found


def test_a_weighted_target_is_the_weighted_mean() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, weights = torch.tensor([2, 0, 3]), torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
    each = F.cross_entropy(logits, labels, reduction="none")
    found = F.cross_entropy(logits, weighted_target(labels, weights, 4))
    torch.testing.assert_close(found, (weights * each).mean())
    assert weighted_target(labels, None, 4) is labels


def one_hot(*labels: int) -> Tensor:
    return F.one_hot(torch.tensor(labels), 2).double()


def test_rare_names_weigh_more_by_hand() -> None:
    """Shares of class 0: 3/4, then 1/2. Their mean with weights MEMORY and 1 is m; the inverses of
    m and 1 - m have the mean 1 / (2 m (1 - m)) over one image each, so the weights are 2 (1 - m)
    and 2 m."""
    history = RunningMoments()
    first = balanced_weights(one_hot(0, 0, 0, 1), history)
    assert first.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    second = balanced_weights(one_hot(0, 1), history)
    m = (MEMORY * 0.75 + 0.5) / (MEMORY + 1)
    assert second.tolist() == pytest.approx([2 * (1 - m), 2 * m])


def test_a_class_that_was_hardly_named_weighs_ten_times_an_even_one_and_no_more() -> None:
    """Of ninety steps, one name in the last: its share is under a tenth of 1/2."""
    history = RunningMoments()
    for _ in range(90):
        balanced_weights(one_hot(0, 0, 0, 0), history)
    weights = balanced_weights(one_hot(0, 0, 0, 1), history)
    rare, often = 1 / 0.05, 1 / history.mean[0].item()
    assert history.mean[1] < 0.05
    assert weights[3].item() == pytest.approx(rare / ((rare + 3 * often) / 4))
    assert weights.mean().item() == pytest.approx(1)


def test_evenly_named_images_weigh_alike() -> None:
    assert balanced_weights(one_hot(0, 1, 1, 0), RunningMoments()).tolist() == [1, 1, 1, 1]


def test_a_balanced_step_by_hand() -> None:
    """B = (2, 0) names (1, 2) and (2, 1) class 0 and (-1, 1) class 1: weights 3/4, 3/4 and 3/2.
    A at (0, 0) has the gradients (-1/2, 1), (-1, 1/2) and (-1/2, -1/2)."""
    w_a, found = run(rows((1, 2), (2, 1), (-1, 1)), balance="pseudo")
    grad_u = [(-0.5 * 0.75 - 1 * 0.75 - 0.5 * 1.5) / 3, (1 * 0.75 + 0.5 * 0.75 - 0.5 * 1.5) / 3]
    assert found["y_hat_fr"].tolist() == [0, 0, 1]
    assert w_a == pytest.approx(descended([0, 0], grad_u), abs=1e-14)
    s = sigmoid(3 * w_a[0] - w_a[1])  # f is of the step so weighted
    f = 0.5 * ((s - 1) * 3 * grad_u[0] + (1 - s) * grad_u[1])
    assert found["feedback"].item() == pytest.approx(f, abs=1e-14)


def test_rare_names_under_the_threshold_do_not_count() -> None:
    """(1/4, 1) is named 0 too, with sigmoid(1/2) = 0.62: names weigh 2/3, 2/3, 2 and 2/3 by their
    shares, and the last of them 0."""
    x_fr = rows((1, 2), (2, 1), (-1, 1), (0.25, 1))
    w_a, found = run(x_fr, balance="pseudo", pseudo_label_threshold=0.7)
    grad_u = [(-0.5 - 1 - 0.5 * 3) / 6, (1 + 0.5 - 0.5 * 3) / 6]
    assert w_a == pytest.approx(descended([0, 0], grad_u), abs=1e-14)
    assert found["learnt_fr"].item() == 0.75


def test_images_that_help_weigh_more_by_hand() -> None:
    """The labelled gradient at (0, 0) is (-3/2, 1/2). With it, A's gradients (-1/2, 1), (-1, 1/2)
    and (-1/2, -1/2) of the names 0, 0 and 1 have the products 5/4, 7/4 and 1/2. (-2, -2) has
    -+(-1, 1) and so 2 where it is named 1, -2 where it is named 0."""
    x_fr = rows((1, 2), (2, 1), (-1, 1), (-2, -2))
    grad_s = (torch.tensor([-1.5, 0.5], dtype=torch.float64),)

    def weights(name_of_last: int, before: Tensor | None = None) -> list[float]:
        names = torch.tensor([0, 0, 1, name_of_last])
        adaptation = TwoWeights(0.0, 0.0)
        found: list[float] = helpful_weights(
            adaptation, x_fr, names, before, grad_s, PLAIN
        ).tolist()
        return found

    assert weights(1) == pytest.approx([4 * product / 5.5 for product in (1.25, 1.75, 0.5, 2)])
    assert weights(0) == pytest.approx([4 * product / 3.5 for product in (1.25, 1.75, 0.5, 0)])
    before = torch.tensor([0.0, 1.0, 2.0, 1.0], dtype=torch.float64)
    assert weights(0, before) == pytest.approx([4 * p / 2.75 for p in (0, 1.75, 1, 0)])


def test_a_reweighted_step_by_hand() -> None:
    """Of the names of B = (2, 0), as above: products 5/4, 7/4 and 1/2, weights 15/14, 3/2, 3/7."""
    w_a, found = run(rows((1, 2), (2, 1), (-1, 1)), reweight="image")
    of = [15 / 14, 3 / 2, 3 / 7]
    grads = [(-0.5, 1), (-1, 0.5), (-0.5, -0.5)]
    grad_u = [sum(w * grad[i] for w, grad in zip(of, grads, strict=True)) / 3 for i in (0, 1)]
    assert w_a == pytest.approx(descended([0, 0], grad_u), abs=1e-14)
    s = sigmoid(3 * w_a[0] - w_a[1])
    f = 0.5 * ((s - 1) * 3 * grad_u[0] + (1 - s) * grad_u[1])
    assert found["feedback"].item() == pytest.approx(f, abs=1e-14)
    assert found["learnt_fr"].item() == 1


def test_where_no_image_helps_a_does_not_move() -> None:
    """(1, -6) is named 0: its gradient (-1/2, -3) has the product 3/4 - 3/2 with the labelled
    one."""
    w_a, found = run(rows((1, -6)), reweight="image")
    assert w_a == [0, 0]
    assert found["loss_u"] == found["feedback"] == found["learnt_fr"] == 0
    assert run(rows((1, -6)))[0] != [0, 0]


@pytest.mark.parametrize("feedback", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
def test_images_that_help_alike_make_the_papers_step(feedback: Any) -> None:
    """(1, 2) and (2, -1): both products are 5/4, see `test_image_credit`."""
    x_fr = rows((1, 2), (2, -1))
    (w_a, found), (plain, expected) = (
        run(x_fr, feedback=feedback, reweight=reweight) for reweight in ("image", "none")
    )
    assert w_a == pytest.approx(plain, abs=1e-14)
    assert found["feedback"].item() == pytest.approx(expected["feedback"].item(), abs=1e-14)


def test_weights_leave_running_statistics_alone() -> None:
    """Of A, those of line 7's one pass, in batch norm of both kinds; f_i have the mean f."""
    for batch_norm in ("separate", "together"):
        base, adaptation, expected = small(0), small(1), small(1)
        options = MetaOptions(reweight="image", balance="pseudo", batch_norm=batch_norm)
        batch = images()
        rates = SGD(base.parameters(), lr=0.01), SGD(adaptation.parameters(), lr=0.01)
        found = meta_step(
            base, adaptation, *rates, batch, options, FeedbackHistory(), by_image=True
        )
        expected(batch.x_fr if batch_norm == "separate" else torch.cat([batch.x_fr, batch.x_fer]))
        for one, other in zip(adaptation.buffers(), expected.buffers(), strict=True):
            assert torch.equal(one, other)
        assert 0 < found["learnt_fr"] < 1
        assert found["feedback_fr"].mean().item() == pytest.approx(
            found["feedback"].item(), rel=1e-4
        )


def test_balanced_by_even_shares_is_the_papers_step() -> None:
    """Names in equal numbers: weights are 1 but for rounding."""
    x_fr = rows((1, 2), (-1, 1))
    (w_a, _), (plain, _) = run(x_fr, balance="pseudo"), run(x_fr)
    assert w_a == pytest.approx(plain, abs=1e-14)
