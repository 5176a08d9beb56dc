"""Nets and batches small enough to work a step out by hand, and the common test of reduction."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.networks import FaceNetwork, build_network

ETA = 0.5


class TwoWeights(FaceNetwork):
    """Two classes, logits (w0 x0, w1 x1): no bias. The features are x itself."""

    def __init__(self, w0: float, w1: float) -> None:
        super().__init__()
        self.fc: Scale = Scale(w0, w1)

    def features(self, x: Tensor) -> Tensor:
        return x

    def weights(self) -> list[float]:
        return self.fc.w.tolist()


class Scale(nn.Module):
    def __init__(self, w0: float, w1: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w0, w1], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w * x


def sgd(*networks: nn.Module, momentum: float = 0.0) -> SGD:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return SGD(parameters, lr=ETA, momentum=momentum)


def rows(*values: tuple[float, float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def descended(start: Sequence[float], *grads: Sequence[float]) -> list[float]:
    """Where one step along the sum of the gradients leads."""
    return [w - ETA * sum(parts) for w, *parts in zip(start, *grads, strict=True)]


def after_meta_step(
    batch: StepBatch, history: FeedbackHistory | None = None, *, seed: int = 1, **options: Any
) -> tuple[list[float], list[float], dict[str, Tensor]]:
    """B, from (2, 0), and A, from (0, 0), after a step, and what it tells.

    Args:
        batch: of two-pixel images.
        history: of f; None for an empty one.
        seed: of names that are drawn and of shuffling.
        options: of Meta-Face2Exp.
    """
    base, adaptation = TwoWeights(2.0, 0.0), TwoWeights(0.0, 0.0)
    found = meta_step(
        base,
        adaptation,
        sgd(base),
        sgd(adaptation),
        batch,
        MetaOptions(**options),
        history or FeedbackHistory(),
        generator=torch.Generator().manual_seed(seed),
    )
    return base.weights(), adaptation.weights(), found


def small(seed: int = 0) -> FaceNetwork:
    """A net with batch norm, so that statistics which must not move would show."""
    return build_network("small", 7, pretrained=False, seed=seed)


def images(seed: int = 3) -> StepBatch:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x_fer, x_fr, x_fr_aug = torch.randn(3, 6, 3, 32, 32)
        y_fer = torch.randint(7, (6,))
    return StepBatch(x_fer + 1, y_fer, x_fr * 2, x_fr_aug - 1)


def state(*networks: nn.Module) -> list[Tensor]:
    """Copies of all parameters and buffers."""
    return [tensor.clone() for net in networks for tensor in net.state_dict().values()]


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def assert_supervised(step: Callable[[FaceNetwork, SGD, StepBatch], object]) -> None:
    """Two steps with momentum leave the net as two supervised steps do, bit for bit."""
    network, expected = small(), small()
    optimiser, optimiser_expected = sgd(network, momentum=0.9), sgd(expected, momentum=0.9)
    for seed in (3, 4):
        batch = images(seed)
        step(network, optimiser, batch)
        supervised_step(expected, optimiser_expected, batch.x_fer, batch.y_fer)
    assert same(state(network), state(expected))
    assert not same(state(network), state(small()))
