"""One step of Meta-Face2Exp: as the paper's Algorithm 1 has it, and as training takes it."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import Passes, feedback_passes, learning, looking, sloping
from face2exp_lib.methods.feedback import (
    FeedbackHistory,
    begin_feedback,
    feedback_used,
    total_norm,
)
from face2exp_lib.methods.image_credit import image_credit, image_feedback
from face2exp_lib.methods.image_weights import weigh_images, weighted_target
from face2exp_lib.methods.meta_options import MetaOptions
from face2exp_lib.methods.method import Losses, Method, StepBatch, StepContext
from face2exp_lib.methods.naming import mean_probabilities, naming_of, uniform
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    Pass,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    labelled_loss,
    loss_pass,
)
from face2exp_lib.methods.uda import consistency_target
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
    generator: torch.Generator | None = None,
    label_smoothing: float = 0.0,
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
        history: of f and of names, for the options that look back; this step is added.
        compute: precision and micro-batches of the passes.
        generator: of what is drawn or shuffled, on the CPU; needed where the options say so.
        label_smoothing: of L_s; what f is made of is not smoothed.
        by_image: measure f_i, too, which nothing is learnt from, unless images are the unit.

    Returns:
        Detached 0-d losses, `feedback` (f), `feedback_used` (what L_f is scaled by, of images the
        mean), the lengths of B's gradients of w_s L_s and w_f L_f, `grad_norm_s` and `grad_norm_f`;
        and of the FR images, each (M,), the pseudo labels `y_hat_fr`, their probabilities
        `confidence_fr`, A's own classes before its step `y_learner_fr`, and f_i `feedback_fr`.
        Where not all images count, the shares that do: `kept_fr` in L_c, `learnt_fr` in L_u.
    """
    eta_a = optimiser_a.param_groups[0]["lr"]
    x_a = batch.x_fr if options.adaptation_view == "plain" else batch.x_fr_aug
    together, labels_a = options.batch_norm == "together", options.adaptation_labels == "steps"
    fer, fr, fr_a = (batch.x_fer, batch.x_fr, x_a) if together else (None, None, None)
    each = options.feedback_unit == "image"

    # (1) B labels x_FR (line 5). Line 15 needs the gradient of CE(y_hat_FR, B(x_FR)) at this same
    # theta_B: it is taken now and scaled once f is known, so no second pass and no waiting graph.
    # Where each image has its own f_i, a gradient that they weigh takes a pass when they are known.
    naming = naming_of(options, history)
    chance = uniform(len(x_a), generator, x_a.device) if naming.drawn else None
    with frozen_running_stats(base):
        if each or options.feedback == "none":
            loss_hat, grad_hat, logits_fr = loss_pass(base, batch.x_fr, None, compute, beside=fer)
        else:
            loss_hat, grad_hat, logits_fr = gradient_pass(
                base, batch.x_fr, chance, compute, criterion=naming.loss, beside=fer
            )
    y_hat_fr = naming.labels(logits_fr, chance)
    if options.balance == "align":
        history.shares.add(mean_probabilities(logits_fr))

    # (2) A learns from the pseudo labels, theta_A -> theta_A' (line 7).
    counted, num_classes = naming.counted(logits_fr), logits_fr.shape[1]
    weights, grad_s = weigh_images(
        adaptation, batch, x_a, y_hat_fr, counted, num_classes, options, history, compute
    )
    measure = begin_feedback(
        options.feedback,
        adaptation,
        batch.x_fer,
        batch.y_fer,
        compute,
        beside=fr_a,
        grad_s=grad_s,
        remember=labels_a,
    )
    target_u = weighted_target(y_hat_fr, weights, num_classes)
    # Running statistics are those of labelled faces in a network that sees labels.
    with frozen_running_stats(adaptation) if labels_a else nullcontext():
        loss_u, grad_u, logits_a = gradient_pass(
            adaptation, x_a, target_u, compute, weight=options.w_u, beside=fer
        )
    by_image = by_image or each
    theta_a = tuple(p.detach().clone() for p in adaptation.parameters()) if by_image else ()
    descend(optimiser_a, list(adaptation.parameters()), grad_u)

    # (3) Did it help on x_FER? f (line 13), and f_i where it is asked for.
    measured = measure(grad_u, eta_a)
    if by_image:
        feedback_fr = image_feedback(
            adaptation,
            theta_a,
            x_a,
            y_hat_fr,
            batch.x_fer,
            batch.y_fer,
            eta_a * options.w_u,
            compute,
            weights=weights,
            grad_s=measured.grad_s,
            together=together,
        )
    norm, whose = options.feedback_norm, options.feedback_batch
    if each:
        used = image_credit(feedback_fr, weights, norm, eta_a, history, whose, generator)
    else:
        used = feedback_used(measured, norm, whose, grad_u, eta_a, history)
    if labels_a:
        grad_sa = (
            measured.grad_s_after
            or gradient_pass(adaptation, batch.x_fer, batch.y_fer, compute, beside=fr_a).grad
        )
        descend(optimiser_a, list(adaptation.parameters()), grad_sa)
        del grad_sa
    del grad_u, grad_s, measure, theta_a  # as large as the network, and no longer needed
    measured = measured._replace(grad_s=(), grad_s_after=())

    # (4) B takes L_s + L_c + L_f (lines 9, 11, 15, 17).
    loss_s, grad_b, _ = gradient_pass(
        base,
        batch.x_fer,
        batch.y_fer,
        compute,
        weight=options.w_s,
        criterion=labelled_loss(label_smoothing),
        beside=fr,
    )
    grad_norm_s = total_norm(grad_b)
    with frozen_running_stats(base):
        loss_c, grad_c, _ = consistency_pass(base, batch, logits_fr, options, compute)
    add_scaled(grad_b, grad_c)
    if each:
        with frozen_running_stats(base):
            target_f = weighted_target(y_hat_fr, used, num_classes)
            loss_f, grad_hat, _ = gradient_pass(base, batch.x_fr, target_f, compute, beside=fer)
        scale_f = used.new_tensor(options.w_f)
    else:
        loss_f, scale_f = used * loss_hat, options.w_f * used
    if grad_hat:
        add_scaled(grad_b, grad_hat, scale_f)
    descend(optimiser_b, list(base.parameters()), grad_b)

    losses = {
        "loss_s": loss_s,
        "loss_u": loss_u,
        "loss_c": loss_c,
        "loss_f": loss_f,
        "feedback": measured.feedback,
        "feedback_used": used.mean(),
        "grad_norm_s": grad_norm_s,
        "grad_norm_f": scale_f.abs() * total_norm(grad_hat),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": logits_a.argmax(1),
    }
    if by_image:
        losses["feedback_fr"] = feedback_fr
    if weights is not None:
        losses["learnt_fr"] = (weights > 0).to(loss_u).mean()
    if options.consistency_threshold:
        likeliest = logits_fr.softmax(1).amax(1)
        losses["kept_fr"] = (likeliest > options.consistency_threshold).to(loss_c).mean()
    if measured.loss_s_after is not None:
        losses["loss_s_after"] = measured.loss_s_after
    return losses


def consistency_pass(
    base: nn.Module, batch: StepBatch, logits_fr: Tensor, options: MetaOptions, compute: Compute
) -> Pass:
    """L_c (Eq. 4) and the gradient of w_c times it; `logits_fr` is B(x_FR), (M, K)."""
    beside = batch.x_fer if options.batch_norm == "together" else None

    def target_of(logits: Tensor) -> Tensor:
        return consistency_target(
            logits, options.consistency_temperature, options.consistency_threshold
        )[0]

    aug = gradient_pass(
        base, batch.x_fr_aug, target_of(logits_fr), compute, weight=options.w_c, beside=beside
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
        criterion=lambda scores, predicted: F.cross_entropy(predicted, target_of(scores)),
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
        generator=given.generator("labels"),
        label_smoothing=given.label_smoothing,
        by_image=given.by_image,
    )


def cost(options: MetaOptions, n: int, m: int) -> Passes:
    """Of one step."""
    if options.batch_norm == "together":  # every pass takes both kinds of images
        n = m = n + m
    adaptation = learning(m) + feedback_passes(options.feedback, n)
    if options.adaptation_labels == "steps" and options.feedback not in ("exact", "trapezoid"):
        adaptation += learning(n)
    if options.reweight == "image":  # the slopes, along a gradient that the trapezoid has, too
        adaptation += sloping(m) + (looking(0) if options.feedback == "trapezoid" else learning(n))
    # x_FR for the labels and for line 15's gradient, if there is f; x_FER; Aug(x_FR)
    base = (looking(m) if options.feedback == "none" else learning(m)) + learning(n + m)
    if options.feedback_unit == "image":  # f_i, and a pass for the labels alone
        adaptation, base = adaptation + sloping(m), base + looking(m)
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
