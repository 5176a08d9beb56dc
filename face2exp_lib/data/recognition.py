"""Which sets lie at a path: one answer for every verb that is given one."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.formats.folders import class_like, part_like
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.reading import read_set
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.runtime.errors import Face2ExpError

FOLDERS = ("class_folders", "identity_folders")
MAX_INNER = 200  # folders below an outer one that are looked into


class Found(NamedTuple):
    """One part of a set.

    Attributes:
        adapter: the format of its layout.
        path: where the set lies: at the path that was given, or inside.
        part: which of its parts; a path may hold one of each name in two layouts.
        notes: what somebody has to know of how it was found.
    """

    adapter: Format
    path: Path
    part: str
    notes: tuple[str, ...] = ()


def find_sets(path: Path | str) -> list[Found]:
    """What lies at a path. An outer folder with one set inside stands for that.

    Raises:
        Face2ExpError: if nothing is there, no known layout fits, or several sets lie inside.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise Face2ExpError(f"{path}: no such file or folder")
    found = _specific(path)
    if found:
        return found
    if path.is_file():
        raise Face2ExpError(
            f"{path}: no layout fits: a file must be fer2013.csv (emotion,pixels,Usage) or a csv "
            "with the columns path,label"
        )
    classes, persons = (
        [Found(FORMATS[name], path, part) for part in FORMATS[name].recognise(path)]
        for name in FOLDERS
    )
    if not classes:
        inner = sorted(_inner_sets(path))
        if len(inner) > 1:
            listed = " or ".join(f"{place} ({formats})" for place, formats in inner)
            raise Face2ExpError(f"{path}: an outer folder: give {listed}")
        if inner:
            place = inner[0][0]
            note = f"{path} is an outer folder: this is {place}"
            return [one._replace(notes=(note, *one.notes)) for one in find_sets(place)]
    apart = [one.part for one in persons if one.part and _specific(path / one.part)]
    found = [*classes, *(one for one in persons if one.part not in apart)]
    notes = tuple(f"{part} is a set by itself: give {path / part}" for part in apart)
    return [found[0]._replace(notes=notes), *found[1:]]


def read_sets(text: str, codes: Codes | None = None) -> list[FaceSet]:
    """The sets that `find_sets` finds at a path, or one of them as `path:part`; what cannot be used
    is left out and listed.

    Where one part has two layouts, such as FERPlus' votes beside Kaggle's table, it is read once,
    by the one that says more.

    Raises:
        Face2ExpError: if nothing is there, no layout fits, the part is missing, or nobody says what
            its numbers mean.
    """
    path, part = Path(text).expanduser(), None
    if not path.exists() and ":" in text:
        head, _, part = text.rpartition(":")
        path = Path(head).expanduser()
    if not path.exists():
        raise Face2ExpError(f"{text}: no such file or folder: give PATH or PATH:PART")
    parts: dict[str, Found] = {}
    for found in find_sets(path):
        parts.setdefault(found.part, found)
    if part is not None and part not in parts:
        has = ", ".join(sorted(name for name in parts if name)) or "none"
        raise Face2ExpError(f"{path}: no part '{part}': it has {has}")
    return [read_found(found, codes) for found in parts.values() if part in (None, found.part)]


def read_found(found: Found, codes: Codes | None = None) -> FaceSet:
    """Read a part that was found; what cannot be used is left out and listed."""
    faces = read_set(found.adapter, found.path, found.part, codes, skip_bad=True)
    return faces.noted(*found.notes)


def _specific(path: Path) -> list[Found]:
    return [
        Found(adapter, path, part)
        for adapter in FORMATS.values()
        if adapter.name not in FOLDERS
        for part in adapter.recognise(path)
    ]


def _inner_sets(path: Path) -> Iterator[tuple[Path, str]]:
    """Folders one or two levels below that are sets by themselves, with their layouts."""
    below = [inner for child in part_like(path) for inner in (child, *class_like(child))]
    claimed: list[Path] = []
    for inner in islice(below, MAX_INNER):
        if any(outer in inner.parents for outer in claimed):
            continue
        formats = {found.adapter.name for found in _specific(inner)}
        if not formats and FORMATS["class_folders"].recognise(inner):
            formats = {"class_folders"}
        if formats:
            claimed.append(inner)
            yield inner, ", ".join(sorted(formats))
