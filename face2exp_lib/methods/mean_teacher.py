"""Mean Teacher (Tarvainen, Valpola: Mean teachers are better role models: Weight-averaged
consistency targets improve semi-supervised deep learning results, NeurIPS 2017).

The teacher is a moving average of the student's weights. The student learns from labels, and to say
of every face, labelled or not, what the teacher says of it. The teacher is what is deployed.

What is simpler than in the paper: there, student and teacher see two draws of one weak augmentation
(flips, shifts, noise on the pixels, dropout). Here the teacher sees the plain view of an unlabelled
face and the student the augmented one, as for the other methods; of a labelled face there is one
view, which both see, so that only their weights differ on it. The paper's second head for residual
networks is left out, and so are its ramps of Adam's constants and of the learning rate, whose place
the run's schedule takes. Batch norm's running statistics of the teacher are averages, too; in the
authors' PyTorch code the teacher gathers its own.
"""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Losses, Method, Preparation, StepBatch, StepContext
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
from face2exp_lib.networks import average_in, frozen_running_stats

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class MeanTeacherOptions:
    """Defaults: the paper's for its convolutional network (section 3 and the authors' TensorFlow
    code).

    Attributes:
        w_c: weight of the consistency cost beside the mean over labelled images, after the ramp.
            The authors divide both costs by all images of a batch and set it to 100 times the
            labelled share of these: 100 in these units, on CIFAR-10 as on SVHN.
        ramp: share of the run over which it rises; the paper's 40,000 of 150,000 steps.
        decay_ramp, decay: alpha of the teacher's weights during the ramp and after it: the student
            learns fast at first, and what it was then is to be forgotten soon.
    """

    w_c: Annotated[float, Field(ge=0)] = 100.0
    ramp: Share = 40_000 / 150_000
    decay_ramp: Share = 0.99
    decay: Share = 0.999


def consistency_weight(options: MeanTeacherOptions, progress: float) -> float:
    """w_c exp(-5 (1 - t)^2), where t rises from 0 to 1 over the ramp.

    Args:
        options: weight and ramp.
        progress: share of the run done, 0 .. 1.
    """
    t = min(1.0, progress / options.ramp) if options.ramp else 1.0
    return options.w_c * math.exp(-5 * (1 - t) ** 2)


def teacher_decay(options: MeanTeacherOptions, updates: int, progress: float) -> float:
    """alpha: the plain mean of all weights so far, the first ones among them, until the moving
    average reaches back less far (the authors' PyTorch code).

    Args:
        options: the two decays, and the ramp that parts them.
        updates: of the student, the latest included: 1 or more.
        progress: share of the run done, 0 .. 1.
    """
    most = options.decay_ramp if progress < options.ramp else options.decay
    return min(1 - 1 / (updates + 1), most)


def consistency(scores: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of probabilities, over images and classes.

    The paper has the squared distance of the two; both of its codes divide that by the number of
    classes.

    Args:
        scores: (M, K) logits of the student.
        target: (M, K) probabilities of the teacher, without a graph.
    """
    return F.mse_loss(scores.softmax(1), target)


def mean_teacher_step(
    student: nn.Module,
    teacher: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: MeanTeacherOptions,
    *,
    updates: int,
    progress: float,
    compute: Compute = PLAIN,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update of the student on L_s + w(t) J; then the teacher follows it by Eq. 1.

    J is a mean over labelled and unlabelled images alike.

    Batch norm: each pass by its own batch; the student's labelled one is remembered, and the
    teacher's statistics follow the student's as its weights do.

    Args:
        student, teacher: in training mode.
        optimiser: over all the student's parameters.
        batch: labelled images and both views of the unlabelled ones.
        options: weight, ramp and decays.
        updates: of the student, this one included.
        progress: share of the run done, 0 .. 1.
        compute: precision and micro-batches.
        label_smoothing: of L_s.

    Returns:
        Detached 0-d losses `loss_s` and `loss_c` (J), its weight `w_c`, the teacher's most probable
        classes `y_hat_fr` of the plain view, (M,) int64; `confidence_fr` and `y_learner_fr` as
        `meta_step` has them.
    """
    with frozen_running_stats(teacher):
        target_fer = loss_pass(teacher, batch.x_fer, None, compute).logits.softmax(1)
        logits_fr = loss_pass(teacher, batch.x_fr, None, compute).logits
    weight, cross_entropy = consistency_weight(options, progress), labelled_loss(label_smoothing)
    share_fer = len(batch.x_fer) / (len(batch.x_fer) + len(batch.x_fr))

    def both(scores: Tensor, rows: Tensor) -> Tensor:
        drawn_to = consistency(scores, target_fer[rows])
        return cross_entropy(scores, batch.y_fer[rows]) + weight * share_fer * drawn_to

    rows = torch.arange(len(batch.x_fer), device=batch.x_fer.device)
    s = gradient_pass(student, batch.x_fer, rows, compute, criterion=both)
    with frozen_running_stats(student):
        c = gradient_pass(
            student,
            batch.x_fr_aug,
            logits_fr.softmax(1),
            compute,
            weight=weight * (1 - share_fer),
            criterion=consistency,
        )
    descend(optimiser, list(student.parameters()), add_scaled(s.grad, c.grad))
    average_in(teacher, student, teacher_decay(options, updates, progress))

    y_hat_fr = logits_fr.argmax(1)
    loss_c_fer = consistency(s.logits, target_fer)
    return {
        "loss_s": cross_entropy(s.logits, batch.y_fer),
        "loss_c": share_fer * loss_c_fer + (1 - share_fer) * c.loss,
        "w_c": c.loss.new_tensor(weight),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": c.logits.argmax(1),
    }


def step(given: StepContext) -> Losses:
    """The first one begins with a student like its teacher, which the warm start has trained."""
    student, teacher = given.networks["base"], given.networks["teacher"].train()
    if given.step == 0:
        student.load_state_dict(teacher.state_dict())
    return mean_teacher_step(
        student,
        teacher,
        given.optimisers["base"],
        given.batch,
        given.options,
        updates=given.step + 1,
        progress=given.progress,
        compute=given.compute,
        label_smoothing=given.label_smoothing,
    )


def prepare(run: Preparation) -> None:
    """A student, kept in checkpoints as `adaptation`. It takes the place of `base`, which is the
    teacher and deployed, in all that is trained."""
    teacher = run.networks["base"]
    student = run.networks["adaptation"] = deepcopy(teacher)
    run.trained.update(base=student, teacher=teacher)


MEAN_TEACHER = Method(
    name="mean_teacher",
    title="Mean Teacher",
    step=step,
    cost=lambda options, n, m: learning(n + m) + looking(n + m),
    options=MeanTeacherOptions,
    prepare=prepare,
)
