"""Which code table a set's labels follow, where nobody says it.

Numbers alone fit several tables, and a wrong one shows nowhere but in the counts. So names speak
for themselves, a layout that only one set has speaks for its codes, and beside them the published
class counts alone may decide. Where they do not, somebody has to be asked.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from face2exp_lib.data.formats.published import (
    EVERY,
    MAX_DISTANCE,
    MIN_GAIN,
    Published,
    comparable,
    distance,
)
from face2exp_lib.data.sets.labels import CODES, LEFT_OUT, UNUSUAL, left_out, plain_label
from face2exp_lib.runtime.errors import Face2ExpError

TABLES = tuple(codes for codes in CODES if codes != "names")
MOST_UNKNOWN = 0.02  # of the images: mistakes in a list, not another numbering
LITTLE_NATS = 3.0  # by which the counts may speak for another table without deciding anything
UNKNOWN_NATS = 14.0  # what an image counts that a table has no expression for: one in a million


class Chosen(NamedTuple):
    """The table that a set's labels are looked up in.

    Attributes:
        codes: key of `labels.CODES`.
        note: why, where it went without saying for nobody; else empty.
    """

    codes: str
    note: str = ""


def choose_codes(counts: Mapping[str, int], own: str, where: str) -> Chosen:
    """The table that a set's labels follow.

    Args:
        counts: label as it stands there -> number of images.
        own: the table of the set that alone has this layout, or "names" where any set may have it.
        where: what the error is about.

    Raises:
        Face2ExpError: if two tables fit and the counts decide for neither, or none fits.
    """
    numbers: dict[str, int] = {}
    for text, count in counts.items():
        label = plain_label(text)
        if label.isdecimal():
            numbers[label] = numbers.get(label, 0) + count
    fitting = [codes for codes in TABLES if _fits(codes, numbers)]
    complete = [c for c in fitting if c not in UNUSUAL and numbers.keys() >= _seven(c)]
    if not numbers or own in fitting or (own != "names" and not complete):
        return Chosen(own)
    if not fitting:  # reading then names the label that no table has
        return Chosen(max(TABLES, key=lambda codes: len(numbers.keys() & _known(codes))))
    likely = ranked(numbers)
    best, published, codes = likely[0]
    labels = _listed(numbers)
    if published and (len(likely) == 1 or best - likely[1][0] >= MIN_GAIN):
        why = f"since their counts are like those of {published.title}"
    elif len(complete) == 1 and any(
        codes == complete[0] and nats > best - LITTLE_NATS for nats, _, codes in likely
    ):
        codes, why = complete[0], "the one known table that numbers so"
    else:
        first = min(numbers, key=int)
        whole = [codes for codes in fitting if numbers.keys() <= _known(codes)]
        may = ", ".join(f"'{c}' ({first} is {_meaning(first, c)})" for c in whole or fitting)
        raise Face2ExpError(
            f"{where}: its labels {labels} may be those of {may}, and the class counts do not tell "
            "which: say it, as `codes: NAME` of a source in a config or as --codes NAME, or give "
            "a mapping of your own (`codes: {0: anger, ...}`, or a YAML file of such lines)"
        )
    return Chosen(
        codes,
        f"its labels {labels} are read by the codes '{codes}', {why}: `codes: {codes}` settles it",
    )


def ranked(numbers: Mapping[str, int]) -> list[tuple[float, Published | None, str]]:
    """The tables that fit some numbers, the likeliest first: by how many nats, whose published
    shares the counts are then like (None: nobody's), and its name.

    Args:
        numbers: `plain_label` -> number of images.
    """
    fitting = [codes for codes in TABLES if _fits(codes, numbers)]
    likely = [(*_likelihood(codes, numbers), codes) for codes in fitting]
    return sorted(likely, key=lambda one: -one[0])


def _fits(codes: str, numbers: Mapping[str, int]) -> bool:
    """Whether a table has the numbers of all images but a few, which then are bad rows."""
    unknown = sum(count for number, count in numbers.items() if number not in _known(codes))
    return unknown <= MOST_UNKNOWN * sum(numbers.values())


def _known(codes: str) -> set[str]:
    return {*CODES[codes], *LEFT_OUT.get(codes, {})}


def _seven(codes: str) -> set[str]:
    """The numbers of the seven expressions, without contempt."""
    return {number for number, label in CODES[codes].items() if label.name != "CONTEMPT"}


def _meaning(number: str, codes: str) -> str:
    label = CODES[codes].get(number)
    return label.name.lower() if label is not None else left_out(number, codes) or "unknown"


def _likelihood(codes: str, numbers: Mapping[str, int]) -> tuple[float, Published | None]:
    """How likely the counts are, in nats, under the published shares that they are most like, and
    whose these are; None where they are like none."""
    counts: dict[str, int] = {}
    unlikely = 0.0
    for number, count in numbers.items():
        if number in CODES[codes]:
            counts[CODES[codes][number].name.lower()] = count
        elif number not in _known(codes):
            unlikely += count * UNKNOWN_NATS
    best: tuple[float, Published | None] = (-math.inf, None)
    for published in EVERY:
        shares = comparable(counts, published)
        if any(count and not shares.get(name) for name, count in counts.items()):
            continue
        total = sum(shares.values())
        nats = sum(
            count * math.log(shares[name] / total) for name, count in counts.items() if count
        )
        same = counts == shares
        if same:  # the published numbers themselves are proof, however near another order is
            nats += MIN_GAIN
        if nats - unlikely > best[0]:
            like = same or distance(counts, shares) <= MAX_DISTANCE
            best = (nats - unlikely, published if like else None)
    return best


def _listed(numbers: Mapping[str, int]) -> str:
    """Numbers for people: `0 to 6`, or `0, 1, 7`."""
    values = sorted(map(int, numbers))
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"{values[0]} to {values[-1]}"
    return ", ".join(map(str, values))
