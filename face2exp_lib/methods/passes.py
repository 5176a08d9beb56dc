"""One pass of a network over a batch: its loss, with a gradient, a slope or neither.

A step of training is a few of these, one after the other: each frees its graph before the next
begins, so the activations of one pass are all that is ever held. Where a run has several processes,
x is a process's part of the batch, and losses and gradients are means over all of them.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.autograd.forward_ad as forward_mode
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import SGD

from face2exp_lib.networks import Backbone
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError

Grads = tuple[Tensor, ...]
Criterion = Callable[[Tensor, Tensor], Tensor]  # (N, K) logits and their target to a 0-d mean
MOST_THREADS = 1024  # the system may end a process that asks for many more
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """How passes are computed. Without batch norm, what they compute is the same but for rounding.

    Attributes:
        precision: of convolutions and products. Weights, batch statistics, losses, gradients of
            weights and f are kept in float32 in any case. float16 wants a GPU: most CPUs have no
            units for it.
        loss_scale: what float16 losses are multiplied by before the backward pass, lest small
            gradients vanish; each gradient is divided by it before anything else sees it, f
            included. A fixed number: lower it if a run stops with an infinite gradient.
        micro_batch_size: the most images in one pass. A larger batch is cut into parts as equal as
            possible and their gradients are added up, before f is formed. Each part is normalised
            by its own batch statistics, and moves the running ones. None: the batch in one piece.
        batch_norm: where a run has several processes, whose images a batch is normalised by:
            `local`, a process's own part, as if it were a micro-batch (default); or `sync`, the
            whole batch's, as one process would, at an exchange a layer. `sync` needs GPUs, and does
            not work in forward mode. Running statistics are averaged in any case.
        compile: let torch.compile fuse what it can. The first step then takes a minute or more; a
            CPU needs a C++ compiler. Whether it pays depends on the machine: measure it.
        threads: that compute on a CPU. None: one for the backbone `small`, whose many short pieces
            of work each wait for the slowest thread where other processes compute as well; for the
            others as many as torch takes. Sums come out in another order, so another number of
            threads gives other last bits.
    """

    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    loss_scale: float = 1024.0
    micro_batch_size: int | None = None
    batch_norm: Literal["local", "sync"] = "local"
    compile: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.loss_scale < math.inf:
            raise ValueError(f"loss_scale is {self.loss_scale}: give a positive number")
        if self.micro_batch_size is not None and self.micro_batch_size < 2:
            raise ValueError(
                f"micro_batch_size is {self.micro_batch_size}: batch norm needs 2 images or more"
            )
        if self.threads is not None and not 1 <= self.threads <= MOST_THREADS:
            raise ValueError(f"threads is {self.threads}: give 1 to {MOST_THREADS}")


PLAIN = Compute()


class Pass(NamedTuple):
    """What a pass found; everything is detached.

    Attributes:
        loss: 0-d mean over the batch, all processes together.
        grad: of the weighted loss, one tensor a parameter; empty if none was asked for.
        logits: (N, K), float32 whatever the precision; this process's own.
    """

    loss: Tensor
    grad: Grads
    logits: Tensor


def labelled_loss(label_smoothing: float) -> Criterion:
    """Cross entropy to true labels of which a share is spread over all classes alike (Szegedy et
    al.: Rethinking the Inception Architecture, CVPR 2016, section 7); the plain one at 0."""
    return partial(F.cross_entropy, label_smoothing=label_smoothing)


def gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Grads:
    """Gradient of a scalar loss with respect to each parameter; `.grad` fields are not touched."""
    return torch.autograd.grad(loss, parameters)


def gradient_pass(
    network: nn.Module,
    x: Tensor,
    target: Tensor | None,
    compute: Compute,
    *,
    weight: float = 1.0,
    criterion: Criterion = F.cross_entropy,
    beside: Tensor | None = None,
) -> Pass:
    """Loss of a network on a batch and the gradient of `weight` times it; `.grad` is left alone.

    Args:
        network: in training mode.
        x: (N, 3, s, s).
        target: of the criterion: (N,) int64 labels, (N, K) probabilities, or None for the class
            that the network itself scores highest, a constant (the one-hot y_hat of Eq. 1).
        compute: precision and micro-batches.
        weight: of the loss in the gradient. `Pass.loss` is without it.
        criterion: takes logits and target to the mean loss.
        beside: images that batch norm takes into the same batch, and the loss does not count.
    """
    parameters = list(network.parameters())
    scale = compute.loss_scale if compute.precision == "float16" else 1.0
    grads: Grads = ()
    losses, logits = [], []
    for part, share, others in _parts(len(x), compute, beside):
        scores = _logits(network, x[part], others, compute)
        loss = criterion(scores, scores.detach().argmax(1) if target is None else target[part])
        found = gradients(loss * (weight * share * scale), parameters)
        grads = add_scaled(grads, found) if grads else found
        losses.append(share * loss.detach())
        logits.append(scores.detach())
    if scale != 1.0:
        for grad in grads:
            grad.div_(scale)
    mean_loss = torch.stack(losses).sum()
    world.average((mean_loss, *grads))
    return Pass(mean_loss, grads, torch.cat(logits))


@torch.no_grad()
def loss_pass(
    network: nn.Module,
    x: Tensor,
    target: Tensor | None,
    compute: Compute,
    *,
    beside: Tensor | None = None,
) -> Pass:
    """`gradient_pass` without a gradient: forward only, and no graph is kept."""
    losses, logits = [], []
    for part, share, others in _parts(len(x), compute, beside):
        scores = _logits(network, x[part], others, compute)
        wanted = scores.argmax(1) if target is None else target[part]
        losses.append(share * F.cross_entropy(scores, wanted))
        logits.append(scores)
    mean_loss = torch.stack(losses).sum()
    world.average((mean_loss,))
    return Pass(mean_loss, (), torch.cat(logits))


@torch.no_grad()
def slope_pass(
    network: nn.Module,
    x: Tensor,
    labels: Tensor,
    direction: Grads,
    compute: Compute,
    *,
    at: Grads | None = None,
    beside: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Loss of each image and its derivative along a direction in the space of the parameters.

    Forward-mode differentiation: one pass, no graph and no second, backward one.

    Args:
        network: in training mode.
        x: (N, 3, s, s).
        labels: (N,) int64.
        direction: one tensor a parameter.
        compute: precision and micro-batches; forward mode runs uncompiled.
        at: parameters to take in place of the network's own.
        beside: as in `gradient_pass`.

    Returns:
        (N,) losses, (N,) derivatives.
    """
    losses, slopes = [], []
    with forward_mode.dual_level(), eager(compute):
        with warnings.catch_warnings():
            # When first used, forward mode loads a part of torch that torch itself calls outdated.
            warnings.simplefilter("ignore", FutureWarning)
            moving = {
                name: forward_mode.make_dual(point.detach(), tangent)
                for (name, _), point, tangent in zip(
                    network.named_parameters(), at or network.parameters(), direction, strict=True
                )
            }

        def along(images: Tensor) -> Tensor:
            return functional_call(network, moving, (images,))

        for part, _, others in _parts(len(x), compute, beside):
            scores = _logits(along, x[part], others, compute)
            loss = forward_mode.unpack_dual(F.cross_entropy(scores, labels[part], reduction="none"))
            losses.append(loss.primal)
            slopes.append(loss.tangent)
    return torch.cat(losses), torch.cat(slopes)


def confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of each image's label, (N,), of (N, K) logits."""
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


@torch.no_grad()
def add_scaled(grads: Grads, more: Grads, scale: Tensor | None = None) -> Grads:
    """`grads + scale * more`, in place of `grads`: it is as large as the network."""
    for grad, other in zip(grads, more, strict=True):
        grad.add_(other if scale is None else scale * other)
    return grads


@torch.no_grad()
def descend(optimiser: SGD, parameters: Sequence[nn.Parameter], grads: Grads) -> None:
    """One step of the optimiser along given gradients."""
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    optimiser.step()
    optimiser.zero_grad()


def compile_networks(networks: Iterable[nn.Module], compute: Compute) -> None:
    """Have torch.compile take over the networks' passes, in place, if `compute` says so.

    Raises:
        Face2ExpError: if this machine cannot compile, say for want of a C++ compiler.
    """
    if not compute.compile:
        return
    networks = list(networks)
    device = next(networks[0].parameters()).device
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2, device=device))
    except Exception as error:  # whatever the compiler's tool chain raises
        reason = str(error).strip().split("\n")[0]
        raise Face2ExpError(
            f"compute.compile: torch.compile does not work here ({reason}): install a C++ compiler "
            "such as g++, or set compute.compile to false"
        ) from error
    for network in networks:
        network.compile()


def eager(compute: Compute) -> AbstractContextManager[object]:
    """Compiled networks run uncompiled inside: where it is not worth it, or not possible."""
    return torch.compiler.set_stance("force_eager") if compute.compile else nullcontext()


@contextmanager
def threads(compute: Compute, backbone: Backbone, device: torch.device) -> Iterator[None]:
    """Passes inside are computed by as many threads as `compute` says; after it by those before."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(compute.threads or (1 if backbone == "small" else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parts(
    num_images: int, compute: Compute, beside: Tensor | None = None
) -> Iterator[tuple[slice, float, Tensor | None]]:
    """Micro-batches: where each lies in the batch, what share of it it is, and its part of the
    images beside it."""
    number = math.ceil(num_images / compute.micro_batch_size) if compute.micro_batch_size else 1
    bounds = [num_images * i // number for i in range(number + 1)]
    others = [None] * number if beside is None else beside.tensor_split(number)
    for (start, stop), other in zip(pairwise(bounds), others, strict=True):
        yield slice(start, stop), (stop - start) / num_images, other


def _logits(
    network: Callable[[Tensor], Tensor], x: Tensor, others: Tensor | None, compute: Compute
) -> Tensor:
    images = x if others is None else torch.cat([x, others])
    if compute.precision == "float32":
        return network(images)[: len(x)]
    with torch.autocast(x.device.type, DTYPES[compute.precision]):
        return network(images).float()[: len(x)]
