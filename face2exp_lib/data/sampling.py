"""Smp(.): draws of labels, balanced or in proportion, and the mini-batches of every step.

A draw is a function of the labels in the order of their set, the seed and the purpose. Readers sort
images by name, so the same images give the same draw on every machine; other images of a class give
another draw of that class and of no other.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator


def class_counts(labels: np.ndarray, names: Sequence[str]) -> dict[str, int]:
    """Number of samples of each class, in class order, zeros included."""
    counts = np.bincount(labels, minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))


def missing_classes(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """The classes without a sample."""
    return [name for name, count in class_counts(labels, names).items() if count == 0]


def balanced_draw(
    labels: np.ndarray, names: Sequence[str], *, per_class: int | None, seed: int, purpose: str
) -> np.ndarray:
    """Smp: the same number of samples of each class, drawn without replacement (paper 3.3).

    Args:
        labels: (N,) integer class codes.
        names: class names in code order; of those that do not occur none is drawn.
        per_class: samples of each class; None takes the size of the smallest class.
        seed, purpose: what the draw depends on beside the labels.

    Returns:
        Sorted indices into `labels`, `per_class` for each class that occurs.

    Raises:
        Face2ExpError: if a class is smaller than `per_class`, or none occurs.
    """
    counts = {name: count for name, count in class_counts(labels, names).items() if count}
    if not counts:
        raise Face2ExpError(f"no image is left for the {purpose} draw: add some")
    smallest = min(counts, key=counts.__getitem__)
    if per_class is None:
        per_class = counts[smallest]
    if counts[smallest] < per_class:
        raise Face2ExpError(
            f"class '{smallest}' has {counts[smallest]} images, the {purpose} draw wants "
            f"{per_class} of each class: ask for at most {counts[smallest]}"
        )
    drawn = []
    for code in np.unique(labels).tolist():
        members = np.flatnonzero(labels == code)
        generator = numpy_generator(seed, f"smp/{purpose}", code)
        drawn.append(generator.choice(members, size=per_class, replace=False))
    return np.sort(np.concatenate(drawn))


def images_per_class(num_images: int, percent: float, num_classes: int) -> int:
    """The size of each class in a balanced draw: floor(percent / 100 * num_images / num_classes).

    AffectNet's published 287,651 training images give 3,595 of each of 8 classes for 10 %. The
    paper draws 28,608 = 8 x 3,576: this rule's size for 286,080 to 286,159 images, as if 0.5 % of
    the faces had not been detected. It does not say so: its runs name 3,576 themselves.

    Raises:
        Face2ExpError: if not even one of each is left.
    """
    per_class = int(_share(num_images, percent) / num_classes)
    if per_class == 0:
        raise Face2ExpError(
            f"{percent:g} % of {num_images} images are less than one of each of {num_classes} "
            "classes: ask for more"
        )
    return per_class


def proportional_draw(
    labels: np.ndarray,
    names: Sequence[str],
    *,
    percent: float,
    ratios: Literal["exact", "random"],
    seed: int,
    purpose: str,
) -> np.ndarray:
    """floor(percent / 100 * N) samples without replacement, unbalanced (paper 4.4, RAF-DB).

    Args:
        labels: (N,) integer class codes.
        names: class names in code order.
        percent: over 0, up to 100; 100 takes everything.
        ratios: `exact` draws in each class its own share, rounded so that the total fits (the
            largest remainders up; of equal ones the first class), `random` draws from all samples
            alike.
        seed, purpose: what the draw depends on beside the labels.

    Returns:
        Sorted indices into `labels`.

    Raises:
        Face2ExpError: if a class that has samples is left without one.
    """
    total = int(_share(len(labels), percent))
    if ratios == "random":
        generator = numpy_generator(seed, f"smp/{purpose}/random")
        drawn = generator.choice(len(labels), size=total, replace=False)
    else:
        shares = [_share(count, percent) for count in class_counts(labels, names).values()]
        sizes = [int(share) for share in shares]
        by_remainder = sorted(range(len(names)), key=lambda code: sizes[code] - shares[code])
        for code in by_remainder[: total - sum(sizes)]:
            sizes[code] += 1
        drawn = np.concatenate(
            [
                numpy_generator(seed, f"smp/{purpose}", code).choice(
                    np.flatnonzero(labels == code), size=size, replace=False
                )
                for code, size in enumerate(sizes)
            ]
        )
    before, after = class_counts(labels, names), class_counts(labels[drawn], names)
    for name, count in before.items():
        if count and not after[name]:
            raise Face2ExpError(
                f"class '{name}' has {count} images, and {percent:g} % of all leave the {purpose} "
                "draw none of them: ask for more"
            )
    return np.sort(drawn)


def _share(count: int, percent: float) -> Fraction:
    """Percent of a count without rounding: 0.29 * 100 is less than 29 in floating point."""
    return Fraction(str(percent)) * count / 100


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


class BalancedBatches(Sampler[list[int]]):
    """Batches with every class alike, for labels that are not: batch t is a function of (seed,
    stream, t).

    The stream is a row of rounds, each with one sample of every class in random order. A class runs
    through one random permutation of its samples after another, so rare ones return more often.
    """

    def __init__(
        self,
        labels: np.ndarray,
        batch_size: int,
        *,
        start: int,
        stop: int,
        seed: int,
        stream: str,
    ) -> None:
        codes = np.unique(labels)
        self.members = [np.flatnonzero(labels == code) for code in codes]
        self.batch_size, self.start, self.stop = batch_size, start, stop
        self.seed, self.stream = seed, stream

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        num_classes = len(self.members)
        orders: dict[int, tuple[int, np.ndarray]] = {}  # of a class: its epoch and permutation
        classes_of_round = (-1, np.empty(0, dtype=np.int64))
        for step in range(self.start, self.stop):
            batch = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                round_, place = divmod(position, num_classes)
                if classes_of_round[0] != round_:
                    generator = numpy_generator(self.seed, f"batches/{self.stream}/round", round_)
                    classes_of_round = round_, generator.permutation(num_classes)
                index = int(classes_of_round[1][place])
                epoch, sample = divmod(round_, len(self.members[index]))
                if index not in orders or orders[index][0] != epoch:
                    generator = numpy_generator(
                        self.seed, f"batches/{self.stream}/class", index, epoch
                    )
                    orders[index] = epoch, generator.permutation(self.members[index])
                batch.append(int(orders[index][1][sample]))
            yield batch
