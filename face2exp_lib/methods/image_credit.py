"""f_i, an unlabelled image's own share of f, and what B is given of it where each image is credited
for itself (`MetaOptions.feedback_unit: image`) in place of one f for the batch."""

import torch
from torch import Tensor, nn

from face2exp_lib.methods.feedback import (
    FeedbackBatch,
    FeedbackHistory,
    FeedbackNorm,
    normalised,
)
from face2exp_lib.methods.passes import Compute, Grads, gradient_pass, slope_pass
from face2exp_lib.methods.running import ratio
from face2exp_lib.networks import frozen_running_stats
from face2exp_lib.runtime import distributed as world


def image_feedback(
    adaptation: nn.Module,
    theta_a: Grads,
    x_fr: Tensor,
    y_hat_fr: Tensor,
    x_fer: Tensor,
    y_fer: Tensor,
    scale: float,
    compute: Compute,
    *,
    weights: Tensor | None = None,
    grad_s: Grads = (),
    together: bool = False,
) -> Tensor:
    """f_i, each unlabelled image's share of f; their mean is f.

    The gradient of L_u is the mean of the images' own gradients, so Eq. 6 is the mean of the dot
    products with these: eta_A times the derivative of each image's loss at theta_A along the
    labelled gradient at theta_A'. Forward mode takes all of them in one pass, without M gradients.
    Batch norm ties the images of a batch together; f_i then is of the image's loss, which the
    others have a part in.

    Args:
        adaptation: A at theta_A', in training mode; left as it is.
        theta_a: its parameters before the step.
        x_fr, y_hat_fr: what it learnt from, (M, 3, s, s) and (M,) int64.
        x_fer, y_fer: the labelled batch.
        scale: eta_A times the weight of L_u in A's step.
        compute: precision and micro-batches.
        weights: (M,), of the images in L_u; None for ones.
        grad_s: the labelled gradient of `Measured`; where empty, that of Eq. 6 is taken here.
        together: both batches are normalised as one.

    Returns:
        (M,) float32.
    """
    beside_fer, beside_fr = (x_fr, x_fer) if together else (None, None)
    with frozen_running_stats(adaptation):
        if not grad_s:
            grad_s = gradient_pass(adaptation, x_fer, y_fer, compute, beside=beside_fer).grad
        _, slopes = slope_pass(
            adaptation, x_fr, y_hat_fr, grad_s, compute, at=theta_a, beside=beside_fr
        )
    return scale * (slopes if weights is None else weights * slopes)


def image_credit(
    feedback_fr: Tensor,
    weights: Tensor | None,
    norm: FeedbackNorm,
    eta_a: float,
    history: FeedbackHistory,
    batch: FeedbackBatch = "own",
    generator: torch.Generator | None = None,
) -> Tensor:
    """What L_f scales each image's cross entropy by: f_i, as `feedback_norm` has it.

    Running mean and deviation are those of all images of late, of all processes. An image that A
    did not learn from has no part in them and no credit.

    Args:
        feedback_fr: (M,), f_i.
        weights: (M,), of the images in L_u; None for ones.
        norm: see `feedback.normalised`.
        eta_a: A's learning rate.
        history: this step is added to its `images`.
        batch: `own`, or `shuffled`: the images exchange their credit, as a control.
        generator: to shuffle with, on the CPU.

    Returns:
        (M,).

    Raises:
        ValueError: if there is nothing to shuffle with.
    """
    learnt = torch.ones_like(feedback_fr) if weights is None else (weights > 0).to(feedback_fr)
    every, known = world.gather(feedback_fr), world.gather(learnt)
    mean = ratio((known * every).sum(), known.sum())
    variance = ratio((known * (every - mean) ** 2).sum(), known.sum())
    history.images.add(mean, variance, weight=known.mean())
    credit = learnt * normalised(feedback_fr, norm, eta_a, history.images)
    if batch == "own":
        return credit
    if generator is None:
        raise ValueError("feedback_batch shuffled needs a generator: give one of this step")
    whole, rows = world.gather(credit).clone(), known.nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    whole[rows] = whole[rows[order]]
    return whole[world.share(len(whole))]
