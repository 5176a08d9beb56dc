"""LDL-ALSG, label distribution learning on auxiliary label space graphs (Chen, Wang, Chen, Shi,
Geng, Rui: Label Distribution Learning on Auxiliary Label Space Graphs for Facial Expression
Recognition, CVPR 2020).

Faces that are close in the labels of a related task, their landmarks or action units, should have
close distributions of expressions. So beside the cross entropy to its own label, a prediction p_i
is held to those of its k nearest neighbours there:

    L = L_s + (w / N) sum_i sum_{j in N(i)} a_ij KL(q_j || p_i),
    a_ij = exp(-d_ij^2 / (2 sigma^2)).

d_ij is the distance of two faces' five landmarks in the frame of the face: seen from the middle of
the eyes, the line to the middle of the mouth upright and of length 1, so that place, size and tilt
do not count.

What is simpler than in the paper, and why. The paper's second graph is that of action units, which
no set here comes with; its landmarks are 68. Neighbours are looked for among all labelled faces,
but seldom lie in one batch: q_j is what the network made of j when it last saw it (at first j's
label), a constant, so that only p_i moves; taking both from one pass would leave a graph of the few
neighbours in a batch. A face whose landmarks nobody found has no neighbours and is none; if no face
has some, what remains is the supervised step.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, Preparation, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss
from face2exp_lib.runtime import distributed as world


@dataclass(frozen=True)
class LdlAlsgOptions:
    """The graph and its weight.

    Attributes:
        w_neighbours: w. With five neighbours close by, 0.2 lets them weigh as much as the label;
            that is ours: PyLDL's implementation has 0.0005.
        neighbours: k; 5 is PyLDL's.
        sigma: width of the kernel, in lengths from the eyes to the mouth; None: the mean distance
            of a face of the set from its k-th neighbour.
    """

    w_neighbours: Annotated[float, Field(ge=0)] = 0.2
    neighbours: Annotated[int, Field(ge=1)] = 5
    sigma: Annotated[float, Field(gt=0)] | None = None


def in_face_frame(points: Tensor) -> Tensor:
    """Landmarks without place, size and tilt.

    Args:
        points: (N, 5, 2) px.

    Returns:
        (N, 5, 2) float64 right and down of the middle of the eyes, in lengths from there to the
        middle of the mouth; not finite where there are no points, or no such length.
    """
    points = points.double()
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    length = down.square().sum(1)[:, None, None]  # of the axes, and once more of the unit
    axes = torch.stack([torch.stack([down[:, 1], -down[:, 0]], 1), down], 2)
    return (points - eyes[:, None]) @ axes / length


def graph(points: Tensor, neighbours: int, sigma: float | None = None) -> tuple[Tensor, Tensor]:
    """The neighbours of each face and the kernel's weights.

    Args:
        points: (n, 5, 2) px, NaN of faces without landmarks.
        neighbours: k.
        sigma: of the kernel, see `LdlAlsgOptions`.

    Returns:
        (n, k) int64 positions of faces, and (n, k) float32 a_ij, 0 where there is no neighbour.
    """
    flat = in_face_frame(points).flatten(1).numpy()
    known = np.flatnonzero(np.isfinite(flat).all(1))
    found = np.zeros((len(flat), neighbours), np.int64)
    weights = np.zeros((len(flat), neighbours), np.float32)
    number = min(neighbours, len(known) - 1)
    if number < 1:
        return torch.from_numpy(found), torch.from_numpy(weights)
    tree = NearestNeighbors(n_neighbors=number, algorithm="kd_tree").fit(flat[known])
    distances, nearest = tree.kneighbors()  # of each but itself
    width = sigma or distances[:, -1].mean() or 1.0  # all alike: any width gives weights of 1
    found[known, :number] = known[nearest]
    weights[known, :number] = np.exp(-(distances**2) / (2 * width**2))
    return torch.from_numpy(found), torch.from_numpy(weights)


def neighbour_loss(logits: Tensor, held_to: Tensor) -> Tensor:
    """(1 / N) sum_ij a_ij KL(q_j || p_i).

    Args:
        logits: (N, K) of p.
        held_to: (N, K + 1) of `summed`.
    """
    mixed, constant = held_to[:, :-1], held_to[:, -1]
    return (constant - (mixed * logits.log_softmax(1)).sum(1)).mean()


def summed(q: Tensor, weights: Tensor) -> Tensor:
    """What the divergences from all neighbours come down to.

    Args:
        q: (N, k, K) distributions.
        weights: (N, k) a.

    Returns:
        (N, K + 1): sum_j a_ij q_j, and sum_j a_ij sum q_j log q_j.
    """
    entropy = torch.xlogy(q, q).sum(2)
    return torch.cat([(weights[..., None] * q).sum(1), (weights * entropy).sum(1, keepdim=True)], 1)


def ldl_alsg_step(
    network: nn.Module,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    q: Tensor,
    weights: Tensor,
    options: LdlAlsgOptions,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on L.

    Batch norm: the one pass moves the running statistics.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        q: (N, k, K) distributions of their neighbours.
        weights: (N, k) a.
        options: w.
        compute: precision and micro-batches.
        label_smoothing: of L_s.

    Returns:
        Detached 0-d losses `loss_s` and `loss_neighbours` (without w), and `probabilities`, (N, K),
        of the images.
    """
    cross_entropy = labelled_loss(label_smoothing)
    held_to = summed(q, weights)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        near = neighbour_loss(logits, target[:, 1:])
        return cross_entropy(logits, target[:, 0].long()) + options.w_neighbours * near

    target = torch.cat([y_fer[:, None].to(held_to), held_to], 1)
    both = gradient_pass(network, x_fer, target, compute, criterion=loss)
    descend(optimiser, list(network.parameters()), both.grad)
    return {
        "loss_s": cross_entropy(both.logits, y_fer),
        "loss_neighbours": neighbour_loss(both.logits, held_to.to(both.logits)),
        "probabilities": both.logits.softmax(1),
    }


def step(given: StepContext) -> Losses:
    """With the neighbours' distributions as they were last seen, and those of the batch noted."""
    x_fer, rows, noted = given.batch.x_fer, given.indices_fer, given.extra["distributions"]
    found = ldl_alsg_step(
        given.networks["base"],
        given.optimisers["base"],
        x_fer,
        given.batch.y_fer,
        noted[given.extra["neighbours"][rows]].to(x_fer.device),
        given.extra["kernel"][rows].to(x_fer.device),
        given.options,
        given.compute,
        label_smoothing=given.label_smoothing,
    )
    # Every process keeps what all of them saw.
    seen = world.gather(found.pop("probabilities")).to(noted)
    noted[world.gather(rows.to(x_fer.device)).cpu()] = seen
    return found


def prepare(run: Preparation) -> None:
    """The graph of the labelled set, and the labels as what is first known of each face."""
    options: LdlAlsgOptions = run.options
    points = run.landmarks
    if points is None:
        points = torch.full((len(run.labels), 5, 2), torch.nan)
    found, weights = graph(points, options.neighbours, options.sigma)
    run.extra["neighbours"], run.extra["kernel"] = found, weights
    last_layer = run.networks["base"].get_submodule("fc")
    assert isinstance(last_layer, nn.Linear)
    run.extra["distributions"] = F.one_hot(run.labels, last_layer.out_features).float()


LDL_ALSG = Method(
    name="ldl_alsg",
    title="LDL-ALSG",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=LdlAlsgOptions,
    unlabelled=False,
    without_landmarks=lambda options: "finds no neighbours and learns as `supervised` does",
    prepare=prepare,
)
