"""Meta Pseudo Labels (Pham, Dai, Xie, Le: Meta Pseudo Labels, CVPR 2021).

Meta-Face2Exp builds on it: the teacher is its B, the student its A.

What differs from Meta-Face2Exp:

- the teacher's labels are drawn from its distribution, not its most probable class, and both
  networks see the augmented view (Meta-Face2Exp: B labels and A learns from the plain one);
- a moving average is taken from the feedback h before it scales the teacher's gradient (for
  Meta-Face2Exp an option, `feedback_norm: minus_average`);
- the teacher's consistency loss is UDA's: sharpened, masked, weighted, with a ramp (Meta-Face2Exp:
  plain cross entropy, weight 1);
- labels, true and pseudo, are smoothed when learned from;
- the labelled images are not drawn in balance.

With argmax labels, no baseline, no smoothing, UDA without sharpening, mask and ramp, and one view,
it is `meta_step`; a test holds the two together.

The authors' released code takes soft labels for student and teacher alike. The teacher's feedback
gradient, of CE(stop-gradient(p), p), is then zero. Here labels are hard, as in the paper.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import Passes, feedback_passes, learning, looking
from face2exp_lib.methods.feedback import (
    FeedbackHistory,
    FeedbackNorm,
    FeedbackWay,
    begin_feedback,
    feedback_used,
)
from face2exp_lib.methods.method import Losses, Method, StepBatch, StepContext
from face2exp_lib.methods.naming import drawn_labels, uniform
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    loss_pass,
)
from face2exp_lib.methods.uda import consistency_target
from face2exp_lib.networks import frozen_running_stats


@dataclass(frozen=True)
class MetaPseudoLabelsOptions:
    """Defaults: the authors' command for CIFAR-10 with 4,000 labels.

    Attributes:
        labels: `sampled` from the teacher's distribution, or `argmax`.
        feedback: how h is measured, see `begin_feedback`: `exact`, as in the paper; the authors'
            code takes `finite_difference`.
        w_f: weight of the feedback loss; 0 leaves a teacher trained with UDA.
        baseline: take the moving average of h from it. The authors' code lets it begin at 0; here
            it is the mean of the steps so far (`FeedbackHistory`), over some hundred steps alike.
        label_smoothing: of the student's pseudo labels and of the teacher's true ones. The
            student's labelled loss, which h is made of, is not smoothed.
        w_c: weight of the teacher's UDA loss.
        ramp: share of the run over which that weight rises from 0.
        temperature, confidence: of the UDA loss. The confidence is of the prediction before it
            is sharpened, as in `uda`; the authors' code here takes it after.
    """

    labels: Literal["sampled", "argmax"] = "sampled"
    feedback: FeedbackWay = "exact"
    w_f: Annotated[float, Field(ge=0)] = 1.0
    baseline: bool = True
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.15
    w_c: Annotated[float, Field(ge=0)] = 8.0
    ramp: Annotated[float, Field(ge=0, le=1)] = 5_000 / 300_000
    temperature: Annotated[float, Field(gt=0)] = 0.7
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.6


def sampled_labels(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """One class an image, drawn from its distribution.

    Args:
        probabilities: (M, K), on any device.
        generator: on the CPU, so that the draw does not depend on the device.

    Returns:
        (M,) int64.
    """
    chance = uniform(len(probabilities), generator, probabilities.device)
    return drawn_labels(probabilities, chance)


def meta_pseudo_labels_step(
    teacher: nn.Module,
    student: nn.Module,
    optimiser_t: SGD,
    optimiser_s: SGD,
    batch: StepBatch,
    options: MetaPseudoLabelsOptions,
    *,
    progress: float,
    history: FeedbackHistory,
    generator: torch.Generator,
    compute: Compute = PLAIN,
) -> Losses:
    """Update the student, then the teacher, in place.

    Batch norm: as in `meta_step`. Every pass goes by its own batch; the student remembers its pass
    over unlabelled images, the teacher the one over labelled images.

    Args:
        teacher, student: in training mode.
        optimiser_t, optimiser_s: over all their parameters, in one group each.
        batch: labelled images and both views of the unlabelled ones.
        options: weights and readings.
        progress: share of the run done, 0 .. 1.
        history: of h; this step's h is added. Part of a run's state.
        generator: of the drawn labels, on the CPU.
        compute: precision and micro-batches.

    Returns:
        Detached 0-d losses, `feedback` (h), `feedback_used` (h less its baseline), `kept_fr`, the
        share of unlabelled images in the UDA loss; the pseudo labels `y_hat_fr`, (M,) int64; and
        `confidence_fr` and `y_learner_fr` as `meta_step` has them.
    """
    eta_s = optimiser_s.param_groups[0]["lr"]

    # (1) The teacher labels, without a gradient: it passes Aug(x_FR) again when h is known.
    with frozen_running_stats(teacher):
        logits_fr_aug = loss_pass(teacher, batch.x_fr_aug, None, compute).logits
    if options.labels == "sampled":
        y_hat_fr = sampled_labels(logits_fr_aug.softmax(1), generator)
    else:
        y_hat_fr = logits_fr_aug.argmax(1)

    # (2) The student learns from these labels.
    measure = begin_feedback(options.feedback, student, batch.x_fer, batch.y_fer, compute)
    smoothed = partial(F.cross_entropy, label_smoothing=options.label_smoothing)
    u = gradient_pass(student, batch.x_fr_aug, y_hat_fr, compute, criterion=smoothed)
    descend(optimiser_s, list(student.parameters()), u.grad)

    # (3) Did it help on x_FER? h, and what is usual.
    measured = measure(u.grad, eta_s)
    norm: FeedbackNorm = "minus_average" if options.baseline else "paper"
    used = feedback_used(measured, norm, "own", u.grad, eta_s, history)

    # (4) The teacher learns from labels, UDA and h - b. Cross entropy is linear in its target, so
    # the last two are one pass.
    s = gradient_pass(teacher, batch.x_fer, batch.y_fer, compute, criterion=smoothed)
    with frozen_running_stats(teacher):
        logits_fr = loss_pass(teacher, batch.x_fr, None, compute).logits
        target_c, kept_fr = consistency_target(logits_fr, options.temperature, options.confidence)
        target_f = F.one_hot(y_hat_fr, logits_fr.shape[1]).to(logits_fr.dtype)
        w_c = options.w_c * (min(1.0, progress / options.ramp) if options.ramp else 1.0)
        target = w_c * target_c + options.w_f * used * target_f
        cf = gradient_pass(teacher, batch.x_fr_aug, target, compute)
    descend(optimiser_t, list(teacher.parameters()), add_scaled(s.grad, cf.grad))

    losses = {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "loss_c": F.cross_entropy(cf.logits, target_c),
        "loss_f": used * F.cross_entropy(cf.logits, y_hat_fr),
        "feedback": measured.feedback,
        "feedback_used": used,
        "kept_fr": kept_fr,
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr_aug, y_hat_fr),
        "y_learner_fr": u.logits.argmax(1),
    }
    if measured.loss_s_after is not None:
        losses["loss_s_after"] = measured.loss_s_after
    return losses


def step(given: StepContext) -> Losses:
    """The teacher is `base`, the student `adaptation`."""
    return meta_pseudo_labels_step(
        given.networks["base"],
        given.networks["adaptation"],
        given.optimisers["base"],
        given.optimisers["adaptation"],
        given.batch,
        given.options,
        progress=given.progress,
        history=given.history,
        generator=given.generator("labels"),
        compute=given.compute,
    )


def cost(options: MetaPseudoLabelsOptions, n: int, m: int) -> Passes:
    """Of one step."""
    student = learning(m) + feedback_passes(options.feedback, n)
    # looks at Aug(x_FR) to label it and at x_FR for UDA's target
    teacher = learning(n + m) + looking(2 * m)
    return student + teacher


META_PSEUDO_LABELS = Method(
    name="meta_pseudo_labels",
    title="Meta Pseudo Labels",
    step=step,
    cost=cost,
    options=MetaPseudoLabelsOptions,
    networks=("base", "adaptation"),
    finetunes=True,
)
