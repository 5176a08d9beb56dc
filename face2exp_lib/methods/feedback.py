"""The feedback coefficient f (paper Eq. 6): the ways to measure it, and what to make of it.

Whichever way, x_FER is normalised by batch statistics before and after A's step, its own or those
of both kinds of images (`MetaOptions.batch_norm`), and the running ones stay as they are: f
compares two points of one function, not two functions.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from face2exp_lib.methods.passes import (
    Compute,
    Grads,
    Pass,
    gradient_pass,
    loss_pass,
    slope_pass,
)
from face2exp_lib.methods.running import RunningMoments, ratio
from face2exp_lib.networks import frozen_running_stats
from face2exp_lib.runtime import distributed as world

FeedbackWay = Literal["exact", "trapezoid", "jvp", "finite_difference", "none"]
FeedbackUnit = Literal["batch", "image"]
FeedbackBatch = Literal["own", "earlier", "shuffled"]
FeedbackNorm = Literal["paper", "per_eta", "cosine", "running_std", "minus_average", "standard"]
LAG = 50  # steps between a batch and the earlier one whose feedback it is given as a control
CLIP = 3.0  # running deviations from the running mean that `standard` stops at


def feedback_coefficient(grad_s_after: Grads, grad_u: Grads, eta_a: float) -> Tensor:
    """f of Eq. 6: eta_A times the dot product of two gradients of the adaptation network.

    With theta_A' = theta_A - eta_A grad_u, a first-order Taylor expansion around theta_A' gives
    CE(y_FER, A(x_FER; theta_A)) - CE(y_FER, A(x_FER; theta_A')) = f + O(eta_A^2): f > 0 means that
    learning from the pseudo labels lowered the labelled loss.

    Args:
        grad_s_after: of CE(y_FER, A(x_FER)) at theta_A', one tensor a parameter.
        grad_u: of L_u = CE(y_hat_FR, A(x_FR)) at theta_A, the same shapes.
        eta_a: A's learning rate in the step between the two.

    Returns:
        0-d tensor.
    """
    products = [(after * before).sum() for after, before in zip(grad_s_after, grad_u, strict=True)]
    return eta_a * torch.stack(products).sum()


class Measured(NamedTuple):
    """What is known of A's step, once it is taken.

    Attributes:
        feedback: f.
        loss_s_after: CE(y_FER, A(x_FER)) at theta_A', where it was seen.
        norm_s_after: length of its gradient, where it was seen.
        grad_s: the labelled gradient that f is the product of with grad_u; empty where the way to f
            saw none.
        grad_s_after: the one at theta_A' alone; empty likewise.
    """

    feedback: Tensor
    loss_s_after: Tensor | None
    norm_s_after: Tensor | None
    grad_s: Grads = ()
    grad_s_after: Grads = ()


Measure = Callable[[Grads, float], Measured]  # of grad_u and eta_A, once A has moved


def begin_feedback(
    way: FeedbackWay,
    adaptation: nn.Module,
    x_fer: Tensor,
    y_fer: Tensor,
    compute: Compute,
    *,
    beside: Tensor | None = None,
    grad_s: Grads = (),
    remember: bool = False,
) -> Measure:
    """Look at A before its step; returns what looks at it afterwards and tells f.

    Args:
        way: `exact`, the two gradients of Eq. 6; `jvp`, the derivative of the labelled loss along
            grad_u in forward mode: the same number with no backward pass and no graph;
            `trapezoid`, grad_u with the mean of the labelled gradients before and after the step:
            the fall of the labelled loss to second order in eta_A, where Eq. 6 leaves out the
            curvature along the step; `finite_difference`, the labelled loss before minus after:
            f to first order in eta_A. All but the last know line 7's gradient alone. That one sees
            the step that A really took, with momentum and weight decay, where the optimiser has
            any; and it runs in float32 whatever the precision, since f drowns in the rounding of a
            bfloat16 loss. `none` measures nothing.
        adaptation: A at theta_A, in training mode.
        x_fer, y_fer: the labelled batch, (N, 3, s, s) and (N,) int64.
        compute: precision and micro-batches.
        beside: images in the same batch, see `gradient_pass`.
        grad_s: the labelled gradient at theta_A, where it is known; `trapezoid` then takes no pass
            for it. It is written over.
        remember: the backward pass at theta_A' moves the running statistics of batch norm, which
            is for an A that learns from it.
    """

    def labelled(frozen: bool = True) -> Pass:
        with frozen_running_stats(adaptation) if frozen else nullcontext():
            return gradient_pass(adaptation, x_fer, y_fer, compute, beside=beside)

    def exact(grad_u: Grads, eta_a: float) -> Measured:
        after = labelled(not remember)
        feedback = feedback_coefficient(after.grad, grad_u, eta_a)
        return Measured(feedback, after.loss, total_norm(after.grad), after.grad, after.grad)

    def trapezoid(grad_u: Grads, eta_a: float) -> Measured:
        after = labelled(not remember)
        middle = mean_of(before_step, after.grad)
        feedback = feedback_coefficient(middle, grad_u, eta_a)
        return Measured(feedback, after.loss, total_norm(after.grad), middle, after.grad)

    def jvp(grad_u: Grads, eta_a: float) -> Measured:
        with frozen_running_stats(adaptation):
            losses, slopes = slope_pass(adaptation, x_fer, y_fer, grad_u, compute, beside=beside)
        loss, slope = losses.mean(), slopes.mean()
        world.average((loss, slope))
        return Measured(eta_a * slope, loss, None)

    def labelled_loss() -> Tensor:
        with frozen_running_stats(adaptation):
            full = replace(compute, precision="float32")
            return loss_pass(adaptation, x_fer, y_fer, full, beside=beside).loss

    if way == "exact":
        return exact
    if way == "trapezoid":
        before_step = grad_s or labelled().grad
        return trapezoid
    if way == "jvp":
        return jvp
    if way == "none":
        return lambda *_: Measured(x_fer.new_zeros(()), None, None)
    before = labelled_loss()

    def finite_difference(*_: object) -> Measured:
        after = labelled_loss()
        return Measured(before - after, after, None)

    return finite_difference


class FeedbackHistory(RunningMoments):
    """What the steps so far say of f and of the pseudo labels; part of a checkpoint.

    Mean and deviation of f; of f_i over all images, `images`; of each class's share, `shares`; and
    what the last LAG steps scaled L_f by. What no option asks for stays empty.
    """

    def __init__(self) -> None:
        super().__init__()
        self.images, self.shares = RunningMoments(), RunningMoments()
        self.used = torch.zeros(LAG)  # oldest first

    def exchange(self, used: Tensor) -> Tensor:
        """Keep a step's value, 0-d, and return the one of LAG steps ago; 0 if there was none."""
        earlier = self.used.to(used)
        self.used = torch.cat([earlier[1:], used[None]])
        return earlier[0]

    def state_dict(self) -> dict[str, Tensor]:
        state = {**super().state_dict(), "used": self.used}
        for name in ("images", "shares"):
            moments: RunningMoments = getattr(self, name)
            state |= {f"{name}.{key}": value for key, value in moments.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        super().load_state_dict(state)
        self.used = state["used"]
        for name in ("images", "shares"):
            if f"{name}.mean" in state:  # a version that wrote none had no option that asks for it
                keys = ("weight", "mean", "squares")
                getattr(self, name).load_state_dict({key: state[f"{name}.{key}"] for key in keys})


def feedback_used(
    measured: Measured,
    norm: FeedbackNorm,
    batch: FeedbackBatch,
    grad_u: Grads,
    eta_a: float,
    history: FeedbackHistory,
) -> Tensor:
    """What L_f is scaled by in place of f (Eq. 5); the paper scales it by f itself.

    Args:
        measured: f of this step.
        norm: `cosine`, of the angle between the two gradients of Eq. 6, in -1..1; the others are
            those of `normalised`.
        batch: `own`, this step's value; `earlier`, that of LAG steps ago (0 before there is one):
            the same distribution without what it says of the batch at hand.
        grad_u: of the weighted L_u at theta_A.
        eta_a: A's learning rate.
        history: this step is added.

    Returns:
        0-d tensor.
    """
    history.add(measured.feedback)
    if norm == "cosine":
        if measured.norm_s_after is None:
            raise ValueError("cosine needs the exact feedback: no other way sees both gradients")
        used = ratio(measured.feedback, eta_a * measured.norm_s_after * total_norm(grad_u))
    else:
        used = normalised(measured.feedback, norm, eta_a, history)
    earlier = history.exchange(used)
    return earlier if batch == "earlier" else used


def normalised(
    feedback: Tensor, norm: FeedbackNorm, eta_a: float, latest: RunningMoments
) -> Tensor:
    """Feedback in the unit that L_f takes it in.

    Args:
        feedback: f, 0-d, or f_i, (M,).
        norm: `paper`, as it is; `per_eta`, over eta_A: the dot product alone, which does not fade
            with the learning rate; `running_std`, over its running standard deviation;
            `minus_average`, less its running mean, so that a step must help more than steps did of
            late (Meta Pseudo Labels' baseline); `standard`, less the mean and over the deviation,
            in -CLIP..CLIP, so that no outlier decides a step. All of them are 0 where nothing is
            known: `per_eta` at eta_A = 0, the last three at the first value.
        eta_a: A's learning rate.
        latest: mean and deviation, this feedback among them.
    """
    if norm == "per_eta":
        return ratio(feedback, torch.full_like(feedback, eta_a))
    if norm == "running_std":
        return ratio(feedback, latest.deviation)
    if norm == "minus_average":
        return feedback - latest.mean
    if norm == "standard":
        return ratio(feedback - latest.mean, latest.deviation).clamp(-CLIP, CLIP)
    return feedback


def mean_of(grads: Grads, others: Grads) -> Grads:
    """Half their sum, in place of the first."""
    return tuple(grad.add_(other).div_(2) for grad, other in zip(grads, others, strict=True))


def total_norm(grads: Grads) -> Tensor:
    """Euclidean length of a gradient, all parameters together; 0-d."""
    if not grads:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))
