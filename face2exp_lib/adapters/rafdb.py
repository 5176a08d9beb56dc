"""RAF-DB, the single-label subset: a list of labels and aligned images."""

from pathlib import Path

import numpy as np

from face2exp_lib.adapters.adapter import Adapter
from face2exp_lib.adapters.folders import class_codes, read_class_folders
from face2exp_lib.adapters.published import RAFDB
from face2exp_lib.adapters.tables import (
    BadRows,
    Entry,
    Root,
    find_image,
    must_exist,
    read_lines,
    set_name,
    unique,
)
from face2exp_lib.facesets import FaceSet
from face2exp_lib.images import FileImages

LIST = "EmoLabel/list_patition_label.txt"  # spelt so in the set
ALIGNED = "Image/aligned"
PARTS = ("train", "test")


def read_rafdb(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """`train` or `test` by the list of labels, or from the re-pack `train/1..7`, `test/1..7`.

    The list has lines `train_00001.jpg 5`; that image is `train_00001_aligned.jpg`.
    """
    if (root / "basic" / LIST).exists():
        root = root / "basic"
    table = root / LIST
    if not table.exists() and (root / part).is_dir() and class_codes(root / part):
        return read_class_folders(root, part, codes, skip_bad)
    must_exist(table, "expected RAF-DB's folder `basic`, or train/1..7 and test/1..7")
    images = Root(root / ALIGNED)
    bad, entries = BadRows(skip_bad), []
    for line, text in read_lines(table):
        name, _, label_text = text.rpartition(" ")
        if part and not name.startswith(f"{part}_"):
            continue
        where = f"{table}, line {line}"
        label = bad.label(label_text, codes, name or text[:200], where)
        if label is None:
            continue
        stem, _, suffix = name.strip().rpartition(".")
        image = find_image(images, f"{stem}_aligned.{suffix}" if stem else "", where, bad)
        if image is not None:
            entries.append(Entry(line, image, (label,)))
    entries = unique(entries, table, bad)
    bad.must_leave(len(entries), table, f"no usable line of part '{part}' (train or test)")
    return FaceSet(
        set_name(root, part),
        FileImages(images.folder, [entry.image for entry in entries]),
        np.arange(len(entries)),
        np.array([entry.values[0] for entry in entries], dtype=np.int64),
        skipped=tuple(bad.skipped),
    )


def recognise(path: Path) -> list[tuple[str, str]]:
    """The list of labels; the re-pack is recognised as class folders."""
    if not (path / LIST).is_file():
        return []
    found = {text.split("_")[0] for _, text in read_lines(path / LIST)}
    return [(part, "rafdb") for part in PARTS if part in found] or [("", "rafdb")]


RAFDB_BASIC = Adapter(
    name="rafdb",
    title="RAF-DB (single-label subset)",
    read=read_rafdb,
    recognise=recognise,
    layout="""\
EmoLabel/list_patition_label.txt    lines `train_00001.jpg 5`
Image/aligned/train_00001_aligned.jpg
train/1/ ... train/7/               or, in place of both, the re-pack by code
test/1/ ... test/7/""",
    example="{format: rafdb, path: RAF-DB/basic, part: train}",
    codes="rafdb",
    state="Gated: for research, on request to its makers; may not be passed on.",
    published=RAFDB,
    notes="The set is also met as `raf-basic`. 12,271 images are in the training list; papers say "
    "12,270 or 12,271.",
)
