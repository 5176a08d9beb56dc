"""One step of Meta-Face2Exp: as the paper's Algorithm 1 has it, and as training takes it."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import Passes, feedback_passes, learning, looking
from face2exp_lib.methods.feedback import (
    FeedbackBatch,
    FeedbackHistory,
    FeedbackNorm,
    FeedbackWay,
    begin_feedback,
    feedback_used,
    image_feedback,
    total_norm,
)
from face2exp_lib.methods.method import Losses, Method, StepBatch, StepContext
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    Pass,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    loss_pass,
)
from face2exp_lib.networks import frozen_running_stats


def algorithm_1(
    base: nn.Module, adaptation: nn.Module, batch: StepBatch, eta_b: float, eta_a: float
) -> None:
    """Lines 5 to 17 of the paper's Algorithm 1, in their order; moves B and A in place.

    The paper does not speak of batch norm. Here every pass is normalised by its own images, and one
    pass of each network moves the running statistics: A's in line 7, B's in line 9.

    Args:
        base, adaptation: B and A in training mode.
        batch: x_FER, y_FER, x_FR and Aug(x_FR).
        eta_b, eta_a: learning rates.
    """
    theta_b, theta_a = list(base.parameters()), list(adaptation.parameters())
    ce, gradient = F.cross_entropy, torch.autograd.grad

    with frozen_running_stats(base):
        y_hat_fr = base(batch.x_fr).argmax(1)  # line 5

    g_u = gradient(ce(adaptation(batch.x_fr), y_hat_fr), theta_a)
    with torch.no_grad():
        for theta, g in zip(theta_a, g_u, strict=True):
            theta.sub_(eta_a * g)  # line 7

    g_s = gradient(ce(base(batch.x_fer), batch.y_fer), theta_b)  # line 9
    with frozen_running_stats(base), frozen_running_stats(adaptation):
        said = base(batch.x_fr).softmax(1).detach()
        g_c = gradient(ce(base(batch.x_fr_aug), said), theta_b)  # line 11

        g_after = gradient(ce(adaptation(batch.x_fer), batch.y_fer), theta_a)
        f = eta_a * sum((a * u).sum() for a, u in zip(g_after, g_u, strict=True))  # line 13, Eq. 6
        g_f = gradient(f * ce(base(batch.x_fr), y_hat_fr), theta_b)  # line 15

    with torch.no_grad():
        for theta, s, fed, c in zip(theta_b, g_s, g_f, g_c, strict=True):
            theta.sub_(eta_b * (s + fed + c))  # line 17


@dataclass(frozen=True)
class MetaOptions:
    """Readings of the paper where it leaves a choice, and the weights of the losses (all 1 there).

    Attributes:
        adaptation_view: what A learns from: `plain`, x_FR as in Eq. 1 and line 7 (default), or
            `augmented`, Aug(x_FR) as in the text of 3.3.
        consistency_target: B(x_FR) in L_c (Eq. 4): `fixed`, a constant, as in the consistency
            training that the paper builds on (default), or `moving`, differentiated like the rest,
            as line 11 says to the letter.
        feedback: how f is measured: `exact` (Eq. 6, default), `trapezoid` (with the mean of the
            labelled gradients before and after A's step: the fall of the labelled loss to second
            order in eta_A), `jvp` (Eq. 6 in forward mode), `finite_difference` (labelled loss
            before - after A's step), or `none`: f = 0, neither it nor L_f computed.
        feedback_norm: what scales L_f: `paper`, f itself (default); `per_eta`, f / eta_A;
            `cosine`, of the angle between its two gradients (needs `exact`); `running_std`, f over
            its running standard deviation; `minus_average`, f less its running mean.
        feedback_batch: whose f scales L_f: this step's `own`, or, as a control, that of an
            `earlier` batch: right strengths on the wrong faces.
        batch_norm: which images a pass is normalised by: `separate`, its own alone (default: f then
            compares one function at two points); or `together`, labelled and unlabelled ones as one
            batch, as the public code passes them, which makes passes larger.
        w_s, w_c, w_f: weights of L_s, L_c and L_f in B's gradient; 0 switches one off, though it
            is still measured.
        w_u: weight of L_u in A's gradient; f speaks of the step so weighted.
        ramp_steps: w_u, w_c and w_f grow in a line to their full values over as many steps; 0, as
            in the paper, has them full from the first.
    """

    adaptation_view: Literal["plain", "augmented"] = "plain"
    consistency_target: Literal["fixed", "moving"] = "fixed"
    feedback: FeedbackWay = "exact"
    feedback_norm: FeedbackNorm = "paper"
    feedback_batch: FeedbackBatch = "own"
    batch_norm: Literal["separate", "together"] = "separate"
    w_s: float = 1.0
    w_u: float = 1.0
    w_c: float = 1.0
    w_f: float = 1.0
    ramp_steps: int = 0

    def __post_init__(self) -> None:
        if self.feedback_norm == "cosine" and self.feedback != "exact":
            raise ValueError(
                f"feedback_norm cosine needs feedback exact, not {self.feedback}: no other way "
                "sees both gradients"
            )
        if self.ramp_steps < 0:
            raise ValueError(f"ramp_steps is {self.ramp_steps}: give 0 or more steps")

    def at(self, step: int) -> "MetaOptions":
        """The options of one step, counted from 0: its weights are those of the ramp."""
        if step + 1 >= self.ramp_steps:
            return self
        share = (step + 1) / self.ramp_steps
        return replace(self, w_u=share * self.w_u, w_c=share * self.w_c, w_f=share * self.w_f)


def meta_step(
    base: nn.Module,
    adaptation: nn.Module,
    optimiser_b: SGD,
    optimiser_a: SGD,
    batch: StepBatch,
    options: MetaOptions,
    history: FeedbackHistory,
    compute: Compute = PLAIN,
    *,
    by_image: bool = False,
) -> Losses:
    """Update A, then B, in place: `algorithm_1` but for rounding, where `options` are the defaults.

    What differs serves runs. Each pass ends before the next begins, so that one graph is held at a
    time: the gradient of line 15 is taken with the labels of line 5, whose pass it shares, and
    scaled once f is known; the target of line 11 is that pass's, too. Passes may be cut, rounded
    and shared out (`passes`), optimisers may have momentum, and options are other readings.

    Args:
        base, adaptation: B and A in training mode.
        optimiser_b, optimiser_a: over all their parameters, in one group each.
        batch: the step's images and labels.
        options: loss weights and readings.
        history: of f, for the options that look back; this step's f is added.
        compute: precision and micro-batches of the passes.
        by_image: measure f_i, too, which nothing is learnt from.

    Returns:
        Detached 0-d losses, `feedback` (f), `feedback_used` (what L_f is scaled by),
        the lengths of B's gradients of w_s L_s and w_f L_f, `grad_norm_s` and `grad_norm_f`; and
        of the FR images, each (M,), the pseudo labels `y_hat_fr`, their probabilities
        `confidence_fr`, A's own classes before its step `y_learner_fr`, and f_i `feedback_fr`.
    """
    eta_a = optimiser_a.param_groups[0]["lr"]
    x_a = batch.x_fr if options.adaptation_view == "plain" else batch.x_fr_aug
    together = options.batch_norm == "together"
    fer, fr, fr_a = (batch.x_fer, batch.x_fr, x_a) if together else (None, None, None)

    # (1) B labels x_FR (line 5). Line 15 needs the gradient of CE(y_hat_FR, B(x_FR)) at this same
    # theta_B: it is taken now and scaled once f is known, so no second pass and no waiting graph.
    with frozen_running_stats(base):
        label_pass = loss_pass if options.feedback == "none" else gradient_pass
        loss_hat, grad_hat, logits_fr = label_pass(base, batch.x_fr, None, compute, beside=fer)
    y_hat_fr = logits_fr.argmax(1)

    # (2) A learns from the pseudo labels, theta_A -> theta_A' (line 7).
    measure = begin_feedback(
        options.feedback, adaptation, batch.x_fer, batch.y_fer, compute, beside=fr_a
    )
    loss_u, grad_u, logits_a = gradient_pass(
        adaptation, x_a, y_hat_fr, compute, weight=options.w_u, beside=fer
    )
    theta_a = tuple(p.detach().clone() for p in adaptation.parameters()) if by_image else ()
    descend(optimiser_a, list(adaptation.parameters()), grad_u)

    # (3) Did it help on x_FER? f (line 13).
    measured = measure(grad_u, eta_a)
    used = feedback_used(
        measured, options.feedback_norm, options.feedback_batch, grad_u, eta_a, history
    )
    del grad_u, measure  # hold gradients, as large as the network and no longer needed
    measured = measured._replace(grad_s=())

    # (4) B takes L_s + L_c + L_f (lines 9, 11, 15, 17).
    loss_s, grad_b, _ = gradient_pass(
        base, batch.x_fer, batch.y_fer, compute, weight=options.w_s, beside=fr
    )
    grad_norm_s = total_norm(grad_b)
    with frozen_running_stats(base):
        loss_c, grad_c, _ = consistency_pass(base, batch, logits_fr, options, compute)
    add_scaled(grad_b, grad_c)
    scale_f = options.w_f * used
    if grad_hat:
        add_scaled(grad_b, grad_hat, scale_f)
    descend(optimiser_b, list(base.parameters()), grad_b)

    losses = {
        "loss_s": loss_s,
        "loss_u": loss_u,
        "loss_c": loss_c,
        "loss_f": used * loss_hat,
        "feedback": measured.feedback,
        "feedback_used": used,
        "grad_norm_s": grad_norm_s,
        "grad_norm_f": scale_f.abs() * total_norm(grad_hat),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": logits_a.argmax(1),
    }
    if by_image:
        losses["feedback_fr"] = image_feedback(
            adaptation,
            theta_a,
            x_a,
            y_hat_fr,
            batch.x_fer,
            batch.y_fer,
            eta_a * options.w_u,
            compute,
            together=together,
        )
    if measured.loss_s_after is not None:
        losses["loss_s_after"] = measured.loss_s_after
    return losses


def consistency_pass(
    base: nn.Module, batch: StepBatch, logits_fr: Tensor, options: MetaOptions, compute: Compute
) -> Pass:
    """L_c (Eq. 4) and the gradient of w_c times it; `logits_fr` is B(x_FR), (M, K)."""
    beside = batch.x_fer if options.batch_norm == "together" else None
    aug = gradient_pass(
        base, batch.x_fr_aug, logits_fr.softmax(1), compute, weight=options.w_c, beside=beside
    )
    if options.consistency_target == "fixed":
        return aug
    # L_c depends on theta_B through two passes. Each is differentiated with the other's outcome
    # held fixed, and the two gradients are added: the product rule, with one graph at a time.
    target = gradient_pass(
        base,
        batch.x_fr,
        aug.logits,
        compute,
        weight=options.w_c,
        criterion=lambda scores, predicted: F.cross_entropy(predicted, scores.softmax(1)),
        beside=beside,
    )
    return Pass(aug.loss, add_scaled(aug.grad, target.grad), aug.logits)


def step(given: StepContext) -> Losses:
    """With the ramp's weights."""
    return meta_step(
        given.networks["base"],
        given.networks["adaptation"],
        given.optimisers["base"],
        given.optimisers["adaptation"],
        given.batch,
        given.options.at(given.step),
        given.history,
        given.compute,
        by_image=given.by_image,
    )


def cost(options: MetaOptions, n: int, m: int) -> Passes:
    """Of one step."""
    if options.batch_norm == "together":  # every pass takes both kinds of images
        n = m = n + m
    adaptation = learning(m) + feedback_passes(options.feedback, n)
    # x_FR for the labels and for line 15's gradient, if there is f; x_FER; Aug(x_FR)
    base = (looking(m) if options.feedback == "none" else learning(m)) + learning(n + m)
    return adaptation + base + learning(m if options.consistency_target == "moving" else 0)


META = Method(
    name="meta",
    title="Meta-Face2Exp",
    step=step,
    cost=cost,
    options=MetaOptions,
    networks=("base", "adaptation"),
    finetunes=True,
    image_feedback=True,
)
