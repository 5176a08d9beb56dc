"""Pseudo-Label (Lee: Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for
Deep Neural Networks, ICML 2013 Workshop on Challenges in Representation Learning).

The network's own best guess stands in for the missing label, at a weight that grows in training.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, StepBatch, StepContext
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    labelled_loss,
)
from face2exp_lib.networks import frozen_running_stats

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class PseudoLabelOptions:
    """The ramp alpha(t). The paper has alpha_f = 3, T1 = 100, T2 = 600 on MNIST.

    Attributes:
        w_u: alpha_f, the unlabelled weight at the end of the ramp.
        ramp_start, ramp_end: T1 and T2 as shares of the run. The paper's 1 to 6 is kept; where
            that lies in a run of another length is our choice.
    """

    w_u: Annotated[float, Field(ge=0)] = 3.0
    ramp_start: Share = 0.1
    ramp_end: Share = 0.6

    def __post_init__(self) -> None:
        if self.ramp_end < self.ramp_start:
            raise ValueError(f"ramp_end {self.ramp_end} is before ramp_start {self.ramp_start}")


def unlabelled_weight(options: PseudoLabelOptions, progress: float) -> float:
    """alpha(t): 0 up to T1, then a straight line, alpha_f from T2 on.

    Args:
        options: the ramp.
        progress: t as a share of the run, 0 .. 1.
    """
    if progress < options.ramp_start:
        return 0.0
    if progress >= options.ramp_end:
        return options.w_u
    length = options.ramp_end - options.ramp_start
    return options.w_u * (progress - options.ramp_start) / length


def pseudo_label_step(
    network: nn.Module,
    optimiser: SGD,
    batch: StepBatch,
    options: PseudoLabelOptions,
    progress: float,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on CE(y_FER) + alpha(t) CE(y_hat_FR), where y_hat_FR = argmax of the same pass.

    Batch norm: labelled and unlabelled pass by their own batch; the labelled one is remembered.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        batch: x_fer, y_fer and x_fr; the augmented view is not used.
        options: the ramp.
        progress: share of the run done, 0 .. 1.
        compute: precision and micro-batches.
        label_smoothing: of the labelled loss.

    Returns:
        Detached 0-d losses and `w_u`, and the pseudo labels `y_hat_fr`, (M,) int64, with their
        probabilities `confidence_fr`.
    """
    weight = unlabelled_weight(options, progress)
    s = gradient_pass(
        network, batch.x_fer, batch.y_fer, compute, criterion=labelled_loss(label_smoothing)
    )
    with frozen_running_stats(network):
        u = gradient_pass(network, batch.x_fr, None, compute, weight=weight)
    descend(optimiser, list(network.parameters()), add_scaled(s.grad, u.grad))
    y_hat_fr = u.logits.argmax(1)
    return {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "w_u": u.loss.new_tensor(weight),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(u.logits, y_hat_fr),
    }


def step(given: StepContext) -> Losses:
    """At the ramp's weight."""
    return pseudo_label_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch,
        given.options,
        given.progress,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


PSEUDO_LABEL = Method(
    name="pseudo_label",
    title="Pseudo-Label",
    step=step,
    cost=lambda options, n, m: learning(n + m),  # labels and learns in one pass
    options=PseudoLabelOptions,
)
