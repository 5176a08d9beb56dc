"""Any csv of paths and labels."""

from collections import Counter
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.codes import choose_codes
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import Root, find_image, must_exist, set_name, set_origin
from face2exp_lib.data.formats.published import EVERY
from face2exp_lib.data.formats.tables import (
    BadRows,
    Entry,
    first_line,
    plain_columns,
    read_table,
    unique,
)
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.labels import Codes, codes_name
from face2exp_lib.runtime.errors import Face2ExpError

COLUMNS = {"path", "label"}
# What else people call the two columns.
ALSO = {
    **dict.fromkeys(
        ("filename", "file_name", "file", "filepath", "file_path", "image", "image_path", "img"),
        "path",
    ),
    **dict.fromkeys(("emotion", "expression", "class", "target"), "label"),
}


def read_listed(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """A csv file with the columns `path` and `label`; paths are relative to its folder.

    A column `part` is compared with `part`, a column `identity` is kept.
    """
    must_exist(root, "expected a csv file of path,label")
    bad, entries, images = BadRows(skip_bad), [], Root(root.parent)
    rows = list(read_table(root, COLUMNS | ({"part"} if part else set()), bad, also=ALSO))
    note = ""
    if codes is None:  # parts of one table are numbered alike
        codes, note = choose_codes(Counter(row["label"] for _, row in rows), "names", f"{root}")
    for line, row in rows:
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
        origin=set_origin(root, part),
        codes=codes_name(codes),
        notes=(note,) if note else (),
    )


def recognise(path: Path) -> list[str]:
    """A file that begins with both column names."""
    if not path.is_file():
        return []
    names = {ALSO.get(name, name) for name in plain_columns(first_line(path))[1]}
    if not names >= COLUMNS:
        return []
    rows = read_table(path, COLUMNS, BadRows(skip_bad=True), also=ALSO)
    try:
        return sorted({row.get("part", "") for _, row in rows})
    except Face2ExpError:
        return [""]  # reading tells what is wrong with it


LISTED = Format(
    name="listed",
    title="A table of paths and labels",
    read=read_listed,
    recognise=recognise,
    layout="""\
faces.csv       path, label; also part and identity, if you have them; the first two also as
                filename, image, ... and emotion, expression, class; or with ; or tabs
any/a.jpg       paths are relative to the table's folder and stay below it""",
    example="{format: listed, path: mine/faces.csv}",
    codes="names",
    state="That of the images.",
    published=EVERY,
    notes="Labels are class names, or codes of the table that `codes` names.",
)
