"""ReMixMatch (Berthelot, Carlini, Cubuk, Kurakin, Sohn, Zhang, Raffel: ReMixMatch: Semi-Supervised
Learning with Distribution Matching and Augmentation Anchoring, ICLR 2020, Algorithm 1).

A guess on the plain view, aligned with the classes of the labels and sharpened, is the target of
the augmented view; all images are mixed with each other; and it is learnt how far one was turned.

What is simpler than in the paper: it draws K = 8 augmented views of an image in a step, by a policy
that is learnt (CTAugment), and augments labelled images strongly, too. Here a step has the one
Aug(x_FR) of all methods, K = 1, since every further view costs an augmentation and two passes, and
labelled images have the view that the run gives them (`training.view_fer`). The share of a class
among labels is taken over the same window of batches as that among guesses; the authors' code has a
moving average. Batch norm remembers mixed images, for there are no other labelled ones. The paper's
moving average of the weights is `training.ema`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Losses, Method, Preparation, StepBatch, StepContext
from face2exp_lib.methods.passes import (
    PLAIN,
    Compute,
    add_scaled,
    confidence,
    descend,
    gradient_pass,
    loss_pass,
)
from face2exp_lib.networks import FaceNetwork, frozen_running_stats
from face2exp_lib.runtime import distributed as world

TURNS = 4  # by 0, 90, 180 and 270 degrees
WINDOW = 128  # batches over which classes are counted
SMALL = 1e-6  # added to shares of classes before they are divided (the authors' code)
Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class ReMixMatchOptions:
    """Defaults: the paper's (section 4).

    Attributes:
        w_u: lambda_U, weight of the mixed unlabelled images.
        w_anchor: lambda_U1, of the augmented view as it was before it was mixed.
        w_rotation: lambda_r, of the turned images.
        temperature: T of the guesses; under 1 sharpens.
        mixup: alpha of Beta(alpha, alpha), from which the shares of two images are drawn; 0 mixes
            none.
        ramp: share of the run over which w_u and w_anchor rise from 0 in a straight line; 2^20 of
            2^26 images in the authors' code.
    """

    w_u: Weight = 1.5
    w_anchor: Weight = 0.5
    w_rotation: Weight = 0.5
    temperature: Annotated[float, Field(gt=0)] = 0.5
    mixup: Weight = 0.75
    ramp: Annotated[float, Field(ge=0, le=1)] = 1 / 64


class TurnedNetwork(nn.Module):
    """A network with one more last layer, for turns, in training; it is deployed without."""

    def __init__(self, network: FaceNetwork, turns: nn.Linear) -> None:
        super().__init__()
        self.network, self.turns = network, turns

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K + 4): logits of classes, then of turns."""
        features = self.network.features(x)
        return torch.cat([self.network.head(features), self.turns(features)], 1)


def of_classes(outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Cross entropy of the first of a `TurnedNetwork`'s outputs."""
    return F.cross_entropy(outputs[:, :-TURNS], target, label_smoothing=label_smoothing)


def of_turns(outputs: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the last ones."""
    return F.cross_entropy(outputs[:, -TURNS:], target)


def shares_so_far(seen: dict[str, Tensor], name: str, p: Tensor) -> Tensor:
    """Mean probability of each class in the last batches, (K,), of all processes.

    Args:
        seen: windows by name, (128, K), of the batches before; without one, 1 / K throughout. The
            batch takes the place of the oldest.
        name: of the window.
        p: (M, K), this batch's, which is not yet in the mean.
    """
    now = p.mean(0)
    world.average((now,))
    window = seen.get(name, torch.full((WINDOW, len(now)), 1 / len(now))).to(now)
    seen[name] = torch.cat([window[1:], now[None]])
    return window.mean(0)


def guessed(logits: Tensor, wanted: Tensor, said: Tensor, temperature: float) -> Tensor:
    """Normalize(Normalize(q p(y) / p~(y))^(1 / T)), the targets of unlabelled images, (M, K).

    Args:
        logits: (M, K), of q.
        wanted, said: (K,), p(y) of the labels, p~(y) of the guesses before they are aligned.
        temperature: T.
    """
    aligned = logits + ((SMALL + wanted) / (SMALL + said)).log()
    return (aligned / temperature).softmax(1)


def mixed(
    images: list[Tensor], targets: list[Tensor], alpha: float, draws: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """MixUp of every image with any of all of them, itself the greater part.

    Args:
        images, targets: sets of as many rows each, of this process.
        alpha: lambda is drawn from Beta(alpha, alpha) for each image, and max(lambda, 1 - lambda)
            is its own share.
        draws: the same in all processes.

    Returns:
        Rows of this process, one set after the other.
    """
    lengths = [world.size() * len(rows) for rows in images]
    total = sum(lengths)
    drawn = draws.beta(alpha, alpha, total) if alpha else np.ones(total)
    share = torch.from_numpy(np.maximum(drawn, 1 - drawn))
    partner = torch.from_numpy(draws.permutation(total))
    mine = torch.cat([rows[world.share(len(rows))] for rows in torch.arange(total).split(lengths)])

    def mix(sets: list[Tensor]) -> Tensor:
        values = torch.cat([world.gather(part) for part in sets])
        weight = share[mine].to(values).view(-1, *[1] * (values.ndim - 1))
        return torch.lerp(values[partner[mine]], values[mine], weight)

    return mix(images), mix(targets)


def turned(x: Tensor, turns: Tensor) -> Tensor:
    """Images (M, 3, s, s), each turned as often by 90 degrees as (M,) int64 says."""
    views = torch.stack([x.rot90(k, (-2, -1)) for k in range(TURNS)])
    return views[turns, torch.arange(len(x), device=x.device)]


def remixmatch_step(
    network: TurnedNetwork,
    optimiser: SGD,
    batch: StepBatch,
    options: ReMixMatchOptions,
    seen: dict[str, Tensor],
    *,
    progress: float,
    generator: torch.Generator,
    compute: Compute = PLAIN,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the four losses of the paper (Eq. 3 and 4), each a mean over its images.

    Batch norm: each pass by its own batch; the one over mixed labelled images is remembered.

    Args:
        network: with its layer of turns, in training mode.
        optimiser: over all parameters of both.
        batch: labelled images and both views of the unlabelled ones.
        options: weights, temperature, mixing and ramp.
        seen: the windows `seen_fer` and `seen_fr` of `shares_so_far`; the batch is added.
        progress: share of the run done, 0 .. 1.
        generator: of mixing and turns; only its seed is used.
        compute: precision and micro-batches; the network runs uncompiled, in two halves.
        label_smoothing: of the mixed labelled images.

    Returns:
        Detached 0-d losses `loss_s`, `loss_u`, `loss_anchor` and `loss_rotation`; the most probable
        classes `y_hat_fr` of the guesses, (M,) int64; `confidence_fr`, what the network itself
        gives these on the plain view, and `y_learner_fr` as `meta_step` has it.
    """
    draws = np.random.default_rng(generator.initial_seed())
    with frozen_running_stats(network):
        logits_fr = loss_pass(network.network, batch.x_fr, None, compute).logits
    p_fer = F.one_hot(batch.y_fer, logits_fr.shape[1]).to(logits_fr)
    wanted = shares_so_far(seen, "seen_fer", p_fer)
    said = shares_so_far(seen, "seen_fr", logits_fr.softmax(1))
    q = guessed(logits_fr, wanted, said, options.temperature)
    x, p = mixed([batch.x_fer, batch.x_fr_aug, batch.x_fr], [p_fer, q, q], options.mixup, draws)
    of_all = torch.from_numpy(draws.integers(TURNS, size=world.size() * len(q)))
    turns = of_all[world.share(len(of_all))].to(x.device)

    n, ramp = len(p_fer), min(1.0, progress / options.ramp) if options.ramp else 1.0
    named = partial(of_classes, label_smoothing=label_smoothing)
    s = gradient_pass(network, x[:n], p[:n], compute, criterion=named)
    with frozen_running_stats(network):
        u, anchor, rotation = (
            gradient_pass(network, images, target, compute, weight=weight, criterion=criterion)
            for images, target, weight, criterion in (
                (x[n:], p[n:], ramp * options.w_u, of_classes),
                (batch.x_fr_aug, q, ramp * options.w_anchor, of_classes),
                (turned(batch.x_fr_aug, turns), turns, options.w_rotation, of_turns),
            )
        )
    for other in (u, anchor, rotation):
        add_scaled(s.grad, other.grad)
    descend(optimiser, list(network.parameters()), s.grad)

    y_hat_fr = q.argmax(1)
    return {
        "loss_s": s.loss,
        "loss_u": u.loss,
        "loss_anchor": anchor.loss,
        "loss_rotation": rotation.loss,
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence(logits_fr, y_hat_fr),
        "y_learner_fr": anchor.logits[:, :-TURNS].argmax(1),
    }


def step(given: StepContext) -> Losses:
    """With the shares of classes in the steps before."""
    network = given.networks["base"]
    assert isinstance(network, TurnedNetwork)
    return remixmatch_step(
        network,
        given.optimisers["base"],
        given.batch,
        given.options,
        given.extra,
        progress=given.progress,
        generator=given.generator("mixup"),
        compute=given.compute,
        label_smoothing=given.label_smoothing,
    )


def prepare(run: Preparation) -> None:
    """The layer of turns, kept in checkpoints as `turns`; the global random state is kept, too."""
    network = run.networks["base"]
    assert isinstance(network, FaceNetwork)
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        turns = nn.Linear(last_layer.in_features, TURNS).to(last_layer.weight)
    run.networks["turns"], run.trained["base"] = turns, TurnedNetwork(network, turns)


REMIXMATCH = Method(
    name="remixmatch",
    title="ReMixMatch",
    step=step,
    cost=lambda options, n, m: learning(n + 4 * m) + looking(m),
    options=ReMixMatchOptions,
    prepare=prepare,
)
