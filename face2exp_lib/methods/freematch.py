"""FreeMatch (Wang, Chen, Heng, Hou, Fan, Wu, Wang, Savvides, Shinozaki, Raj, Schiele, Xie:
FreeMatch: Self-adaptive Thresholding for Semi-supervised Learning, ICLR 2023).

FixMatch whose threshold is learnt: how sure the network is on average, lowered for classes that it
names seldom; and a loss that is to keep its guesses diverse. With a moving average that stands
still and no such loss it is FixMatch at the confidence 1 / K.

What is simpler than in the paper: nothing is left out of its Eq. 5 to 12. A class that no kept face
of the batch was taken for is left out of Eq. 11; in the authors' code its term is a constant. Their
further options, a quantile in place of the mean in Eq. 5 and a cap on the threshold, are off by
their default and not here. Their moving average of the weights is `training.ema`, their mu = 7 a
batch size.

The sign of Eq. 11 is kept as it is printed and as the authors' code has it, and deserves a doubt.
L_f is minus a cross entropy of which the second half alone takes a gradient. That is highest, not
lowest, where the halves agree, so a descent drives the guesses of a batch away from their running
mean. The paper has the cross entropy stand for the entropy of the guesses, which is to rise: true
of its value, not of this gradient. A negative `w_f` draws the two together.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.fixmatch import LEFT_OUT, mean_over_all
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
from face2exp_lib.runtime import distributed as world


@dataclass(frozen=True)
class FreeMatchOptions:
    """Defaults: the paper's.

    Attributes:
        w_u: weight of L_u.
        w_f: weight of L_f. The paper has 0.01 where labels are scarcest (CIFAR-10 with one of each
            class) and on SVHN, and 0.05 else; the authors' code 0.01 by default and 0.001 in its
            configs.
        decay: lambda of the moving averages, which begin at 1 / K.
    """

    w_u: Annotated[float, Field(ge=0)] = 1.0
    w_f: float = 0.05
    decay: Annotated[float, Field(ge=0, le=1)] = 0.999


def moved(state: dict[str, Tensor], logits_fr: Tensor, decay: float) -> dict[str, Tensor]:
    """The moving averages with a step's plain views, of all processes, taken in.

    Args:
        state: as is returned; empty before the first step.
        logits_fr: (M, K), without a graph.
        decay: lambda.

    Returns:
        `tau` (Eq. 5), 0-d, the mean confidence; `p` (Eq. 6) and `h` (Eq. 10), (K,) each: mean
        probability of every class, and share of images that it is the most probable one of.
    """
    q = logits_fr.softmax(1)
    num_classes = q.shape[1]
    h = F.one_hot(q.argmax(1), num_classes).to(q).mean(0)
    now = {"tau": q.amax(1).mean(), "p": q.mean(0), "h": h}
    world.average(list(now.values()))
    return {
        name: decay * state.get(name, torch.full_like(value, 1 / num_classes)).to(value)
        + (1 - decay) * value
        for name, value in now.items()
    }


def thresholds(state: dict[str, Tensor]) -> Tensor:
    """tau_t(c), (K,): the threshold of each class (Eq. 7), of the averages of `moved`."""
    return state["p"] / state["p"].max() * state["tau"]


def sum_norm(p: Tensor, h: Tensor) -> Tensor:
    """SumNorm(p / h) of Eq. 11, (K,), in which a class has no part where h is 0."""
    shares = torch.where(h > 0, p, 0) / torch.where(h > 0, h, 1)
    total = shares.sum()
    return shares / torch.where(total > 0, total, 1)


def fairness_loss(logits: Tensor, kept: Tensor, wanted: Tensor) -> Tensor:
    """L_f = -H(SumNorm(p~ / h~), SumNorm(p_bar / h_bar)) (Eq. 9 and 11); 0 if no image is kept.

    Mean and histogram are those of all processes, and the gradient is this one's share.

    Args:
        logits: (M, K) of the augmented view.
        kept: (M,), images over their threshold.
        wanted: (K,), the first of the two.
    """
    taken_for = F.one_hot(logits.argmax(1), logits.shape[1])
    p_bar = (logits.softmax(1) * kept[:, None]).mean(0)
    h_bar = (taken_for * kept[:, None]).to(logits).mean(0)
    p_of_all = p_bar.detach().clone()
    world.average((p_of_all, h_bar))
    shares = sum_norm(p_bar + (p_of_all - p_bar.detach()), h_bar)
    return (wanted * torch.where(shares > 0, shares, 1).log()).sum()


def freematch_step(
    network: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: FreeMatchOptions,
    state: dict[str, Tensor],
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on L_s + w_u L_u + w_f L_f (Eq. 12), at thresholds that know this batch.

    Batch norm: each of the three passes by its own batch; the labelled one is remembered.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        batch: labelled images and both views of the unlabelled ones.
        options: weights and lambda.
        state: the averages of `moved`, which are moved.
        compute: precision and micro-batches; the gradient of L_f is over each of these.
        label_smoothing: of the labelled loss.

    Returns:
        What `fixmatch_step` does, and the 0-d `loss_f` and `threshold` (tau_t).
    """
    with frozen_running_stats(network):
        logits_fr = loss_pass(network, batch.x_fr, None, compute).logits
        state.update(moved(state, logits_fr, options.decay))
        confidence, y_hat_fr = logits_fr.softmax(1).max(1)
        kept = confidence >= thresholds(state)[y_hat_fr]
        wanted = sum_norm(state["p"], state["h"])

        def both(scores: Tensor, labels: Tensor) -> Tensor:
            fairness = fairness_loss(scores, labels != LEFT_OUT, wanted)
            return options.w_u * mean_over_all(scores, labels) + options.w_f * fairness

        target = torch.where(kept, y_hat_fr, LEFT_OUT)
        uf = gradient_pass(network, batch.x_fr_aug, target, compute, criterion=both)
    s = gradient_pass(
        network, batch.x_fer, batch.y_fer, compute, criterion=labelled_loss(label_smoothing)
    )
    descend(optimiser, list(network.parameters()), add_scaled(s.grad, uf.grad))
    return {
        "loss_s": s.loss,
        "loss_u": mean_over_all(uf.logits, target),
        "loss_f": fairness_loss(uf.logits, kept, wanted),
        "threshold": state["tau"],
        "kept_fr": kept.to(logits_fr.dtype).mean(),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence,
        "y_learner_fr": uf.logits.argmax(1),
    }


def step(given: StepContext) -> Losses:
    """With the averages of the steps before."""
    return freematch_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch,
        given.options,
        given.extra,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


FREEMATCH = Method(
    name="freematch",
    title="FreeMatch",
    step=step,
    cost=lambda options, n, m: learning(n + m) + looking(m),
    options=FreeMatchOptions,
)
