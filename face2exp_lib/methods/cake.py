"""CAKE (Kervadec, Vielzeuf, Pateux, Lechervy, Jurie: CAKE: Compact and Accurate K-dimensional
representation of Emotion, BMVC 2018).

An expression is a point of k dimensions: between features and class scores stands a linear layer
with k outputs, W_1 (k, D), and the scores are a linear function of these, softmax(W_2 W_1 x). With
k = 3 the paper loses little against the D features, and the map of the expressions can be drawn.

No layer has a bias here: each class owns a direction from one origin, and its border with another
is a plane through it. The whole is learnt by the cross entropy alone.

What is simpler than in the paper: it learns one W_1 from several data sets at once with a W_2 for
each of them, since they name expressions otherwise; a run here has one labelled set, so one W_2.
It also compares W_1 with arousal and valence, which needs their labels.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import FormContext, Losses, Method, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.networks import FaceNetwork


@dataclass(frozen=True)
class CakeOptions:
    """The one number of the method.

    Attributes:
        dimensions: k; the paper's CAKE-3 has 3, and its maps are drawn with 2.
    """

    dimensions: Annotated[int, Field(ge=1)] = 3


class EmbeddedHead(nn.Module):
    """The last layer in two: an embedding of k dimensions and class scores, both without a bias."""

    def __init__(self, num_features: int, dimensions: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(num_features, dimensions, bias=False)
        self.classes = nn.Linear(dimensions, num_classes, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, D) features to (N, K) logits, W_2 W_1 x."""
        logits: Tensor = self.classes(self.embedding(features))
        return logits


def embed(network: FaceNetwork, x: Tensor) -> Tensor:
    """(N, 3, s, s) images to their (N, k) points on the map, whose axes are `head.embedding`'s."""
    head = network.head
    assert isinstance(head, EmbeddedHead)
    points: Tensor = head.embedding(network.features(x))
    return points


def form(given: FormContext) -> FaceNetwork:
    """The backbone with a last layer in two, whose weights are a function of the seed."""
    network, last_layer = given.network, given.network.head
    assert isinstance(last_layer, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        head = EmbeddedHead(
            last_layer.in_features, given.options.dimensions, last_layer.out_features
        )
    network.fc = head.to(last_layer.weight)
    return network


def cake_step(
    network: nn.Module,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the cross entropy of softmax(W_2 W_1 x): `supervised_step` of such a network.

    Args:
        network: of `form`, in training mode.
        optimiser: over all its parameters.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        compute: precision and micro-batches.
        label_smoothing: share of each label that is spread over all classes.

    Returns:
        The 0-d `loss_s`.
    """
    return supervised_step(
        network, optimiser, x_fer, y_fer, compute, label_smoothing=label_smoothing
    )


def step(given: StepContext) -> Losses:
    """On the labelled faces alone."""
    return cake_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch.x_fer,
        given.batch.y_fer,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


CAKE = Method(
    name="cake",
    title="CAKE",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=CakeOptions,
    unlabelled=False,
    form=form,
)
