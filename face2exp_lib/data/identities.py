"""Persons as classes: what FR faces are labelled with by nature, for a network to learn from."""

from dataclasses import dataclass, replace

import numpy as np

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator


@dataclass(frozen=True)
class Identities:
    """The images of persons with two or more, in two parts.

    Attributes:
        train, held_out: sets whose `labels` are numbers of persons, 0 to `number` - 1; each person
            is in both.
        number: of persons.
        alone: persons with one image, which are left out.
    """

    train: FaceSet
    held_out: FaceSet
    number: int
    alone: int


def split_identities(faces: FaceSet, share: float, seed: int) -> Identities:
    """Hold out a share of each person's images, at least one, and leave at least one.

    Args:
        faces: with identities.
        share: in 0 .. 1, rounded down.
        seed: of the draw.

    Raises:
        Face2ExpError: if the set does not say who is who, or shows fewer than two persons twice.
    """
    if faces.identities is None:
        raise Face2ExpError(
            f"{faces.name}: does not say whose faces it holds, which pre-training learns: take "
            "the rendered `fr`, folders of persons such as LFW's or VGGFace2's, a RecordIO pack "
            "such as WebFace's, or CelebA"
        )
    _, names, counts = np.unique(faces.identities, return_inverse=True, return_counts=True)
    several = counts > 1
    number = int(several.sum())
    if number < 2:
        raise Face2ExpError(
            f"{faces.name}: {number} of its {len(counts)} persons have two images or more, and "
            "pre-training tells at least two apart: take another set"
        )
    rows = np.flatnonzero(several[names])
    labels = (np.cumsum(several) - 1)[names[rows]]
    # Each person's images in random order, one person after the other.
    drawn = numpy_generator(seed, "identities").random(len(rows))
    order = np.lexsort((drawn, labels))
    sizes = counts[several]
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    is_held_out = np.empty(len(rows), dtype=bool)
    is_held_out[order] = place < np.maximum(1, (share * sizes).astype(np.int64))[labels[order]]
    train, held_out = (
        replace(faces.subset(rows[chosen], name), labels=labels[chosen])
        for chosen, name in (
            (~is_held_out, f"{faces.name} (persons)"),
            (is_held_out, f"{faces.name} (held out)"),
        )
    )
    return Identities(train, held_out, number, len(counts) - number)


def some_identities(faces: FaceSet, most: int, seed: int) -> FaceSet:
    """All images of some persons, at most so many but those of one person in any case: pairs of
    one person's would be rare among images drawn alike.

    Args:
        faces: whose labels are numbers of persons.
        most: images.
        seed: of the draw.
    """
    labels = faces.known_labels()
    persons, counts = np.unique(labels, return_counts=True)
    order = numpy_generator(seed, "identities/some").permutation(len(persons))
    fit = max(1, int((np.cumsum(counts[order]) <= most).sum()))
    return faces.subset(np.flatnonzero(np.isin(labels, persons[order[:fit]])))
