"""RAF-DB, the single-label subset: a list of labels and aligned images."""

from collections import Counter
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.codes import choose_codes
from face2exp_lib.data.formats.folders import class_counts, read_class_folders
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import Root, find_image, must_exist, set_name, set_origin
from face2exp_lib.data.formats.published import RAFDB
from face2exp_lib.data.formats.tables import BadRows, Entry, read_lines, unique
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.labels import Codes, codes_name

LIST = "EmoLabel/list_patition_label.txt"  # spelt so in the set
ALIGNED = "Image/aligned"
PARTS = ("train", "test")
OF_A_PART = "train_ nor test_"


def read_rafdb(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """`train` or `test` by the list of labels, or from the re-pack `train/1..7`, `test/1..7`.

    The list has lines `train_00001.jpg 5`; that image is `train_00001_aligned.jpg`.
    """
    if (root / "basic" / LIST).exists():
        root = root / "basic"
    table = root / LIST
    if not table.exists() and (root / part).is_dir() and class_counts(root / part):
        return read_class_folders(root, part, codes or "rafdb", skip_bad)
    must_exist(table, "expected RAF-DB's folder `basic`, or train/1..7 and test/1..7")
    images = Root(root / ALIGNED)
    bad, entries, lines, note = BadRows(skip_bad), [], _lines(table), ""
    if codes is None:
        labels = Counter(values[1] for _, values in lines if len(values) == 2)
        codes, note = choose_codes(labels, "rafdb", f"{table}")
    for line, values in lines:
        where = f"{table}, line {line}"
        if len(values) != 2:
            bad.add(f"line {line}", where, "needs a name and a label, and nothing else")
            continue
        name, label_text = values
        its_part = name.split("_")[0].lower()
        if its_part not in PARTS:
            bad.add(name, where, "is of no part", f": its name begins with neither {OF_A_PART}")
        elif not part or its_part == part:
            label = bad.label(label_text, codes, name, where)
            image = None if label is None else find_image(images, _aligned(name), where, bad)
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
        origin=set_origin(table, part),
        codes=codes_name(codes),
        notes=(note,) if note else (),
    )


def _lines(table: Path) -> list[tuple[int, list[str]]]:
    """Number and values of each line; blanks or a tab part them."""
    return [(line, text.split()) for line, text in read_lines(table)]


def _aligned(name: str) -> str:
    """The aligned image's name; some copies of the list have it already."""
    stem, dot, suffix = name.rpartition(".")
    return name if stem.endswith("_aligned") or not stem else f"{stem}_aligned{dot}{suffix}"


def recognise(path: Path) -> list[str]:
    """The list of labels; the re-pack is recognised as class folders."""
    if not (path / LIST).is_file():
        return []
    found = {values[0].split("_")[0].lower() for _, values in _lines(path / LIST)}
    return [part for part in PARTS if part in found] or [""]


RAFDB_BASIC = Format(
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
    notes="A tab may part name and label, and names may end in `_aligned` in the list already. The "
    "set is also met as `raf-basic`. 12,271 images are in the training list; papers say "
    "12,270 or 12,271.",
)
