"""SCN, the Self-Cure Network (Wang, Peng, Yang, Lu, Qiao: Suppressing Uncertainties for Large-Scale
Facial Expression Recognition, CVPR 2020).

It learns from labelled faces alone and suspects some labels: each image gets an importance that
scales its logits, the importances are kept apart in two groups, and labels that the network is sure
are wrong change.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, Preparation, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError


@dataclass(frozen=True)
class ScnOptions:
    """Defaults: the paper's, and those of the authors' released code.

    Attributes:
        w_rank: weight of the rank regularisation beside the cross entropy. The paper has
            gamma L_WCE + (1 - gamma) L_RR at gamma = 0.5; the released code has the plain sum,
            which is the same direction at twice the length.
        high_share: beta, share of a batch in the group of high importance.
        rank_margin: delta_1, by which the groups' mean importances shall differ.
        relabel_margin: delta_2, by which another class must be more probable than the label.
        relabel_from_epoch: the first pass over the labelled set, counted from 1, in which labels
            change.
    """

    w_rank: Annotated[float, Field(ge=0)] = 1.0
    high_share: Annotated[float, Field(gt=0, lt=1)] = 0.7
    rank_margin: Annotated[float, Field(ge=0, le=1)] = 0.15
    relabel_margin: Annotated[float, Field(ge=0, le=1)] = 0.2
    relabel_from_epoch: Annotated[int, Field(gt=0)] = 10


class ImportanceHead(nn.Module):
    """An image's importance alpha in 0 .. 1 from its features: a linear layer and a sigmoid."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) to (N,), in the weights' own precision: importances lie close together."""
        with torch.autocast(features.device.type, enabled=False):
            return torch.sigmoid(self.linear(features.to(self.linear.weight)))[:, 0]


class ScaledNetwork(nn.Module):
    """A network and its head, for training: logits scaled by the importance.

    Importances are positive, so the most probable class is the same without the head: the network
    is deployed alone.
    """

    def __init__(self, network: FaceNetwork, head: ImportanceHead) -> None:
        super().__init__()
        self.network, self.head = network, head

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K + 1): scaled logits and, last, the importance."""
        features = self.network.features(x)
        logits = self.network.head(features)
        importance = self.head(features)[:, None]
        return torch.cat([importance * logits, importance], 1)


def build_importance_head(network: FaceNetwork, seed: int) -> ImportanceHead:
    """A head beside a network's own; the global random state is kept."""
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ImportanceHead(last_layer.in_features).to(last_layer.weight)


def rank_loss(importance: Tensor, high_share: float, margin: float) -> Tensor:
    """max(0, delta_1 - (mean of the high group - mean of the low group)).

    Args:
        importance: (N,).
        high_share: the first floor(high_share * N) by importance are the high group.
        margin: delta_1.

    Raises:
        ValueError: if one group is empty.
    """
    num_high = int(high_share * len(importance))
    if not 0 < num_high < len(importance):
        raise ValueError(f"a batch of {len(importance)} has no two groups: take a larger one")
    ranked = importance.sort(descending=True, stable=True).values
    return F.relu(margin - (ranked[:num_high].mean() - ranked[num_high:].mean()))


def relabelled(
    logits: Tensor, labels: Tensor, importance: Tensor, high_share: float, margin: float
) -> Tensor:
    """Labels of the low group give way to the most probable class where it leads by the margin.

    The paper relabels in the group of low importance; the released code does so in the whole batch.

    Args:
        logits: (N, K), scaled by the importance.
        labels: (N,) int64.
        importance: (N,).
        high_share, margin: beta and delta_2.

    Returns:
        (N,) int64.
    """
    rank = importance.argsort(descending=True, stable=True).argsort()
    probabilities = logits.softmax(1)
    highest, most_probable = probabilities.max(1)
    given = probabilities.gather(1, labels[:, None])[:, 0]
    changes = (rank >= int(high_share * len(labels))) & (highest - given > margin)
    return torch.where(changes, most_probable, labels)


def scn_step(
    network: ScaledNetwork,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    options: ScnOptions,
    epoch: int,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update of network and head on L_WCE + w_rank L_RR; no unlabelled face is used.

    Batch norm: the one pass moves the running statistics.

    Args:
        network: with its head, in training mode.
        optimiser: over all parameters of both, in one group.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels as they stand now.
        options: weights, margins and groups.
        epoch: pass over the labelled set that the batch belongs to, counted from 1.
        compute: precision and micro-batches, each with groups of its own for the regularisation.
            The network runs uncompiled, in two halves.
        label_smoothing: of L_WCE.

    Returns:
        Detached 0-d losses `loss_s` (L_WCE) and `loss_rank` (L_RR), the mean `importance`, the
        share `relabelled`, and `y_new`, (N,) int64: the labels to store for these images.
    """

    cross_entropy = labelled_loss(label_smoothing)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        logits, importance = outputs[:, :-1], outputs[:, -1]
        rank = rank_loss(importance, options.high_share, options.rank_margin)
        return cross_entropy(logits, labels) + options.w_rank * rank

    both = gradient_pass(network, x_fer, y_fer, compute, criterion=loss)
    descend(optimiser, list(network.parameters()), both.grad)

    logits, importance = both.logits[:, :-1], both.logits[:, -1]
    y_new = y_fer
    if epoch >= options.relabel_from_epoch:
        y_new = relabelled(logits, y_fer, importance, options.high_share, options.relabel_margin)
    return {
        "loss_s": cross_entropy(logits, y_fer),
        "loss_rank": rank_loss(importance, options.high_share, options.rank_margin),
        "importance": importance.mean(),
        "relabelled": (y_new != y_fer).to(logits.dtype).mean(),
        "y_new": y_new,
    }


def step(given: StepContext) -> Losses:
    """With the labels as they stand now, and those that change noted."""
    network, y_fer = given.networks["base"], given.batch.y_fer
    assert isinstance(network, ScaledNetwork)
    labels = given.extra["labels"]
    outcome = scn_step(
        network,
        given.optimisers["base"],
        given.batch.x_fer,
        labels[given.indices_fer].to(y_fer.device),
        given.options,
        1 + given.step * len(y_fer) // len(labels),
        given.compute,
        label_smoothing=given.label_smoothing,
    )
    labels[given.indices_fer] = outcome.pop("y_new").cpu()
    return outcome


def prepare(run: Preparation) -> None:
    """The head, kept in checkpoints as `importance`, and the labels that may change.

    Raises:
        Face2ExpError: if a batch has no group of high importance.
    """
    if int(run.options.high_share * run.batch_size_fer) == 0:
        raise Face2ExpError(
            f"scn.high_share {run.options.high_share} of training.batch_size_fer "
            f"{run.batch_size_fer} is not one image: raise one of them"
        )
    network = run.networks["base"]
    assert isinstance(network, FaceNetwork)
    head = build_importance_head(network, run.seed)
    run.networks["importance"] = head
    run.trained["base"] = ScaledNetwork(network, head)
    run.extra["labels"] = run.labels.clone()


SCN = Method(
    name="scn",
    title="Self-Cure Network",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=ScnOptions,
    unlabelled=False,
    whole_batch=True,  # ranks its images
    prepare=prepare,
)
