"""Ada-CM (Li, Wang, Yang, Wang, Gao: Towards Semi-Supervised Deep Facial Expression Recognition
with An Adaptive Confidence Margin, CVPR 2022).

How sure the network is of labelled faces that it names rightly is the margin of their class. An
unlabelled face over it learns its name (subset I); the features of one under it (subset II) are to
be nearer to those of its other view than to any other face's.

What is simpler than in the paper: it draws two plain views and an augmented one of each unlabelled
face. The plain two are averaged for the name, and their features are what is drawn together. Here
there is one plain view, which names, and its features are drawn to those of the augmented one. The
paper learns margins from labelled faces as they pass (its Fig. 2), and so it is here; the authors'
code passes all of them once more after an epoch, through its moving average of the weights, which
is `training.ema` here and has no part in training. Their network reads its classes from features of
length one, of which half are dropped; here any backbone's own last layer reads its own features.
"""

import math
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
    gradients,
    labelled_loss,
    loss_pass,
)
from face2exp_lib.methods.running import ratio
from face2exp_lib.networks import FaceNetwork, frozen_running_stats
from face2exp_lib.runtime import distributed as world

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class AdaCmOptions:
    """Defaults: those of the authors' released code, for RAF-DB.

    Attributes:
        w_s, w_u, w_c: weights of the labelled loss, of subset I and of subset II.
        beta, gamma: a class's margin after epoch t is its mean confidence times
            beta / (1 + gamma^-t), which rises with t: a young network is too sure.
        floor: no margin is under it; the margin of all classes in the first epoch, and of one
            that no labelled face was rightly taken for.
        temperature: of the contrastive loss of subset II.
    """

    w_s: Weight = 0.5
    w_u: Weight = 1.0
    w_c: Weight = 0.1
    beta: Annotated[float, Field(ge=0, le=1)] = 0.97
    gamma: Annotated[float, Field(ge=1)] = math.e
    floor: Annotated[float, Field(ge=0, le=1)] = 0.8
    temperature: Annotated[float, Field(gt=0)] = 0.07


class WithFeatures(nn.Module):
    """A network that tells its features, too."""

    def __init__(self, network: FaceNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K + D): logits, then features."""
        features = self.network.features(x)
        return torch.cat([self.network.head(features), features], 1)


def named_rightly(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each class, (2, K): the confidences of images rightly taken for it, added up, and how many
    these are; of all processes.

    Args:
        logits: (N, K).
        labels: (N,) int64.
    """
    confidence, named = logits.softmax(1).max(1)
    right = F.one_hot(labels, logits.shape[1]) * (named == labels)[:, None]
    sums = torch.stack([(right * confidence[:, None]).sum(0), right.sum(0).to(logits)])
    world.average((sums,))
    return sums * world.size()


def margins(right: Tensor, epoch: int, options: AdaCmOptions) -> Tensor:
    """T^c of each class, (K,).

    Args:
        right: (2, K), what `named_rightly` found in an epoch.
        epoch: t, which is over, counted from 1.
        options: beta, gamma and floor.
    """
    mean = ratio(right[0], right[1])
    return (mean * options.beta / (1 + options.gamma**-epoch)).clamp(min=options.floor)


def contrastive_loss(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """How well each of 2 n features tells its face's other view from all others, a mean (SimCLR:
    Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual
    Representations, ICML 2020); 0 of no faces.

    Args:
        first, second: (n, D), of length one, of both views.
        temperature: that their products are divided by.
    """
    if not len(first):
        return first.sum() + second.sum()
    both = torch.cat([first, second])
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)
    likeness = (both @ both.T / temperature).masked_fill(itself, -torch.inf)
    return F.cross_entropy(likeness, torch.arange(len(both), device=both.device).roll(len(first)))


def ada_cm_step(
    network: FaceNetwork,
    optimiser: SGD,
    batch: StepBatch,
    options: AdaCmOptions,
    margin: Tensor,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on w_s CE(y_FER) + w_u CE(y_hat_FR of subset I) + w_c contrast of subset II. The
    second is a mean over all unlabelled images, so that few weigh little.

    The contrast ties all images together: features of both views are looked at first, and the
    gradient of the loss by each of them is then handed through the network. Whatever the
    micro-batches and processes, it is that of the whole batch.

    Batch norm: each pass by its own batch; the labelled one is remembered.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        batch: labelled images and both views of the unlabelled ones.
        options: weights and temperature.
        margin: (K,), T^c.
        compute: precision and micro-batches; the network runs uncompiled, in two halves.
        label_smoothing: of the labelled loss.

    Returns:
        What `fixmatch_step` does, the 0-d `loss_c`, and `right`, (2, K) of `named_rightly`.
    """
    telling, num_classes, weight = WithFeatures(network), len(margin), options.w_c

    def directions(outputs: Tensor) -> Tensor:
        return F.normalize(outputs[:, num_classes:], dim=1)

    with frozen_running_stats(network):
        plain = loss_pass(telling, batch.x_fr, None, compute).logits
        augmented = loss_pass(telling, batch.x_fr_aug, None, compute).logits
        logits_fr = plain[:, :num_classes]
        confidence, y_hat_fr = logits_fr.softmax(1).max(1)
        kept = confidence >= margin[y_hat_fr]
        target = torch.where(kept, y_hat_fr, LEFT_OUT)

        under = world.gather((~kept).long()).bool()
        ends = [world.gather(directions(view)).requires_grad_() for view in (plain, augmented)]
        loss_c = contrastive_loss(ends[0][under], ends[1][under], options.temperature)
        pull_plain, pull_aug = (g[world.share(len(g))] for g in gradients(loss_c, ends))

        def pulled(outputs: Tensor, pull: Tensor) -> Tensor:  # its gradient is the contrast's
            return len(under) * (directions(outputs) * pull).sum(1).mean()

        def of_plain(outputs: Tensor, rows: Tensor) -> Tensor:
            return pulled(outputs, pull_plain[rows])

        def of_augmented(outputs: Tensor, rows: Tensor) -> Tensor:
            loss_u = mean_over_all(outputs[:, :num_classes], target[rows])
            return options.w_u * loss_u + weight * pulled(outputs, pull_aug[rows])

        rows = torch.arange(len(kept), device=kept.device)
        uc = gradient_pass(telling, batch.x_fr_aug, rows, compute, criterion=of_augmented)
        c = gradient_pass(telling, batch.x_fr, rows, compute, weight=weight, criterion=of_plain)
    s = gradient_pass(
        network,
        batch.x_fer,
        batch.y_fer,
        compute,
        weight=options.w_s,
        criterion=labelled_loss(label_smoothing),
    )
    grad = add_scaled(add_scaled(s.grad, uc.grad), c.grad)
    descend(optimiser, list(network.parameters()), grad)
    return {
        "loss_s": s.loss,
        "loss_u": mean_over_all(augmented[:, :num_classes], target),
        "loss_c": loss_c.detach(),
        "kept_fr": kept.to(logits_fr.dtype).mean(),
        "right": named_rightly(s.logits, batch.y_fer),
        "y_hat_fr": y_hat_fr,
        "confidence_fr": confidence,
        "y_learner_fr": augmented[:, :num_classes].argmax(1),
    }


def step(given: StepContext) -> Losses:
    """At the margins of the epoch before, a pass over the labelled set; tells their mean."""
    network, state = given.networks["base"], given.extra
    assert isinstance(network, FaceNetwork)
    x_fer, num_labelled = given.batch.x_fer, sum(given.class_counts)
    if not state:
        start = torch.full((len(given.class_counts),), given.options.floor)
        state |= {"margin": start, "right": torch.zeros(2, len(start)), "epoch": torch.tensor(1)}
    epoch = 1 + given.step * world.size() * len(x_fer) // num_labelled
    if epoch > state["epoch"]:
        state["margin"] = margins(state["right"], epoch - 1, given.options)
        state |= {"right": torch.zeros_like(state["right"]), "epoch": torch.tensor(epoch)}
    state |= {name: state[name].to(x_fer) for name in ("margin", "right")}
    outcome = ada_cm_step(
        network,
        given.optimisers["base"],
        given.batch,
        given.options,
        state["margin"],
        given.compute,
        label_smoothing=given.label_smoothing,
    )
    state["right"] = state["right"] + outcome.pop("right")
    return outcome | {"margin": state["margin"].mean()}


ADA_CM = Method(
    name="ada_cm",
    title="Ada-CM",
    step=step,
    cost=lambda options, n, m: learning(n + 2 * m) + looking(2 * m),
    options=AdaCmOptions,
)
