"""Noisy Student: a step by hand, its noise, and the images of a round."""

import math
from typing import Literal

import numpy as np
import pytest
import torch

from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.noisy_student import (
    NoisyStudentOptions,
    choose_images,
    noisy_student_step,
)
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


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("labels", ["soft", "hard"])
def test_step_by_hand(labels: Literal["soft", "hard"]) -> None:
    """The teacher's w = (2, 0) gives x_FR = (1, 1) class 0 at sigmoid(2). The student's w = (1, 0)
    sees Aug(x_FR) = (-1, 1), logits (-1, 0), and x_FER = (1, 1) of class 1, logits (1, 0)."""
    student, teacher = TwoWeights(1.0, 0.0), TwoWeights(2.0, 0.0).eval()
    batch = StepBatch(rows((1, 1)), torch.tensor([1]), rows((1, 1)), rows((-1, 1)))
    options = NoisyStudentOptions(w_u=3.0, labels=labels, dropout=0.0)
    result = noisy_student_step(student, teacher, sgd(student), batch, options, generator())
    target = sigmoid(2) if labels == "soft" else 1.0
    p, q = sigmoid(1), sigmoid(-1)
    loss_u = -target * math.log(q) - (1 - target) * math.log(1 - q)
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    assert result["loss_u"].item() == pytest.approx(loss_u, abs=1e-14)
    assert result["y_hat_fr"].tolist() == [0]
    grad_s = [p * 1, -p * 1]
    grad_u = [3 * (q - target) * -1, 3 * (target - q) * 1]
    assert student.weights() == pytest.approx(descended([1, 0], grad_s, grad_u), abs=1e-14)


def test_the_teacher_neither_learns_nor_remembers() -> None:
    student, teacher, batch = small(), small(1).eval(), images()
    noisy_student_step(student, teacher, sgd(student), batch, NoisyStudentOptions(), generator())
    assert same(state(teacher), state(small(1)))
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_a_teacher_in_training_mode_is_refused() -> None:
    student = small()
    with pytest.raises(ValueError, match="training mode"):
        noisy_student_step(
            student, small(1), sgd(student), images(), NoisyStudentOptions(), generator()
        )


def test_dropout_by_hand() -> None:
    """Rate 1/4: what is kept of the last layer's inputs counts 4/3, each pass with its own draw."""
    student, teacher = TwoWeights(1.0, 0.0), TwoWeights(2.0, 0.0).eval()
    batch = StepBatch(rows((1, 1)), torch.tensor([1]), rows((1, 1)), rows((-1, 1)))
    options = NoisyStudentOptions(dropout=0.25, labels="hard")
    losses = set()
    for seed in range(60):
        result = noisy_student_step(
            TwoWeights(1.0, 0.0), teacher, sgd(student), batch, options, generator(seed)
        )
        losses.add((round(result["loss_s"].item(), 9), round(result["loss_u"].item(), 9)))
        # with the first input dropped the logits are (0, 0), with it kept (+-4/3, 0)
    halves, kept = math.log(2), [-math.log(1 - sigmoid(4 / 3)), -math.log(sigmoid(-4 / 3))]
    expected_s, expected_u = ({round(halves, 9), round(loss, 9)} for loss in kept)
    assert {loss for loss, _ in losses} == expected_s
    assert {loss for _, loss in losses} == expected_u
    assert len(losses) == 4


def test_noise_is_a_function_of_the_seed() -> None:
    def trained(seed: int) -> list[torch.Tensor]:
        student = small()
        noisy_student_step(
            student, small(1).eval(), sgd(student), images(), NoisyStudentOptions(), generator(seed)
        )
        return state(student)

    assert same(trained(0), trained(0))
    assert not same(trained(0), trained(1))


def test_at_weight_zero_and_without_dropout_it_is_the_supervised_step_bit_for_bit() -> None:
    teacher, options = small(1).eval(), NoisyStudentOptions(w_u=0.0, dropout=0.0)
    assert_supervised(
        lambda network, optimiser, batch: noisy_student_step(
            network, teacher, optimiser, batch, options, generator()
        )
    )


def test_a_round_takes_the_confident_images_in_balance() -> None:
    probabilities = np.array(
        [
            [0.9, 0.1, 0.0, 0.0],
            [0.6, 0.4, 0.0, 0.0],
            [0.8, 0.2, 0.0, 0.0],
            [0.1, 0.9, 0.0, 0.0],  # the only one of its class: copied
            [0.24, 0.25, 0.26, 0.25],  # not confident: its class stays empty
        ]
    )
    chosen = choose_images(probabilities, per_class=2, seed=0, threshold=0.3)
    assert chosen.tolist() == [0, 2, 3, 3]


def test_copies_are_a_function_of_the_seed() -> None:
    probabilities = np.tile([0.9, 0.1], (5, 1))
    draws = [
        choose_images(probabilities, per_class=20, seed=seed, threshold=0.3).tolist()
        for seed in (0, 0, 1)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert set(draws[0]) == set(range(5))  # every one at least once


def test_a_round_of_unconfident_images_is_empty() -> None:
    assert choose_images(np.full((3, 7), 1 / 7), per_class=2, seed=0, threshold=0.3).tolist() == []
