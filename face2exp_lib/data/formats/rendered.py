"""Packs of rendered faces: a zip of images and a table for each part."""

import zipfile
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import must_exist, set_origin
from face2exp_lib.data.formats.tables import BadRows, Entry, read_table, unique
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import is_left_behind
from face2exp_lib.data.sets.images import ZipImages
from face2exp_lib.data.sets.labels import Codes, codes_name
from face2exp_lib.runtime.errors import Face2ExpError


def read_rendered(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """One part of a rendered pack: `<part>.zip` with images, `<part>.csv` with a row for each.

    The FR part's csv has no expression column; its truth lies in a file that is not read here.
    """
    table, archive = root / f"{part}.csv", root / f"{part}.zip"
    must_exist(table, f"the parts of a rendered pack are {_parts(root)}")
    must_exist(archive, "the pack is incomplete: fetch or render it again")
    bad, entries, members = BadRows(skip_bad), [], _members(archive)
    for line, row in read_table(table, {"image", "identity"}, bad):
        where, image = f"{table}, line {line}", row["image"]
        if image not in members:
            bad.add(image, where, "no such image", f": {archive.name} has no {image}")
            continue
        label = None
        if "expression" in row:
            label = bad.label(row["expression"], codes or "names", image, where)
            if label is None:
                continue
        entries.append(Entry(line, image, (label, row["identity"])))
    entries = unique(entries, table, bad)
    bad.must_leave(len(entries), table, "no row: fetch or render the pack again")
    labels = [entry.values[0] for entry in entries]
    return FaceSet(
        part,
        ZipImages(archive, [entry.image for entry in entries]),
        np.arange(len(entries)),
        None if labels[0] is None else np.array(labels, dtype=np.int64),
        np.array([entry.values[1] for entry in entries]),
        skipped=tuple(bad.skipped),
        origin=set_origin(table),
        codes="" if labels[0] is None else codes_name(codes or "names"),
    )


def recognise(path: Path) -> list[str]:
    """Every zip with a table beside it."""
    if not path.is_dir():
        return []
    return [
        zipped.stem
        for zipped in sorted(path.glob("*.zip"))
        if zipped.with_suffix(".csv").exists() and not is_left_behind(zipped.name)
    ]


def _members(archive: Path) -> set[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return set(opened.namelist())
    except Exception as error:  # a damaged directory makes zipfile raise nearly anything
        raise Face2ExpError(
            f"{archive}: not a readable zip ({error}): fetch or render it again"
        ) from error


def _parts(root: Path) -> str:
    return ", ".join(sorted(path.stem for path in root.glob("*.zip"))) or f"none in {root}"


RENDERED = Format(
    name="rendered",
    title="Rendered faces",
    read=read_rendered,
    recognise=recognise,
    layout="""\
fer_train.zip   images
fer_train.csv   image, expression, identity, and the truth about pose and light
fr.zip          "unlabelled" images
fr.csv          image, identity""",
    example="{format: rendered, part: fer_train}",
    codes="names",
    state="Public domain (CC0). In the package: leave `path` out.",
    notes="Parts are `fer_train`, `fer_val`, `fer_test` and `fr`.",
)
