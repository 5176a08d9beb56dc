"""AffectNet: the tables of 2017, the annotation files of 2021, and re-packs as folders."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from tqdm import tqdm

from face2exp_lib.data.formats.codes import choose_codes
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import (
    Root,
    find_image,
    first_existing,
    must_exist,
    set_name,
    set_origin,
)
from face2exp_lib.data.formats.published import AFFECTNET
from face2exp_lib.data.formats.tables import (
    BadRows,
    Entry,
    first_line,
    plain_columns,
    read_table,
    unique,
)
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import is_image, is_left_behind
from face2exp_lib.data.sets.images import CroppedImages, FileImages, Images
from face2exp_lib.data.sets.labels import Codes, codes_name
from face2exp_lib.runtime.errors import Face2ExpError

# The columns of the 2017 tables, in lower case; some copies begin without them.
COLUMNS = (
    "subdirectory_filepath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
BOX = COLUMNS[1:5]
TABLES = {"train": "training.csv", "val": "validation.csv"}
TABLE_FOLDERS = (
    "",
    "Manually_Annotated_file_lists/",
    "Manually_annotated_file_lists/",
)
IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images")
SETS_2021 = {"train": "train_set", "val": "val_set"}
MAX_SIDE = 100_000  # px; a box beyond is no box of a photo
# numpy's kinds of text -> encoding if the low bytes come first, and if the high bytes do
TEXTS = {"S": ("ascii", "ascii"), "U": ("utf-32-le", "utf-32-be")}
MAX_ANNOTATION_BYTES = 4096  # one number and a header


def read_affectnet(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """`train` or `val` of any of the layouts.

    Rows of 8 none, 9 uncertain and 10 non-face are left out and counted.
    """
    must_exist(root, "check the data root")
    table = _table(root, part)
    if table is not None:
        return _read_table(root, table, part, codes, skip_bad)
    if (root / SETS_2021.get(part, part) / "annotations").is_dir():
        return _read_annotations(root, part, codes, skip_bad)
    if part in SETS_2021 and not (root / part).is_dir():
        raise Face2ExpError(
            f"{root}: neither {TABLES[part]}, nor {SETS_2021[part]}/annotations, nor {part}/: "
            "give AffectNet's own folder"
        )
    return read_class_folders(root, part, codes or "affectnet", skip_bad)


def _read_table(root: Path, table: Path, part: str, codes: Codes | None, skip_bad: bool) -> FaceSet:
    images = Root(first_existing(root, IMAGE_FOLDERS, "the folder of images"))
    bad, entries = BadRows(skip_bad), []
    header = None if _has_header(table) else COLUMNS
    rows = list(read_table(table, {COLUMNS[0], "expression"}, bad, header))
    codes, notes = _chosen(codes, (row["expression"] for _, row in rows), table)
    for line, row in rows:
        where, name = f"{table}, line {line}", row[COLUMNS[0]]
        label = bad.label(row["expression"], codes, name, where)
        if label is None:
            continue
        box = _box(row)
        if box is None:
            values = ", ".join(row.get(column, "") for column in BOX)[:80]
            bad.add(name, where, "the face's box is none", f" ({values})")
            continue
        image = find_image(images, name, where, bad)
        if image is not None:
            entries.append(Entry(line, image, (label, *box)))
    entries = unique(entries, table, bad)
    bad.must_leave(len(entries), table, "no usable row")
    ids = [entry.image for entry in entries]
    boxes = np.array([entry.values[1:] for entry in entries], dtype=np.float32)
    whole: Images = FileImages(images.folder, ids)
    return FaceSet(
        set_name(root, part),
        CroppedImages(whole, ids, boxes) if (boxes[:, 2:] < MAX_SIDE).any() else whole,
        np.arange(len(ids)),
        np.array([entry.values[0] for entry in entries], dtype=np.int64),
        skipped=tuple(bad.skipped),
        origin=set_origin(table),
        codes=codes_name(codes),
        notes=notes,
    )


def _chosen(
    codes: Codes | None, labels: Iterable[str], where: Path
) -> tuple[Codes, tuple[str, ...]]:
    if codes is not None:
        return codes, ()
    chosen = choose_codes(Counter(labels), "affectnet", f"{where}")
    return chosen.codes, (chosen.note,) if chosen.note else ()


def _box(row: dict[str, str]) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in px; all of the image where none is given; None for no box."""
    texts = [row.get(column, "") for column in BOX]
    if not any(text.strip() for text in texts):
        return 0, 0, MAX_SIDE, MAX_SIDE
    try:
        left, top, width, height = map(float, texts)
    except ValueError:
        return None
    edges = left, top, left + width, top + height
    sound = all(math.isfinite(edge) and abs(edge) < MAX_SIDE for edge in edges)
    return edges if sound and width >= 1 and height >= 1 and min(edges[2:]) >= 1 else None


def _read_annotations(root: Path, part: str, codes: Codes | None, skip_bad: bool) -> FaceSet:
    folder = root / SETS_2021.get(part, part)
    must_exist(folder / "images", "the folder of images is missing")
    names = {}
    for name in _files(folder / "images"):
        if is_image(name):
            names[os.path.splitext(name)[0]] = name
    annotated = {
        name.removesuffix("_exp.npy")
        for name in _files(folder / "annotations")
        if name.endswith("_exp.npy")
    }
    bad, ids, labels = BadRows(skip_bad), [], []
    texts: dict[str, str] = {}
    read = AnnotationReader()
    every = sorted(names.keys() | annotated)
    for stem in tqdm(every, desc=f"annotations of {part}", leave=False, delay=2):
        path = folder / "annotations" / f"{stem}_exp.npy"
        name = names.get(stem, f"{stem}.jpg")
        if stem not in names:
            bad.add(name, f"{path}", "no such image", way_out=f"fetch images/{name}")
        elif stem not in annotated:
            bad.add(name, f"{path}", "an image without annotation", way_out="fetch it")
        else:
            try:
                texts[name] = read(path)
            except (OSError, ValueError) as error:
                bad.add(name, f"{path}", f"no single number ({error})", way_out="fetch it again")
    codes, notes = _chosen(codes, texts.values(), folder)
    for name, text in texts.items():
        label = bad.label(text, codes, name, f"{folder / 'annotations'}: {name}")
        if label is not None:
            ids.append(name)
            labels.append(label)
    bad.must_leave(len(ids), folder, "no image with a usable annotation")
    return FaceSet(
        set_name(root, part),
        FileImages(folder / "images", ids),
        np.arange(len(ids)),
        np.array(labels, dtype=np.int64),
        skipped=tuple(bad.skipped),
        origin=set_origin(folder),
        codes=codes_name(codes),
        notes=notes,
    )


class AnnotationReader:
    """Reads npy files of one number or text.

    All files of a set have the same header, which is parsed once: with `np.load` 287,651 of them
    would take minutes. Nothing is unpickled, and no array is made that the header merely claims.
    """

    def __init__(self) -> None:
        self._dtypes: dict[bytes, np.dtype] = {}

    def __call__(self, path: Path) -> str:
        """The value as text, a whole number without a point.

        Raises:
            ValueError: if the file holds anything else.
            OSError: if it cannot be read.
        """
        with path.open("rb", buffering=0) as file:
            content = file.read(MAX_ANNOTATION_BYTES + 1)
        if len(content) > MAX_ANNOTATION_BYTES:
            raise ValueError("more bytes than one number takes")
        start = content.find(b"\n") + 1  # the header ends with it
        dtype = self._dtypes.get(content[:start])
        if dtype is None:
            dtype, start = _header(content)
            self._dtypes[content[:start]] = dtype
        if len(content) - start != dtype.itemsize:
            raise ValueError(f"{len(content) - start} bytes instead of {dtype.itemsize}")
        if dtype.kind in TEXTS:  # numpy itself does not check what the characters are
            encoding = TEXTS[dtype.kind][dtype.byteorder == ">"]
            return content[start:].decode(encoding).rstrip("\0")
        value = np.frombuffer(content, dtype, offset=start)[0]
        if isinstance(value, np.floating):
            return str(int(value)) if float(value).is_integer() else str(value)
        return str(value)


def _header(content: bytes) -> tuple[np.dtype, int]:
    """The type of the one value and where it begins."""
    file = BytesIO(content)
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, _, dtype = read(file, max_header_size=MAX_ANNOTATION_BYTES)
    except Exception as error:  # the header is Python source, and what parses it raises anything
        raise ValueError("not in npy format") from error
    if dtype.kind not in "iufUS" or not dtype.itemsize or math.prod(shape) != 1:
        raise ValueError(f"an array of {dtype} of shape {shape}"[:80])
    return dtype, file.tell()


def _files(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        yield from (entry.name for entry in entries if not is_left_behind(entry.name))


def _table(root: Path, part: str) -> Path | None:
    for folder in TABLE_FOLDERS:
        path = root / f"{folder}{TABLES.get(part, '')}"
        if path.is_file():
            return path
    return None


def _has_header(table: Path) -> bool:
    return COLUMNS[0] in plain_columns(first_line(table))[1]


def recognise(path: Path) -> list[str]:
    """Tables of 2017 with their images, or sets of 2021; folders are recognised as such."""
    if not path.is_dir():
        return []
    images = any((path / folder).is_dir() for folder in IMAGE_FOLDERS)
    return [
        part
        for part in TABLES
        if (images and _table(path, part)) or (path / SETS_2021[part] / "annotations").is_dir()
    ]


AFFECTNET_SET = Format(
    name="affectnet",
    title="AffectNet",
    read=read_affectnet,
    recognise=recognise,
    layout="""\
training.csv, validation.csv      2017: subDirectory_filePath, face_x, face_y, face_width,
                                  face_height, facial_landmarks, expression, valence, arousal;
                                  with that first line or without, also in
                                  Manually_Annotated_file_lists/
Manually_Annotated_Images/1/a.jpg
train_set/images/0.jpg            2021
train_set/annotations/0_exp.npy   (val_set/ likewise)
train/0/ ... train/7/             re-packs, also with class names (val/ likewise)""",
    example="{format: affectnet, path: AffectNet, part: train}",
    codes="affectnet",
    state="Gated: for research, on request to its makers; may not be passed on.",
    published=AFFECTNET,
    notes="Parts are `train` and `val`; the field tests on `val`, since the test part was never "
    "published. Of the 2021 release 3,999 images of `val` are met. Images labelled 8 none, 9 "
    "uncertain and 10 non-face are left out and counted. In the layout of 2017 images are cropped "
    "to the face's box. With `num_classes: 7` contempt is left out: 283,901 training images.",
)
