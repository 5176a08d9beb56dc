"""ExpW: faces marked by boxes in photos from the web."""

import math
from collections import Counter
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.codes import choose_codes
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import Root, find_image, first_existing, set_name, set_origin
from face2exp_lib.data.formats.published import EXPW as EXPW_COUNTS
from face2exp_lib.data.formats.tables import BadRows, Entry, read_lines, unique
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import CroppedImages, FileImages
from face2exp_lib.data.sets.labels import Codes, codes_name

LISTS = ("label.lst", "label/label.lst")
IMAGES = ("image/origin", "origin", "image")
MAX_SIDE = 100_000  # px; a box beyond is no box of a photo


def read_expw(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """`label.lst`: name, face_id, top, left, right, bottom, confidence, label.

    A photo with several faces has as many lines; a face's id is `name#face_id`.
    """
    del part  # the set has one
    table = first_existing(root, LISTS, "the list of labels")
    images = Root(first_existing(root, IMAGES, "the folder of images"))
    bad, entries = BadRows(skip_bad), []
    lines = [(line, text.rsplit(maxsplit=7)) for line, text in read_lines(table)]
    notes: tuple[str, ...] = ()
    if codes is None:
        labels = Counter(values[-1] for _, values in lines if len(values) == 8)
        codes, note = choose_codes(labels, "fer2013", f"{table}")
        notes = (note,) if note else ()
    for line, values in lines:
        where = f"{table}, line {line}"
        if len(values) != 8:
            bad.add(f"line {line}", where, "needs 8 values")
            continue
        name, face, *edges, _, label_text = values
        label = bad.label(label_text, codes, f"{name}#{face}", where)
        if label is None:
            continue
        box = _box(edges)
        if box is None:
            bad.add(f"{name}#{face}", where, "the face's box is none", f" ({', '.join(edges)})")
            continue
        image = find_image(images, name, where, bad)
        if image is not None:
            entries.append(Entry(line, f"{image}#{face}", (label, *box)))
    entries = unique(entries, table, bad)
    bad.must_leave(len(entries), table, "no usable line")
    ids = [entry.image for entry in entries]
    photos = FileImages(images.folder, [face.rpartition("#")[0] for face in ids])
    boxes = np.array([entry.values[1:] for entry in entries], dtype=np.float32)
    return FaceSet(
        set_name(root, ""),
        CroppedImages(photos, ids, boxes),
        np.arange(len(ids)),
        np.array([entry.values[0] for entry in entries], dtype=np.int64),
        skipped=tuple(bad.skipped),
        origin=set_origin(table),
        codes=codes_name(codes),
        notes=notes,
    )


def _box(edges: list[str]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in px, from the list's own order top, left, right, bottom."""
    try:
        top, left, right, bottom = map(float, edges)
    except ValueError:
        return None
    box = left, top, right, bottom
    sound = all(math.isfinite(edge) and abs(edge) < MAX_SIDE for edge in box)
    return box if sound and right - left >= 1 and bottom - top >= 1 else None


def recognise(path: Path) -> list[str]:
    """The list of labels at one of its places."""
    return [""] if any((path / name).is_file() for name in LISTS) else []


EXPW = Format(
    name="expw",
    title="ExpW",
    read=read_expw,
    recognise=recognise,
    layout="""\
label/label.lst       lines of name, face_id, top, left, right, bottom, confidence, label
image/origin/a.jpg    photos""",
    example="{format: expw, path: ExpW}",
    codes="fer2013",
    state="Public, for research; the photos' rights are their owners'.",
    published=EXPW_COUNTS,
    notes="It has one part. Its codes are FER2013's. Faces are cut out by their boxes.",
)
