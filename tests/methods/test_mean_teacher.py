"""Mean Teacher: ramp, decay and step by hand; the teacher follows, and is deployed."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.mean_teacher import (
    MeanTeacherOptions,
    consistency_weight,
    mean_teacher_step,
    teacher_decay,
)
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.training.plans import plan_run
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
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


@pytest.mark.parametrize(
    ("progress", "exponent"), [(0.0, -5.0), (0.1, -1.25), (0.2, 0.0), (0.7, 0.0)]
)
def test_weight_ramps_as_in_the_paper(progress: float, exponent: float) -> None:
    options = MeanTeacherOptions(w_c=3.0, ramp=0.2)
    assert consistency_weight(options, progress) == pytest.approx(3 * math.exp(exponent))
    assert consistency_weight(MeanTeacherOptions(w_c=3.0, ramp=0.0), 0.0) == 3


def test_the_decay_is_a_plain_mean_then_that_of_the_ramp_then_the_longer_one() -> None:
    options = MeanTeacherOptions()
    found = [teacher_decay(options, updates, 0.1) for updates in (1, 2, 9, 99, 10_000)]
    assert found == pytest.approx([1 / 2, 2 / 3, 0.9, 0.99, 0.99])
    assert teacher_decay(options, 10_000, 0.5) == 0.999
    assert teacher_decay(options, 1, 0.5) == 0.5


def test_step_by_hand() -> None:
    """The student is (1, 0), the teacher (2, 0). On x_FER = (1, 1) of class 1 they say class 0 by
    p = sigmoid(1) and t = sigmoid(2). Of x_FR = (1/2, 1) the teacher says sigmoid(1), of its
    augmented view (-1, 1) the student q = sigmoid(-1). Of two images each has half of the mean, of
    two classes both have the same difference: its square is (p - t)^2."""
    student, teacher = TwoWeights(1.0, 0.0), TwoWeights(2.0, 0.0)
    batch = StepBatch(rows((1, 1)), torch.tensor([1]), rows((0.5, 1)), rows((-1, 1)))
    options = MeanTeacherOptions(w_c=6.0, ramp=0.2, decay=0.25)
    result = mean_teacher_step(
        student, teacher, sgd(student), batch, options, updates=9, progress=0.5
    )
    p, t, q, u = sigmoid(1), sigmoid(2), sigmoid(-1), sigmoid(1)
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    assert result["loss_c"].item() == pytest.approx(((p - t) ** 2 + (q - u) ** 2) / 2, abs=1e-14)
    assert result["w_c"].item() == 6
    assert result["y_hat_fr"].tolist() == [0]
    assert result["confidence_fr"].item() == pytest.approx(u)
    assert result["y_learner_fr"].tolist() == [1]
    # d (p - t)^2 / d logits = 2 (p - t) p (1 - p) (1, -1), at weight 6 / 2
    a, b = 3 * 2 * (p - t) * p * (1 - p), 3 * 2 * (q - u) * q * (1 - q)
    expected = descended([1, 0], [p, -p], [a * 1, -a * 1], [b * -1, -b * 1])
    assert student.weights() == pytest.approx(expected, abs=1e-14)
    followed = [0.25 * w + 0.75 * e for w, e in zip([2, 0], expected, strict=True)]
    assert teacher.weights() == pytest.approx(followed, abs=1e-14)


def test_a_mean_over_images_and_not_over_batches() -> None:
    """One labelled image and two without labels: a third and two thirds of the consistency."""
    student, teacher = TwoWeights(1.0, 0.0), TwoWeights(2.0, 0.0)
    batch = StepBatch(
        rows((1, 1)), torch.tensor([1]), rows((0.5, 1), (1, 1)), rows((-1, 1), (2, 1))
    )
    result = mean_teacher_step(
        student, teacher, sgd(student), batch, MeanTeacherOptions(), updates=1, progress=0.0
    )
    differences = [sigmoid(1) - sigmoid(2), sigmoid(-1) - sigmoid(1), sigmoid(2) - sigmoid(2)]
    expected = sum(d**2 for d in differences) / 3
    assert result["loss_c"].item() == pytest.approx(expected, abs=1e-14)


def test_defaults_are_the_papers() -> None:
    assert MeanTeacherOptions() == MeanTeacherOptions(
        w_c=100.0, ramp=4 / 15, decay_ramp=0.99, decay=0.999
    )


def test_at_weight_zero_the_student_s_is_the_supervised_step_bit_for_bit() -> None:
    teacher, options = small(9), MeanTeacherOptions(w_c=0.0)
    assert_supervised(
        lambda network, optimiser, batch: mean_teacher_step(
            network, teacher, optimiser, batch, options, updates=1, progress=1.0
        )
    )


def test_at_decay_zero_the_teacher_is_the_student() -> None:
    student, teacher = small(), small(9)
    options = MeanTeacherOptions(w_c=1.0, decay=0.0)
    mean_teacher_step(student, teacher, sgd(student), images(), options, updates=9, progress=1.0)
    assert same(state(teacher), state(student))
    assert not same(state(student), state(small()))


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    """Those of the student; the teacher's follow them by half."""
    student, teacher, expected, batch = small(), small(9), small(), images()
    options = MeanTeacherOptions()
    mean_teacher_step(student, teacher, sgd(student), batch, options, updates=1, progress=0.0)
    expected(batch.x_fer)
    for name, wanted in expected.named_buffers():
        assert torch.equal(student.get_buffer(name), wanted)
        if wanted.is_floating_point():
            halfway = (small(9).get_buffer(name) + wanted) / 2
            torch.testing.assert_close(teacher.get_buffer(name), halfway)


def test_the_student_begins_where_the_warm_start_left_its_teacher(
    tiny: Tiny, squares_root: Path
) -> None:
    config = tiny("method=mean_teacher", "mean_teacher.w_c=0", "training.eta_b=0.5")
    plan = plan_run(config, run_data(config, squares_root), torch.device("cpu"))
    warm, phase = plan.phases
    teacher, student = plan.networks["base"], plan.networks["adaptation"]
    untrained = state(teacher)
    assert same(state(student), untrained)
    for _ in warm.steps(0):
        pass
    warmed = state(teacher)
    assert same(state(student), untrained)
    assert not same(warmed, untrained)
    expected = small()
    expected.load_state_dict(teacher.state_dict())
    given, _ = next(phase.steps(0))
    supervised_step(expected, sgd(expected), given.batch.x_fer, given.batch.y_fer)
    assert same(state(student), state(expected))
    for (name, value), before in zip(teacher.state_dict().items(), warmed, strict=True):
        if value.is_floating_point():
            torch.testing.assert_close(value, (before + student.state_dict()[name]) / 2)
    assert plan.deployed == "base"


def test_where_faces_without_labels_decide_it_is_far_ahead() -> None:
    """With an average that reaches back ten of three hundred steps, not a thousand."""
    options = {"w_c": 10.0, "decay_ramp": 0.9, "decay": 0.9}
    assert accuracy("supervised", 0) < 0.75
    assert accuracy("mean_teacher", 0, **options) > 0.95
