"""UDA (Xie, Dai, Hovy, Luong, Le: Unsupervised Data Augmentation for Consistency Training, NeurIPS
2020).

What the network says of a plain view, sharpened, is the target for the augmented view, if it is
said with confidence.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Losses, Method, StepBatch, StepContext
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    loss_pass,
)
from face2exp_lib.networks import frozen_running_stats

Schedule = Literal["none", "linear", "log", "exp"]
TSA_SCALE = 5.0  # the paper's constant in the log and exp schedules


@dataclass(frozen=True)
class UdaOptions:
    """Defaults: the paper's for CIFAR-10.

    Attributes:
        w_u: lambda, weight of the unlabelled loss.
        temperature: of the target's softmax; under 1 sharpens.
        confidence: only images whose most probable class is over it count.
        tsa: training signal annealing: labelled images that the network already knows too well
            are left out, up to a threshold that rises by this schedule from 1 / K to 1.
    """

    w_u: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 0.4
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.8
    tsa: Schedule = "none"


def annealing_threshold(schedule: Schedule, progress: float, num_classes: int) -> float:
    """eta_t: labelled images whose own class is more probable than this are left out.

    Args:
        schedule: `none` leaves out nothing.
        progress: share of the run done, 0 .. 1.
        num_classes: K.
    """
    alpha = {
        "none": 1.0,
        "linear": progress,
        "log": 1 - math.exp(-progress * TSA_SCALE),
        "exp": math.exp((progress - 1) * TSA_SCALE),
    }[schedule]
    return alpha * (1 - 1 / num_classes) + 1 / num_classes


def annealed_loss(
    logits: Tensor, labels: Tensor, threshold: float, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross entropy of the labelled images kept, 0 if none is.

    Args:
        logits: (N, K).
        labels: (N,) int64.
        threshold: of `annealing_threshold`.
        label_smoothing: share of each label that is spread over all classes.
    """
    probability = logits.detach().softmax(1).gather(1, labels[:, None])[:, 0]
    ignored = -100
    kept = torch.where(probability > threshold, ignored, labels)
    total = F.cross_entropy(
        logits, kept, ignore_index=ignored, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (kept != ignored).sum().clamp(min=1)


def consistency_target(
    logits_fr: Tensor, temperature: float, confidence: float
) -> tuple[Tensor, Tensor]:
    """What the augmented view is to be taken for: the sharpened prediction on the plain one.

    The confidence is that of the prediction before it is sharpened. The row of an image that is
    left out is all 0, and so is its cross entropy: the mean is over all images, so that few
    confident ones weigh little.

    Args:
        logits_fr: (M, K), of the plain view, without a graph.
        temperature, confidence: see `UdaOptions`.

    Returns:
        The target, (M, K), and the share of images that count, 0-d.
    """
    kept = (logits_fr.softmax(1).amax(1) > confidence).to(logits_fr.dtype)
    return (logits_fr / temperature).softmax(1) * kept[:, None], kept.mean()


def uda_step(
    network: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: UdaOptions,
    progress: float,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the annealed labelled loss plus lambda times the consistency loss.

    Batch norm: each of the three passes by its own batch; the labelled one is remembered.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        batch: labelled images and both views of the unlabelled ones.
        options: weights, target and schedule.
        progress: share of the run done, 0 .. 1.
        compute: precision and micro-batches; the annealed mean is over each of these.
        label_smoothing: of the labelled loss.

    Returns:
        Detached 0-d losses, `kept_fr`, the share of unlabelled images that counted, and the most
        probable classes `y_hat_fr`, (M,) int64; `confidence_fr` and `y_learner_fr` as `meta_step`
        has them, the latter of the augmented view.
    """
    with frozen_running_stats(network):
        logits_fr = loss_pass(network, batch.x_fr, None, compute).logits
        target, kept_fr = consistency_target(logits_fr, options.temperature, options.confidence)
        u = gradient_pass(network, batch.x_fr_aug, target, compute, weight=options.w_u)
    y_hat_fr = logits_fr.argmax(1)
    threshold = annealing_threshold(options.tsa, progress, num_classes=logits_fr.shape[1])
    s = gradient_pass(
        network,
        batch.x_fer,
        batch.y_fer,
        compute,
        criterion=partial(annealed_loss, threshold=threshold, label_smoothing=label_smoothing),
    )
    descend(optimiser, list(network.parameters()), add_scaled(s.grad, u.grad))
    return {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "kept_fr": kept_fr,
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": u.logits.argmax(1),
    }


def step(given: StepContext) -> Losses:
    """At the annealing's threshold."""
    return uda_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch,
        given.options,
        given.progress,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


UDA = Method(
    name="uda",
    title="UDA",
    step=step,
    cost=lambda options, n, m: learning(n + m) + looking(m),
    options=UdaOptions,
)
