"""What each image weighs in A's L_u: mean_i w_i CE_i with weights of mean 1; in the paper all 1.

Whatever the weights, f speaks of the step that A takes with them.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_options import MetaOptions
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import Compute, Grads, gradient_pass, slope_pass
from face2exp_lib.methods.running import RunningMoments, ratio
from face2exp_lib.networks import frozen_running_stats
from face2exp_lib.runtime import distributed as world

FLOOR = (
    0.1  # of an even share: a class counts as no rarer, so no weight is over ten times an even one
)


def weighted_target(labels: Tensor, weights: Tensor | None, num_classes: int) -> Tensor:
    """What cross entropy takes to be mean_i w_i CE_i: it is linear in its target.

    Args:
        labels: (M,) int64.
        weights: (M,), of any sign; None for ones, and the labels themselves.
        num_classes: K.

    Returns:
        (M, K), or (M,) int64.
    """
    if weights is None:
        return labels
    return F.one_hot(labels, num_classes).to(weights) * weights[:, None]


def floored(shares: Tensor) -> Tensor:
    """Shares of which none is under FLOOR times an even one."""
    return shares.clamp(min=FLOOR / len(shares))


def balanced_weights(one_hot: Tensor, history: RunningMoments) -> Tensor:
    """The inverse of each label's share among the labels of late, (M,), of mean 1 in the batch.

    Args:
        one_hot: labels, (M, K).
        history: of the shares, (K,); this batch is added first.
    """
    shares = one_hot.mean(0)
    world.average((shares,))
    history.add(shares)
    inverse = one_hot @ (1 / floored(history.mean))
    mean = inverse.mean()
    world.average((mean,))
    return inverse / mean


def helpful_weights(
    adaptation: nn.Module,
    x_a: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    grad_s: Grads,
    compute: Compute,
    *,
    beside: Tensor | None = None,
) -> Tensor:
    """Weights in proportion to max(0, <gradient of w_i CE_i, labelled gradient>) at theta_A: how
    fast the labelled loss falls when A begins to learn from an image (Ren, Zeng, Yang, Urtasun:
    Learning to Reweight Examples for Robust Deep Learning, ICML 2018).

    Args:
        adaptation: A at theta_A, in training mode.
        x_a, labels: what it is to learn, (M, 3, s, s) and (M,) int64.
        weights: (M,), those that the images have already; None for ones.
        grad_s: of the labelled loss at theta_A.
        compute: precision and micro-batches; forward mode gets all products in one pass.
        beside: as in `gradient_pass`.

    Returns:
        (M,), of mean 1 in the batch; all 0 where no image helps.
    """
    with frozen_running_stats(adaptation):
        _, slopes = slope_pass(adaptation, x_a, labels, grad_s, compute, beside=beside)
    helpful = (slopes if weights is None else weights * slopes).clamp(min=0)
    mean = helpful.mean()
    world.average((mean,))
    return ratio(helpful, mean)


def weigh_images(
    adaptation: nn.Module,
    batch: StepBatch,
    x_a: Tensor,
    labels: Tensor,
    counted: Tensor | None,
    num_classes: int,
    options: MetaOptions,
    history: FeedbackHistory,
    compute: Compute,
) -> tuple[Tensor | None, Grads]:
    """The weights of a step, and the labelled gradient at theta_A if they asked for it.

    Args:
        adaptation: A at theta_A, in training mode.
        batch: the step's images and labels.
        x_a, labels: what A is to learn, (M, 3, s, s) and (M,) int64.
        counted: (M,), 1 where a name counts and 0 where not; None if all do.
        num_classes: K.
        options: `balance` and `reweight`.
        history: of names; this step's are added.
        compute: precision and micro-batches.

    Returns:
        (M,), None for ones; the gradient, or nothing.
    """
    weights = counted
    if options.balance == "pseudo":
        balanced = balanced_weights(F.one_hot(labels, num_classes).to(x_a), history.shares)
        weights = balanced if counted is None else counted * balanced
    if options.reweight == "none":
        return weights, ()
    fer, fr = (batch.x_fer, x_a) if options.batch_norm == "together" else (None, None)
    with frozen_running_stats(adaptation):
        grad_s = gradient_pass(adaptation, batch.x_fer, batch.y_fer, compute, beside=fr).grad
    weights = helpful_weights(adaptation, x_a, labels, weights, grad_s, compute, beside=fer)
    return weights, grad_s
