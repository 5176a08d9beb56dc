"""Noisy Student (Xie, Luong, Hovy, Le: Self-training with Noisy Student improves ImageNet
classification, CVPR 2020, Algorithm 1).

A teacher that no longer learns labels clean faces. A student, as large or larger, learns from these
and from the true labels under noise, and is the next round's teacher. One round:

1. the teacher (at first a supervised network) goes over all FR faces once, in evaluation mode;
2. `choose_images` keeps the confident ones, the same number of each class;
3. a student from fresh weights takes `noisy_student_step` on these and on the labelled faces.

The paper noises by augmentation, by dropout before the last layer and by stochastic depth. These
backbones have no stochastic depth: the first two remain.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Losses, Method, Rounds, StepBatch, StepContext
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    labelled_loss,
    loss_pass,
)
from face2exp_lib.networks import FaceNetwork, frozen_running_stats
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator


@dataclass(frozen=True)
class NoisyStudentOptions:
    """Defaults: the paper's.

    Attributes:
        w_u: weight of the unlabelled loss.
        labels: `soft`, the teacher's probabilities, which the paper reports as slightly better on
            faces from elsewhere, or `hard`, its most probable class.
        dropout: share of the last layer's inputs that the student loses in a step.
        rounds: students one after the other; they share `training.num_steps`.
        threshold: images that the teacher is less sure of are left out.
        per_class: images of each class that a round takes; the paper has 130,000 for ImageNet.
            None: as many as there would be were the unlabelled faces balanced.
    """

    w_u: Annotated[float, Field(ge=0)] = 1.0
    labels: Literal["soft", "hard"] = "soft"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    rounds: Annotated[int, Field(ge=1)] = 3
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.3
    per_class: Annotated[int, Field(gt=0)] | None = None


def choose_images(
    probabilities: np.ndarray, *, per_class: int, seed: int, threshold: float
) -> np.ndarray:
    """The round's unlabelled images: confident, and as many of each class.

    Of a class with more than `per_class` images the most confident are taken, one with fewer is
    filled up with copies drawn at random. A class that the teacher sees nowhere stays empty.

    Args:
        probabilities: (M, K) of the teacher on every unlabelled image.
        per_class: images of each class.
        seed: of the copies.
        threshold: images under this confidence are left out.

    Returns:
        Rows of `probabilities` with repeats, sorted, at most (K * per_class,).
    """
    confidence, labels = probabilities.max(1), probabilities.argmax(1)
    chosen = [np.empty(0, dtype=np.int64)]
    for code in range(probabilities.shape[1]):
        rows = np.flatnonzero((labels == code) & (confidence >= threshold))
        rows = rows[np.argsort(-confidence[rows], kind="stable")][:per_class]
        if 0 < len(rows) < per_class:
            generator = numpy_generator(seed, "noisy_student", code)
            rows = np.append(rows, generator.choice(rows, per_class - len(rows)))
        chosen.append(rows)
    return np.sort(np.concatenate(chosen))


class DroppedOut(nn.Module):
    """A network that loses a share of its last layer's inputs, drawn anew in every pass.

    It is `nn.Dropout` with a generator of its own, so that a resumed run drops the same inputs.
    """

    def __init__(self, network: FaceNetwork, rate: float, generator: torch.Generator) -> None:
        super().__init__()
        self.network, self.rate, self.generator = network, rate, generator

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K) logits."""
        features = self.network.features(x)
        drawn = world.size() * len(features)  # for the whole batch, however it is shared out
        kept = torch.rand(drawn, *features.shape[1:], generator=self.generator) >= self.rate
        kept = kept[world.share(drawn)]
        logits: Tensor = self.network.head(features * (kept.to(features) / (1 - self.rate)))
        return logits


def noisy_student_step(
    student: FaceNetwork,
    teacher: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: NoisyStudentOptions,
    generator: torch.Generator,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update of the student on true and pseudo labels. The teacher is left as it is.

    Batch norm: the teacher uses its running statistics; the student's two passes go by their own
    batch, and the labelled one is remembered.

    Args:
        student: in training mode.
        teacher: in evaluation mode.
        optimiser: over all the student's parameters.
        batch: x_fer (augmented too, in the paper), y_fer, x_fr for the teacher and x_fr_aug for
            the student.
        options: weight, kind of labels, dropout.
        generator: of the dropout, on the CPU.
        compute: precision and micro-batches; the student runs uncompiled, in two halves.
        label_smoothing: of the labelled loss.

    Returns:
        Detached 0-d losses and the most probable classes `y_hat_fr`, (M,) int64, with
        `confidence_fr` and `y_learner_fr` as `meta_step` has them.

    Raises:
        ValueError: if the teacher is in training mode: it would be noised and would change.
    """
    if teacher.training:
        raise ValueError("the teacher is in training mode: call its eval() first")
    logits_fr = loss_pass(teacher, batch.x_fr, None, compute).logits
    y_hat_fr = logits_fr.argmax(1)
    target = logits_fr.softmax(1) if options.labels == "soft" else y_hat_fr
    noisy = DroppedOut(student, options.dropout, generator)
    s = gradient_pass(
        noisy, batch.x_fer, batch.y_fer, compute, criterion=labelled_loss(label_smoothing)
    )
    with frozen_running_stats(student):
        u = gradient_pass(noisy, batch.x_fr_aug, target, compute, weight=options.w_u)
    descend(optimiser, list(student.parameters()), add_scaled(s.grad, u.grad))
    return {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": u.logits.argmax(1),
    }


def step(given: StepContext) -> Losses:
    """The teacher is `base`, the student `adaptation`."""
    student = given.networks["adaptation"]
    assert isinstance(student, FaceNetwork)
    return noisy_student_step(
        student,
        given.networks["base"].eval(),
        given.optimisers["adaptation"],
        given.batch,
        given.options,
        given.generator("dropout"),
        given.compute,
        label_smoothing=given.label_smoothing,
    )


def choose(options: NoisyStudentOptions, probabilities: np.ndarray, seed: int) -> np.ndarray:
    """The images of a round, as `Rounds.choose` has them.

    Raises:
        Face2ExpError: if the teacher is sure of none.
    """
    num_images, num_classes = probabilities.shape
    rows = choose_images(
        probabilities,
        per_class=options.per_class or num_images // num_classes,
        seed=seed,
        threshold=options.threshold,
    )
    if len(rows) == 0:
        raise Face2ExpError(
            f"noisy_student.threshold {options.threshold}: the teacher is as sure as that of no "
            "image: lower it (--resume --changed), or train its first teacher longer in another "
            "run (training.warm_start_steps)"
        )
    return rows


NOISY_STUDENT = Method(
    name="noisy_student",
    title="Noisy Student",
    step=step,
    cost=lambda options, n, m: learning(n + m) + looking(m),
    options=NoisyStudentOptions,
    networks=("base", "adaptation"),
    rounds=Rounds(number=lambda options: options.rounds, choose=choose),
)
