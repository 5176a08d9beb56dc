"""Copies of images within and across sets: which they are, and what training should drop."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from face2exp_lib.data.lists import write_table
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.preparation.audited_sets import AuditedSet, distinct
from face2exp_lib.preparation.fingerprints import Pictures, near_pairs, read_pictures
from face2exp_lib.runtime.errors import Face2ExpError

# The largest distance at which pairs of FER2013 and of LFW were all the same photograph; up to 64
# FER2013's still mostly are, while LFW's, which are aligned, begin to be other people.
NEAR = 40
COLUMNS = ("set", "path", "image", "group", "kind", "label", "distance", "drop", "reason")
KINDS = ("exact", "pixels", "near")


class Found(NamedTuple):
    """One image that has a copy.

    Attributes:
        set_name, origin, image: which.
        group: the same number for all that exact or near copies connect.
        kind: the closest relation to another image, one of `KINDS`.
        label: class name, or empty.
        distance: bits in which the hash differs from the nearest other one.
        drop: training should leave it out.
        reason: why, or which image it is like.
    """

    set_name: str
    origin: str
    image: str
    group: int
    kind: str
    label: str
    distance: int
    drop: bool
    reason: str


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        found: the images that have copies, by group, set and id.
        exact_groups, pixel_groups: groups of images with the same bytes; with the same pixels.
        redundant: images less different ones, by their bytes.
        conflicting: groups with the same pixels and different labels.
        near_pairs: pairs of different pictures within the distance.
        between: (A, B) -> by kind the number of images of A that have such a copy in B; an image is
            counted with the closest one alone.
        unreadable: a message for each image that cannot be decoded; it is left out of all counts.
    """

    found: list[Found]
    exact_groups: int
    pixel_groups: int
    redundant: int
    conflicting: int
    near_pairs: int
    between: dict[tuple[str, str], dict[str, int]]
    unreadable: list[str]


def audit(
    sets: Sequence[AuditedSet], *, max_distance: int = NEAR, drop_near: bool = False
) -> Audit:
    """Find the copies in all sets together and say which ones training should drop.

    Of the images for training these are: copies of an evaluation image (with `drop_near` near ones,
    too), labelled images of a group whose labels disagree, and all copies but the first.

    Args:
        sets: in this order the first of several copies is kept.
        max_distance: of near copies, in bits; -1 looks for none.

    Raises:
        Face2ExpError: if nothing can be read, or there are too many near copies to list.
    """
    sets = distinct(sets)
    names = [audited.faces.name for audited in sets]
    pictures = read_pictures([audited.faces for audited in sets])
    if len(pictures.ids) == 0:
        raise Face2ExpError(f"{', '.join(names)}: no image can be read")
    first_of = np.unique(pictures.pixels, return_index=True)[1]  # pixel code -> first image
    left, right, distance = near_pairs(pictures.hashes[first_of], max_distance)
    exact, same = np.bincount(pictures.stored), np.bincount(pictures.pixels)
    num_labels = _different_labels(pictures)
    return Audit(
        _findings(sets, pictures, first_of, (left, right, distance), num_labels, drop_near),
        exact_groups=int((exact > 1).sum()),
        pixel_groups=int((same > 1).sum()),
        redundant=len(pictures.ids) - len(exact),
        conflicting=int((num_labels > 1).sum()),
        near_pairs=len(left),
        between=_between(names, pictures, left, right),
        unreadable=pictures.unreadable,
    )


def write_audit(path: Path | str, found: Sequence[Found]) -> None:
    """Write the table that `data.drop` of a config takes."""
    path = Path(path)
    rows = [(*one[:-2], "yes" if one.drop else "no", one.reason) for one in found]
    write_table(path, COLUMNS, rows)


def _different_labels(pictures: Pictures) -> np.ndarray:
    """Of each picture the number of labels that its copies have, (P,)."""
    labelled = pictures.labels >= 0
    pairs = np.stack([pictures.pixels[labelled], pictures.labels[labelled]])
    return np.bincount(np.unique(pairs, axis=1)[0], minlength=int(pictures.pixels.max()) + 1)


def _between(
    names: list[str], pictures: Pictures, left: np.ndarray, right: np.ndarray
) -> dict[tuple[str, str], dict[str, int]]:
    """Of each two sets the number of images that have a copy in the other, by kind."""

    def copies(codes: np.ndarray) -> np.ndarray:
        """(codes, sets) how often each code lies in each set."""
        counts = np.zeros((int(codes.max()) + 1, len(names)), np.int64)
        np.add.at(counts, (codes, pictures.set_of), 1)
        return counts

    in_bytes, in_pixels = copies(pictures.stored), copies(pictures.pixels)
    near = np.zeros_like(in_pixels)
    np.add.at(near, left, in_pixels[right])
    np.add.at(near, right, in_pixels[left])
    itself = np.eye(len(names), dtype=np.int64)[pictures.set_of]
    exact = in_bytes[pictures.stored] - itself > 0
    same = (in_pixels[pictures.pixels] - itself > 0) & ~exact
    alike = (near[pictures.pixels] > 0) & ~exact & ~same
    return {
        (name, other): {
            kind: int(has[pictures.set_of == index, column].sum())
            for kind, has in zip(KINDS, (exact, same, alike), strict=True)
        }
        for index, name in enumerate(names)
        for column, other in enumerate(names)
    }


def _findings(
    sets: Sequence[AuditedSet],
    pictures: Pictures,
    first_of: np.ndarray,
    near: tuple[np.ndarray, np.ndarray, np.ndarray],
    num_labels: np.ndarray,
    drop_near: bool,
) -> list[Found]:
    left, right, distance = near
    num_pictures = len(first_of)
    links = coo_array((np.ones(len(left), bool), (left, right)), (num_pictures, num_pictures))
    group_of = connected_components(links, directed=False)[1]
    evaluation = np.array([audited.evaluation for audited in sets])[pictures.set_of]
    exact, same = np.bincount(pictures.stored), np.bincount(pictures.pixels)
    held_out = _first(pictures.pixels, np.flatnonzero(evaluation))
    kept = _first(pictures.pixels, np.flatnonzero(~evaluation))
    nearest = _nearest(left, right, distance)
    nearest_held_out = _nearest(left, right, distance, held_out)

    def names(index: int) -> str:
        return f"{sets[pictures.set_of[index]].faces.name}: {pictures.ids[index]}"

    def judge(index: int) -> tuple[bool, str]:
        picture = int(pictures.pixels[index])
        label = int(pictures.labels[index])
        if evaluation[index]:
            return False, "an evaluation image: kept, whatever its copies"
        if picture in held_out:
            return True, f"copy of {names(held_out[picture])}"
        if num_labels[picture] > 1 and label >= 0:
            return True, "its copies have other labels"
        if kept[picture] != index:
            return True, f"copy of {names(kept[picture])}"
        if drop_near and picture in nearest_held_out:
            other, bits = nearest_held_out[picture]
            return True, f"{bits} bits from {names(held_out[other])}"
        if same[picture] > 1:
            return False, "the first of its copies"
        other, bits = nearest[picture]
        return False, f"{bits} bits from {names(int(first_of[other]))}"

    found = []
    label_names = {-1: "", **dict(enumerate(class_names(8)))}
    numbers: dict[int, int] = {}
    for index, picture in enumerate(pictures.pixels.tolist()):
        if same[picture] == 1 and picture not in nearest:
            continue
        several = same[picture] > 1
        kind = "exact" if exact[pictures.stored[index]] > 1 else "pixels" if several else "near"
        drop, reason = judge(index)
        found.append(
            Found(
                sets[pictures.set_of[index]].faces.name,
                sets[pictures.set_of[index]].faces.origin,
                pictures.ids[index],
                numbers.setdefault(int(group_of[picture]), len(numbers) + 1),
                kind,
                label_names[int(pictures.labels[index])],
                0 if several else nearest[picture][1],
                drop,
                reason,
            )
        )
    return sorted(found, key=lambda one: one.group)


def _first(codes: np.ndarray, indices: np.ndarray) -> dict[int, int]:
    """Code -> the first of `indices` that has it."""
    values, first = np.unique(codes[indices], return_index=True)
    return dict(zip(values.tolist(), indices[first].tolist(), strict=True))


def _nearest(
    left: np.ndarray,
    right: np.ndarray,
    distance: np.ndarray,
    among: dict[int, int] | None = None,
) -> dict[int, tuple[int, int]]:
    """Picture -> its nearest other one (of `among`) and the distance to it."""
    nearest: dict[int, tuple[int, int]] = {}
    order = np.argsort(distance, kind="stable")
    for one, other, bits in _pairs(left[order], right[order], distance[order]):
        if among is None or other in among:
            nearest.setdefault(one, (other, bits))
    return nearest


def _pairs(*columns: np.ndarray) -> Iterator[tuple[int, int, int]]:
    for one, other, bits in zip(*(column.tolist() for column in columns), strict=True):
        yield one, other, bits
        yield other, one, bits
