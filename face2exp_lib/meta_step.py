"""One step of Meta-Face2Exp: lines 5 to 17 of the paper's Algorithm 1."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.feedback import Grads, feedback_coefficient, gradients
from face2exp_lib.networks import frozen_running_stats


@dataclass(frozen=True)
class MetaBatch:
    """Both mini-batches of a step (lines 3 and 4), augmented and normalised.

    Shapes: x_fer (N, 3, s, s); y_fer (N,) int64; x_fr and x_fr_aug = Aug(x_FR) (M, 3, s, s).
    """

    x_fer: Tensor
    y_fer: Tensor
    x_fr: Tensor
    x_fr_aug: Tensor


@dataclass(frozen=True)
class MetaOptions:
    """Readings of the paper where it leaves a choice, and the weights of B's losses (all 1 there).

    Attributes:
        adaptation_view: what A learns from: `plain`, x_FR as in Eq. 1 and line 7 (default), or
            `augmented`, Aug(x_FR) as in the text of 3.3.
        consistency_target: B(x_FR) in L_c (Eq. 4): `fixed`, a constant, as in the consistency
            training that the paper builds on (default), or `moving`, differentiated like the rest,
            as line 11 says to the letter.
        w_s, w_c, w_f: weights of L_s, L_c and L_f; 0 switches one off.
    """

    adaptation_view: Literal["plain", "augmented"] = "plain"
    consistency_target: Literal["fixed", "moving"] = "fixed"
    w_s: float = 1.0
    w_c: float = 1.0
    w_f: float = 1.0


def meta_step(
    base: nn.Module,
    adaptation: nn.Module,
    optimiser_b: SGD,
    optimiser_a: SGD,
    batch: MetaBatch,
    options: MetaOptions,
) -> dict[str, Tensor]:
    """Update A, then B, in place.

    Args:
        base, adaptation: B and A in training mode.
        optimiser_b, optimiser_a: over all their parameters, in one group each.
        batch: the step's images and labels.
        options: loss weights and readings.

    Returns:
        Detached 0-d losses and `feedback`, and the pseudo labels `y_hat_fr`, (M,) int64.
    """
    params_b, params_a = list(base.parameters()), list(adaptation.parameters())
    eta_a = optimiser_a.param_groups[0]["lr"]

    # (1) B labels x_FR (line 5). Line 15 needs the gradient of CE(y_hat_FR, B(x_FR)) at this same
    # theta_B: it is taken now and scaled once f is known, so no second pass and no waiting graph.
    with frozen_running_stats(base):
        logits_fr = base(batch.x_fr)
    y_hat_fr = logits_fr.argmax(1)
    loss_hat = F.cross_entropy(logits_fr, y_hat_fr)
    grad_hat = gradients(loss_hat, params_b)

    # (2) A learns from the pseudo labels, theta_A -> theta_A' (line 7).
    x_a = batch.x_fr if options.adaptation_view == "plain" else batch.x_fr_aug
    loss_u = F.cross_entropy(adaptation(x_a), y_hat_fr)
    grad_u = gradients(loss_u, params_a)
    descend(optimiser_a, params_a, grad_u)

    # (3) Did it help on x_FER? f (line 13).
    with frozen_running_stats(adaptation):
        loss_s_after = F.cross_entropy(adaptation(batch.x_fer), batch.y_fer)
    grad_s_after = gradients(loss_s_after, params_a)
    feedback = feedback_coefficient(grad_s_after, grad_u, eta_a)

    # (4) B takes L_s + L_c + L_f (lines 9, 11, 15, 17).
    loss_s = F.cross_entropy(base(batch.x_fer), batch.y_fer)
    with frozen_running_stats(base):
        target = logits_fr.detach() if options.consistency_target == "fixed" else base(batch.x_fr)
        loss_c = F.cross_entropy(base(batch.x_fr_aug), target.softmax(1))
    grad_sc = gradients(options.w_s * loss_s + options.w_c * loss_c, params_b)
    scale_f = options.w_f * feedback
    grad_b = tuple(sc + scale_f * hat for sc, hat in zip(grad_sc, grad_hat, strict=True))
    descend(optimiser_b, params_b, grad_b)

    return {
        "loss_s": loss_s.detach(),
        "loss_u": loss_u.detach(),
        "loss_c": loss_c.detach(),
        "loss_f": (feedback * loss_hat).detach(),
        "loss_s_after": loss_s_after.detach(),
        "feedback": feedback.detach(),
        "y_hat_fr": y_hat_fr,
    }


def supervised_step(
    network: nn.Module, optimiser: SGD, x_fer: Tensor, y_fer: Tensor
) -> dict[str, Tensor]:
    """One update on L_s alone (Eq. 3): the baseline, the warm start and the fine-tune."""
    parameters = list(network.parameters())
    loss_s = F.cross_entropy(network(x_fer), y_fer)
    descend(optimiser, parameters, gradients(loss_s, parameters))
    return {"loss_s": loss_s.detach()}


@torch.no_grad()
def descend(optimiser: SGD, parameters: list[nn.Parameter], grads: Grads) -> None:
    """One step of the optimiser along given gradients."""
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    optimiser.step()
    optimiser.zero_grad()
