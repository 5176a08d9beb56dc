"""Published class counts, and whether the counts at hand fit another label order better."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# How much likelier, in nats, another order must make the counts before it is spoken of, and how far
# the shares may then be from the published ones (total variation): a set of another make fits none.
MIN_GAIN = 10.0
MAX_DISTANCE = 0.1


@dataclass(frozen=True)
class Published:
    """Class counts of one part of a set as its makers or its users published them.

    Attributes:
        title: set and part, for people.
        is_train: a training part.
        codes: table of the set's codes in `labels.CODES`.
        counts: class name -> number of images; classes it does not have are left out.
    """

    title: str
    is_train: bool
    codes: str
    counts: Mapping[str, int]


def _named(text: str) -> dict[str, int]:
    return {name: int(count) for name, count in (entry.split() for entry in text.split(", "))}


RAFDB_TRAIN = Published(
    "RAF-DB train",
    True,
    "rafdb",
    _named("surprise 1290, fear 281, disgust 717, happy 4772, sad 1982, anger 705, neutral 2524"),
)
RAFDB_TEST = Published(
    "RAF-DB test",
    False,
    "rafdb",
    _named("surprise 329, fear 74, disgust 160, happy 1185, sad 478, anger 162, neutral 680"),
)
AFFECTNET_TRAIN = Published(
    "AffectNet train",
    True,
    "affectnet",
    _named(
        "neutral 74874, happy 134415, sad 25459, surprise 14090, fear 6378, disgust 3803, "
        "anger 24882, contempt 3750"
    ),
)
AFFECTNET_VAL = Published(
    "AffectNet val",
    False,
    "affectnet",
    _named(
        "neutral 500, happy 500, sad 500, surprise 500, fear 500, disgust 500, anger 500, "
        "contempt 500"
    ),
)
FER2013_TRAIN = Published(
    "FER2013 Training",
    True,
    "fer2013",
    _named("anger 3995, disgust 436, fear 4097, happy 7215, sad 4830, surprise 3171, neutral 4965"),
)
FER2013_PUBLIC = Published(
    "FER2013 PublicTest",
    False,
    "fer2013",
    _named("anger 467, disgust 56, fear 496, happy 895, sad 653, surprise 415, neutral 607"),
)
FER2013_PRIVATE = Published(
    "FER2013 PrivateTest",
    False,
    "fer2013",
    _named("anger 491, disgust 55, fear 528, happy 879, sad 594, surprise 416, neutral 626"),
)
EXPW_ALL = Published(
    "ExpW",
    True,
    "fer2013",
    _named(
        "anger 3671, disgust 3995, fear 1088, happy 30537, sad 10559, surprise 7060, neutral 34883"
    ),
)
RAFDB = (RAFDB_TRAIN, RAFDB_TEST)
AFFECTNET = (AFFECTNET_TRAIN, AFFECTNET_VAL)
FER2013 = (FER2013_TRAIN, FER2013_PUBLIC, FER2013_PRIVATE)
EXPW = (EXPW_ALL,)
EVERY = (*RAFDB, *AFFECTNET, *FER2013, *EXPW)


def distance(counts: Mapping[str, int], published: Mapping[str, int]) -> float:
    """Total variation between the shares, 0 to 1."""
    total, of_published = sum(counts.values()) or 1, sum(published.values())
    names = counts.keys() | published.keys()
    return 0.5 * math.fsum(  # in whatever order the names come
        abs(counts.get(name, 0) / total - published.get(name, 0) / of_published) for name in names
    )


def comparable(counts: Mapping[str, int], published: Published) -> dict[str, int]:
    """The published counts, without contempt where seven classes are at hand."""
    if counts.get("contempt", 0):
        return dict(published.counts)
    return {name: count for name, count in published.counts.items() if name != "contempt"}


def distance_in_any_order(counts: Mapping[str, int], published: Published) -> float:
    """`distance` of the sorted shares."""
    ours = sorted(counts.values(), reverse=True)
    theirs = sorted(comparable(counts, published).values(), reverse=True)
    return distance(
        {str(i): n for i, n in enumerate(ours)}, {str(i): n for i, n in enumerate(theirs)}
    )


def nearest(
    counts: Mapping[str, int], candidates: Sequence[Published], *, is_train: bool | None
) -> Published | None:
    """The published part that these are the counts of, in whatever order, if one fits.

    A part with the same numbers comes first, then one of the same kind (training or not) of a set
    that is known; among several, the one whose sorted shares are nearest.

    Args:
        counts: class name -> number of images, in the order given.
        candidates: parts to compare with.
        is_train: the kind of part, or None if its name does not tell.
    """
    for published in candidates:
        theirs = sorted(comparable(counts, published).values())
        if theirs == sorted(n for n in counts.values() if n):
            return published
    same_kind = [p for p in candidates if is_train is None or p.is_train == is_train]
    fitting = [p for p in same_kind if distance_in_any_order(counts, p) <= MAX_DISTANCE]
    return min(fitting, key=lambda p: distance_in_any_order(counts, p), default=None)


def fitting_order(counts: Mapping[str, int], published: Mapping[str, int]) -> dict[str, str]:
    """Which class each class would have to be for the counts to fit.

    Two classes at a time are exchanged as long as that makes the counts likelier. The published
    numbers themselves in another order count as proof, however near the numbers are.

    Returns:
        given class -> class whose published number it has; empty if the given order fits.
    """
    names = [name for name in counts if published.get(name)]
    given = {name: counts[name] for name in names}
    if any(counts[name] for name in counts if name not in names):
        return {}
    if all(given[name] == published[name] for name in names):
        return {}
    exact = sorted(given.values()) == sorted(published[name] for name in names)
    order = {name: name for name in names}

    def gain(a: str, b: str) -> float:
        share = math.log(published[order[b]] / published[order[a]])
        return (given[a] - given[b]) * share

    while True:
        pairs = [(gain(a, b), a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        best, a, b = max(pairs, default=(0.0, "", ""))
        if best <= (1e-9 if exact else MIN_GAIN):
            break
        order[a], order[b] = order[b], order[a]
    as_ordered = {order[name]: given[name] for name in names}
    if distance(as_ordered, published) > MAX_DISTANCE:
        return {}
    return {name: meant for name, meant in order.items() if name != meant}
