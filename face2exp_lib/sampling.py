"""Smp(.): the class-balanced draw of the labels, and the mini-batches of every step."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.seeding import numpy_generator


def class_counts(labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Number of samples of each class, in class order, zeros included."""
    counts = np.bincount(labels, minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def balanced_draw(
    labels: np.ndarray, names: Sequence[str], *, per_class: int | None, seed: int, purpose: str
) -> np.ndarray:
    """Smp: the same number of samples of each class, drawn without replacement (paper 3.3).

    Args:
        labels: (N,) integer class codes.
        names: class names in code order; all of them must occur.
        per_class: samples of each class; None takes the size of the smallest class.
        seed, purpose: what the draw depends on beside the labels.

    Returns:
        Sorted indices into `labels`, (per_class * len(names),).

    Raises:
        Face2ExpError: if a class is empty or smaller than `per_class`.
    """
    counts = class_counts(labels, names)
    smallest = min(counts, key=counts.__getitem__)
    if counts[smallest] == 0:
        raise Face2ExpError(
            f"class '{smallest}' has no image for the {purpose} draw: add some, or lower what "
            "other parts take from it"
        )
    if per_class is None:
        per_class = counts[smallest]
    if counts[smallest] < per_class:
        raise Face2ExpError(
            f"class '{smallest}' has {counts[smallest]} images, the {purpose} draw wants "
            f"{per_class} of each class: ask for at most {counts[smallest]}"
        )
    drawn = []
    for code in range(len(names)):
        members = np.flatnonzero(labels == code)
        generator = numpy_generator(seed, f"smp/{purpose}", code)
        drawn.append(generator.choice(members, size=per_class, replace=False))
    return np.sort(np.concatenate(drawn))


class StepBatches(Sampler[list[int]]):
    """SampleMiniBatch of Algorithm 1: batch t is a function of (seed, stream, t).

    The samples run through one random permutation after another without a gap, so a batch may hold
    the end of one pass and the start of the next, and a set smaller than a batch still fills it.
    """

    def __init__(
        self, num_samples: int, batch_size: int, *, start: int, stop: int, seed: int, stream: str
    ) -> None:
        self.num_samples, self.batch_size = num_samples, batch_size
        self.start, self.stop = start, stop
        self.seed, self.stream = seed, stream

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self.start, self.stop):
            batch = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                if position // self.num_samples != epoch:
                    epoch = position // self.num_samples
                    generator = numpy_generator(self.seed, f"batches/{self.stream}", epoch)
                    order = generator.permutation(self.num_samples)
                batch.append(int(order[position % self.num_samples]))
            yield batch
