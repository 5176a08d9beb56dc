"""How B names x_FR (line 5): its most probable class, as in the paper, or a class that is drawn,
after its classes were aligned or not; and which names count."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.image_weights import floored, weighted_target
from face2exp_lib.methods.meta_options import MetaOptions
from face2exp_lib.runtime import distributed as world


@dataclass(frozen=True)
class Naming:
    """From B's scores to pseudo labels, which are constants.

    Attributes:
        drawn: from B's distribution, not its most probable class.
        threshold: the name of an image whose most probable class is not over it does not count.
        shares: (K,), by which the probabilities are divided before they are looked at; None: they
            are as B has them.
    """

    drawn: bool = False
    threshold: float = 0.0
    shares: Tensor | None = None

    def labels(self, logits: Tensor, chance: Tensor | None) -> Tensor:
        """(M, K) scores and (M, 1) of `uniform`, which only drawn names ask for, to (M,) int64."""
        logits = self._aligned(logits)
        if not self.drawn:
            return logits.argmax(1)
        assert chance is not None
        return drawn_labels(logits.softmax(1), chance)

    def counted(self, logits: Tensor) -> Tensor | None:
        """(M,), 1 where a name counts and 0 where it does not; None if all of them do."""
        if self.threshold == 0:
            return None
        return (self._aligned(logits).softmax(1).amax(1) > self.threshold).to(logits)

    def loss(self, logits: Tensor, chance: Tensor | None) -> Tensor:
        """CE(y_hat_FR, B(x_FR)) over the names that count, a mean over all images: a criterion."""
        fixed = logits.detach()
        labels = self.labels(fixed, chance)
        return F.cross_entropy(
            logits, weighted_target(labels, self.counted(fixed), logits.shape[1])
        )

    def _aligned(self, logits: Tensor) -> Tensor:
        # softmax of the difference is p / shares, divided by its sum
        return logits if self.shares is None else logits - self.shares.to(logits).log()


def naming_of(options: MetaOptions, history: FeedbackHistory) -> Naming:
    """By the options; the names of a step are aligned by the steps before it."""
    shares = None
    if options.balance == "align" and history.shares.mean.ndim:  # not before the first step
        shares = floored(history.shares.mean)
    return Naming(options.pseudo_labels == "drawn", options.pseudo_label_threshold, shares)


def mean_probabilities(logits: Tensor) -> Tensor:
    """Of each class over the images of all processes, (K,)."""
    mean = logits.softmax(1).mean(0)
    world.average((mean,))
    return mean


def uniform(number: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Numbers in 0 .. 1 to draw with, (number, 1), for the images of this process.

    Args:
        number: of them.
        generator: on the CPU, so that the draw does not depend on the device.
        device: of the result.

    Raises:
        ValueError: without a generator.
    """
    if generator is None:
        raise ValueError("pseudo_labels drawn needs a generator: give one of this step")
    total = world.size() * number  # for the whole batch, however it is shared out
    drawn = torch.rand(total, 1, generator=generator, dtype=torch.float64)
    return drawn[world.share(total)].to(device)


def drawn_labels(probabilities: Tensor, chance: Tensor) -> Tensor:
    """One class an image, (M,) int64: the first to bring the sum of probabilities over `chance`.

    Args:
        probabilities: (M, K).
        chance: (M, 1) of `uniform`.
    """
    below = probabilities.double().cumsum(1) <= chance
    return below.sum(1).clamp(max=probabilities.shape[1] - 1)  # a sum may round to under 1
