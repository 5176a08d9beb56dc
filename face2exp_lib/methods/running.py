"""Mean and deviation over the latest steps."""

import torch
from torch import Tensor

MEMORY = 0.99  # an average over the last hundred steps or so


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Their quotient, and 0 where the denominator is."""
    return torch.where(denominator == 0, 0, numerator / denominator)


class RunningMoments:
    """Of what was added so far, the latest counting most.

    With d = MEMORY, step i of n weighs d^(n - i), so no correction for a short history is needed.
    The mean and the sum of squared distances from it are updated together (West 1979), which stays
    exact where the deviation is small beside the mean. A step may add one value, or the mean and
    the variance of several; values may be vectors, each of whose entries is for itself.
    """

    def __init__(self) -> None:
        self.weight = self.mean = self.squares = torch.zeros(())

    def add(
        self, value: Tensor, variance: Tensor | float = 0.0, weight: Tensor | float = 1.0
    ) -> None:
        """Take in a step.

        Args:
            value: 0-d, or a vector as in all steps.
            variance: around it, where it is a mean.
            weight: 0 .. 1, of this step beside others.
        """
        before, mean, squares = (v.to(value) for v in (self.weight, self.mean, self.squares))
        distance = value - mean
        self.weight = MEMORY * before + weight
        self.mean = mean + ratio(weight * distance, self.weight)
        self.squares = MEMORY * squares + weight * (distance * (value - self.mean) + variance)

    @property
    def deviation(self) -> Tensor:
        """Standard deviation, as large as a value; 0 after a single value."""
        return ratio(self.squares, self.weight).sqrt()

    def state_dict(self) -> dict[str, Tensor]:
        return {name: getattr(self, name) for name in ("weight", "mean", "squares")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.weight, self.mean, self.squares = (
            state[name] for name in ("weight", "mean", "squares")
        )
