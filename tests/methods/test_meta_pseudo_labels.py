"""Meta Pseudo Labels: h and its baseline by hand, drawn labels, Meta-Face2Exp as a case of it."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.meta_pseudo_labels import (
    MetaPseudoLabelsOptions,
    meta_pseudo_labels_step,
    sampled_labels,
)
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.supervised import supervised_step
from tests.methods.nets import (
    ETA,
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

# What Meta-Face2Exp does: no drawing, no baseline, no smoothing, plain consistency.
PLAIN = MetaPseudoLabelsOptions(
    labels="argmax",
    baseline=False,
    label_smoothing=0.0,
    w_c=1.0,
    ramp=0.0,
    temperature=1.0,
    confidence=0.0,
)


def run(
    teacher: nn.Module,
    student: nn.Module,
    batch: StepBatch,
    options: MetaPseudoLabelsOptions,
    **changes: Any,
) -> dict[str, Tensor]:
    defaults: dict[str, Any] = {
        "progress": 1.0,
        "history": FeedbackHistory(),
        "generator": torch.Generator().manual_seed(0),
    }
    return meta_pseudo_labels_step(
        teacher, student, sgd(teacher), sgd(student), batch, options, **{**defaults, **changes}
    )


def hand_batch() -> StepBatch:
    return StepBatch(rows((3, 1)), torch.tensor([0]), rows((2, 1)), rows((1, 2)))


def test_step_by_hand() -> None:
    """The teacher's w = (2, 0) gives Aug(x_FR) = (1, 2) logits (2, 0), label 0. The student's
    w = (0, 0) is undecided there: grad_u = ((1/2 - 1) 1, 1/2 2) = (-1/2, 1), and with eta 1/2 its
    w' = (1/4, -1/2). On x_FER = (3, 1) of class 0 its logits are (3/4, -1/2), the gradient there
    ((s - 1) 3, (1 - s) 1) with s = sigmoid(5/4), and h = eta (that . grad_u). The step before had
    h = 1/10; at a memory of 0.99, the mean of the two is b = (0.099 + h) / 1.99.

    The teacher's plain view (2, 1) has logits (4, 0); at temperature 2 its target is sigmoid(2),
    which is what it says of the augmented view: no gradient from there. Its labelled logits are
    (6, 0); smoothed by 0.2, the label is (0.9, 0.1)."""
    teacher, student = TwoWeights(2.0, 0.0), TwoWeights(0.0, 0.0)
    history = FeedbackHistory()
    history.add(torch.tensor(0.1, dtype=torch.float64))
    options = replace(PLAIN, baseline=True, w_f=5.0, temperature=2.0)
    result = run(teacher, student, hand_batch(), options, history=history)
    s = sigmoid(5 / 4)
    h = ETA * ((s - 1) * 3 * -0.5 + (1 - s) * 1 * 1.0)
    b = (0.099 + h) / 1.99
    assert student.weights() == pytest.approx([0.25, -0.5], abs=1e-14)
    assert result["feedback"].item() == pytest.approx(h, abs=1e-14)
    assert result["feedback_used"].item() == pytest.approx(h - b, abs=1e-14)
    assert result["loss_s_after"].item() == pytest.approx(-math.log(s), abs=1e-14)
    p, q = sigmoid(6), sigmoid(2)
    assert result["loss_f"].item() == pytest.approx((h - b) * -math.log(q), abs=1e-14)
    grad_s = [(p - 1) * 3, (1 - p) * 1]
    grad_f = [5 * (h - b) * (q - 1) * 1, 5 * (h - b) * (1 - q) * 2]
    assert teacher.weights() == pytest.approx(descended([2, 0], grad_s, grad_f), abs=1e-14)


def test_smoothing_by_hand() -> None:
    """By 0.2, a label of two classes is (0.9, 0.1): for the student's pseudo labels and the
    teacher's true ones, but not where h is measured."""
    teacher, student = TwoWeights(2.0, 0.0), TwoWeights(0.0, 0.0)
    options = replace(PLAIN, label_smoothing=0.2, w_c=0.0, w_f=0.0)
    result = run(teacher, student, hand_batch(), options)
    w_student = descended([0, 0], [(0.5 - 0.9) * 1, (0.5 - 0.1) * 2])
    assert student.weights() == pytest.approx(w_student, abs=1e-14)
    s = sigmoid(w_student[0] * 3 - w_student[1])
    assert result["loss_s_after"].item() == pytest.approx(-math.log(s), abs=1e-14)
    p = sigmoid(6)
    w_teacher = descended([2, 0], [(p - 0.9) * 3, (1 - p - 0.1) * 1])
    assert teacher.weights() == pytest.approx(w_teacher, abs=1e-14)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.25, 1.5), (0.5, 3.0), (1.0, 3.0)])
def test_consistency_weight_ramps(progress: float, weight: float) -> None:
    """Plain view (2, 1), target sigmoid(4); augmented view (1, 2), said sigmoid(2)."""
    teacher, student = TwoWeights(2.0, 0.0), TwoWeights(0.0, 0.0)
    run(
        teacher,
        student,
        hand_batch(),
        replace(PLAIN, w_f=0.0, w_c=3.0, ramp=0.5),
        progress=progress,
    )
    p, q, target = sigmoid(6), sigmoid(2), sigmoid(4)
    grad_s = [(p - 1) * 3, (1 - p) * 1]
    grad_c = [weight * (q - target) * 1, weight * (target - q) * 2]
    assert teacher.weights() == pytest.approx(descended([2, 0], grad_s, grad_c), abs=1e-13)


def test_meta_face2exp_is_a_case_of_it() -> None:
    batch = images()
    batch = StepBatch(*(x.double() if x.is_floating_point() else x for x in vars(batch).values()))
    batch = replace(batch, x_fr_aug=batch.x_fr)  # one view: the two methods' views differ
    ours = small(0).double(), small(1).double()
    result = run(*ours, batch, PLAIN)
    theirs = small(0).double(), small(1).double()
    expected = meta_step(
        *theirs, sgd(theirs[0]), sgd(theirs[1]), batch, MetaOptions(), FeedbackHistory()
    )
    assert result["y_hat_fr"].tolist() == expected["y_hat_fr"].tolist()
    for name in ("loss_s", "loss_u", "loss_c", "loss_f", "loss_s_after", "feedback"):
        assert result[name].item() == pytest.approx(expected[name].item(), rel=1e-9), name
    for one, other in zip(state(*ours), state(*theirs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


def test_without_its_other_losses_the_teacher_takes_the_supervised_step_bit_for_bit() -> None:
    options = replace(PLAIN, w_c=0.0, w_f=0.0)
    assert_supervised(
        lambda network, optimiser, batch: meta_pseudo_labels_step(
            network,
            student := small(1),
            optimiser,
            sgd(student),
            batch,
            options,
            progress=1.0,
            history=FeedbackHistory(),
            generator=torch.Generator(),
        )
    )


def test_the_students_step_is_supervised_by_the_teachers_labels() -> None:
    """No gradient of the student's loss reaches the teacher, nor the other way round."""
    teacher, student, expected, batch = small(0), small(1), small(1), images()
    result = run(teacher, student, batch, replace(PLAIN, w_f=0.0, w_c=0.0))
    supervised_step(expected, sgd(expected), batch.x_fr_aug, result["y_hat_fr"])
    assert same(state(student), state(expected))
    assert all(
        parameter.grad is None for net in (teacher, student) for parameter in net.parameters()
    )


def test_drawn_labels_follow_the_distribution_and_the_seed() -> None:
    probabilities = torch.tensor([[0.2, 0.0, 0.5, 0.3]]).repeat(4000, 1)
    drawn = [sampled_labels(probabilities, torch.Generator().manual_seed(s)) for s in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    shares = torch.bincount(drawn[0], minlength=4) / 4000
    torch.testing.assert_close(shares, probabilities[0], atol=0.03, rtol=0)  # 4 sigma
    assert shares[1] == 0


def test_labels_are_drawn_unless_the_most_probable_are_asked_for() -> None:
    def labels(seed: int, **options: Any) -> list[int]:
        generator = torch.Generator().manual_seed(seed)
        options = {"labels": "sampled", **options}
        result = run(small(0), small(1), images(), replace(PLAIN, **options), generator=generator)
        return result["y_hat_fr"].tolist()

    assert labels(0) == labels(0)
    assert labels(0) != labels(1)
    assert labels(0, labels="argmax") == labels(1, labels="argmax")


def test_returns_are_detached_scalars_and_the_labels() -> None:
    result = run(small(0), small(1), images(), MetaPseudoLabelsOptions())
    assert result.pop("y_hat_fr").dtype == torch.int64
    assert result.pop("confidence_fr").shape == result.pop("y_learner_fr").shape == (6,)
    for name, value in result.items():
        assert value.shape == (), name
        assert not value.requires_grad, name


def test_the_first_step_has_no_feedback_over_its_baseline() -> None:
    result = run(small(0), small(1), images(), MetaPseudoLabelsOptions())
    assert result["feedback"] != 0
    assert result["feedback_used"] == 0
