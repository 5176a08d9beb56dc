"""Class-balanced loss (Cui, Jia, Lin, Song, Belongie: Class-Balanced Loss Based on Effective Number
of Samples, CVPR 2019).

n images of a class count as (1 - beta^n) / (1 - beta), and the class's loss is divided by that. Its
neighbour, class-balanced batches with the plain loss, is `sampling.BalancedBatches`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass


@dataclass(frozen=True)
class ClassBalancedOptions:
    """The one number of the method.

    Attributes:
        beta: 0 weights all classes alike, towards 1 by the inverse of their counts. The paper
            tries 0.9, 0.99, 0.999 and 0.9999 on each data set and names no default; this is the
            last of them.
    """

    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9999


def class_weights(class_counts: Sequence[int], beta: float) -> Tensor:
    """Weights in proportion to 1 / effective number, scaled so that their mean is 1.

    A class without images has weight 0 and no part in that: no label asks for its weight, which
    would be infinite.

    Args:
        class_counts: training images of each class, K numbers.
        beta: in 0 .. 1, 1 excluded.

    Returns:
        (K,) float64.
    """
    counts = torch.tensor(class_counts, dtype=torch.float64)
    inverse = torch.where(counts > 0, (1 - beta) / (1 - beta**counts), 0)
    return inverse * (int((counts > 0).sum()) / inverse.sum())


def class_balanced_step(
    network: nn.Module,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    weights: Tensor,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the weighted labelled loss; with equal weights it is `supervised_step`.

    Args:
        network: in training mode. Batch norm: the one pass moves the running statistics.
        optimiser: over all its parameters.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        weights: (K,) of `class_weights`, in the dtype and on the device of the logits.
        compute: precision and micro-batches.
        label_smoothing: share of each label that is spread over all classes, by their weights.

    Returns:
        `loss_s`, the weighted loss: a mean over images, not over their weights.
    """

    def weighted(scores: Tensor, labels: Tensor) -> Tensor:
        total = F.cross_entropy(
            scores, labels, weights, reduction="sum", label_smoothing=label_smoothing
        )
        return total / len(labels)

    s = gradient_pass(network, x_fer, y_fer, compute, criterion=weighted)
    descend(optimiser, list(network.parameters()), s.grad)
    return {"loss_s": s.loss}


def step(given: StepContext) -> Losses:
    """With the weights of the labelled set's own counts."""
    weights = class_weights(given.class_counts, given.options.beta).float()
    return class_balanced_step(
        given.networks["base"],
        given.optimisers["base"],
        given.batch.x_fer,
        given.batch.y_fer,
        weights.to(given.batch.x_fer.device),
        given.compute,
        label_smoothing=given.label_smoothing,
    )


CLASS_BALANCED = Method(
    name="class_balanced",
    title="supervised, class-balanced loss",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=ClassBalancedOptions,
    unlabelled=False,
)
