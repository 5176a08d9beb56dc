"""FixMatch (Sohn et al.: FixMatch: Simplifying Semi-Supervised Learning with Consistency and
Confidence, NeurIPS 2020).

A confident guess on the plain view becomes the hard label of the augmented view.
"""

from dataclasses import dataclass
from typing import Annotated

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
    descend,
    gradient_pass,
    labelled_loss,
    loss_pass,
)
from face2exp_lib.networks import frozen_running_stats

LEFT_OUT = -100  # a label of no class


@dataclass(frozen=True)
class FixMatchOptions:
    """Defaults: the paper's. Its mu = 7, unlabelled images to a labelled one, is a batch size.

    Attributes:
        w_u: lambda_u, weight of the unlabelled loss.
        confidence: tau; only images whose most probable class reaches it count.
    """

    w_u: Annotated[float, Field(ge=0)] = 1.0
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.95


def fixmatch_step(
    network: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: FixMatchOptions,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on l_s + lambda_u l_u (the paper's Eq. 3 and 4).

    Batch norm: each of the three passes by its own batch; the labelled one is remembered.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        batch: labelled images and both views of the unlabelled ones.
        options: weight and threshold.
        compute: precision and micro-batches.
        label_smoothing: of the labelled loss.

    Returns:
        Detached 0-d losses, `kept_fr`, the share of unlabelled images that counted, and the hard
        labels of all of them `y_hat_fr`, (M,) int64; `confidence_fr` and `y_learner_fr` as
        `meta_step` has them, the latter of the augmented view.
    """
    with frozen_running_stats(network):
        logits_fr = loss_pass(network, batch.x_fr, None, compute).logits
        confidence, y_hat_fr = logits_fr.softmax(1).max(1)
        kept = confidence >= options.confidence
        target = torch.where(kept, y_hat_fr, LEFT_OUT)
        u = gradient_pass(
            network,
            batch.x_fr_aug,
            target,
            compute,
            weight=options.w_u,
            criterion=mean_over_all,
        )
    s = gradient_pass(
        network, batch.x_fer, batch.y_fer, compute, criterion=labelled_loss(label_smoothing)
    )
    descend(optimiser, list(network.parameters()), add_scaled(s.grad, u.grad))
    return {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "kept_fr": kept.to(logits_fr.dtype).mean(),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence,
        "y_learner_fr": u.logits.argmax(1),
    }


def mean_over_all(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy in which an image left out counts as 0, as in Eq. 4, not as absent."""
    return F.cross_entropy(scores, labels, ignore_index=LEFT_OUT, reduction="sum") / len(labels)


def step(given: StepContext) -> Losses:
    """The same at every step."""
    return fixmatch_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch,
        given.options,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


FIXMATCH = Method(
    name="fixmatch",
    title="FixMatch",
    step=step,
    cost=lambda options, n, m: learning(n + m) + looking(m),
    options=FixMatchOptions,
)
