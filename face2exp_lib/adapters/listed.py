"""Any csv of `path,label`."""

from pathlib import Path

import numpy as np

from face2exp_lib.adapters.adapter import Adapter
from face2exp_lib.adapters.tables import (
    BadRows,
    Entry,
    Root,
    find_image,
    must_exist,
    read_table,
    set_name,
    unique,
)
from face2exp_lib.facesets import FaceSet
from face2exp_lib.images import FileImages
from face2exp_lib.labels import CODES, LEFT_OUT

COLUMNS = {"path", "label"}


def read_listed(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """A csv file with the columns `path` and `label`; paths are relative to its folder.

    A column `part` is compared with `part`, a column `identity` is kept.
    """
    must_exist(root, "expected a csv file of path,label")
    bad, entries, images = BadRows(skip_bad), [], Root(root.parent)
    for line, row in read_table(root, COLUMNS | ({"part"} if part else set()), bad):
        if part and row["part"] != part:
            continue
        where = f"{root}, line {line}"
        label = bad.label(row["label"], codes, row["path"], where)
        image = None if label is None else find_image(images, row["path"], where, bad)
        if image is not None:
            entries.append(Entry(line, image, (label, row.get("identity"))))
    entries = unique(entries, root, bad)
    bad.must_leave(len(entries), root, f"no usable row of part '{part}'")
    identities = [entry.values[1] for entry in entries]
    return FaceSet(
        set_name(root, part),
        FileImages(images.folder, [entry.image for entry in entries]),
        np.arange(len(entries)),
        np.array([entry.values[0] for entry in entries], dtype=np.int64),
        None if identities[0] is None else np.array(identities),
        skipped=tuple(bad.skipped),
    )


def recognise(path: Path) -> list[tuple[str, str]]:
    """A file that begins with both column names."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = [name.strip('"') for name in file.readline(1000).strip().split(",")]
    if not set(header) >= COLUMNS:
        return []
    labels, parts = set(), set()
    for _, row in read_table(path, COLUMNS, BadRows(skip_bad=True)):
        labels.add(row["label"].strip().lower())
        parts.add(row.get("part", ""))
    known = {codes: table.keys() | LEFT_OUT.get(codes, {}).keys() for codes, table in CODES.items()}
    codes = max(("names", "rafdb", "affectnet", "fer2013"), key=lambda c: len(labels & known[c]))
    return [(part, codes) for part in sorted(parts)]


LISTED = Adapter(
    name="listed",
    title="A table of paths and labels",
    read=read_listed,
    recognise=recognise,
    layout="""\
faces.csv       path, label; also part and identity, if you have them
any/a.jpg       paths are relative to the table's folder and stay below it""",
    example="{format: listed, path: mine/faces.csv}",
    codes="names",
    state="That of the images.",
    notes="Labels are class names, or codes of the table that `codes` names.",
)
