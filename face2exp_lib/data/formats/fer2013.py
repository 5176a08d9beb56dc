"""FER2013 as Kaggle's table, and FERPlus: ten annotators' votes on the same images."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.codes import choose_codes
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import Root, find_image, must_exist, set_name, set_origin
from face2exp_lib.data.formats.published import FER2013
from face2exp_lib.data.formats.tables import (
    BadRows,
    Entry,
    first_line,
    plain_columns,
    read_table,
    unique,
)
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import is_left_behind
from face2exp_lib.data.sets.images import FileImages, Images, PixelImages
from face2exp_lib.data.sets.labels import Codes, Expression, codes_name, parse_label, plain_label

SIDE = 48  # px
COLUMNS = {"emotion", "pixels"}  # and, but for the challenge's train.csv, usage
NAMES = ("fer2013.csv", "icml_face_data.csv", "train.csv")
VOTES = "fer2013new.csv"
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
NOT_AN_EXPRESSION = ("unknown", "NF")
# Where the images of a Usage lie, if they lie in folders.
FOLDERS = {
    "Training": "FER2013Train",
    "PublicTest": "FER2013Valid",
    "PrivateTest": "FER2013Test",
}


def read_fer2013_csv(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """Kaggle's `fer2013.csv`: columns emotion, pixels (48 x 48 grey), Usage; `part` is a Usage.

    Its other files, `icml_face_data.csv` and `train.csv`, are told by their columns.
    """
    path = _csv(root)
    must_exist(path, "expected Kaggle's fer2013.csv")
    bad = BadRows(skip_bad)
    pixels, labels, ids = [], [], []
    notes: tuple[str, ...] = ()
    if codes is None:
        texts = Counter(row["emotion"] for _, row in read_table(path, COLUMNS, BadRows(True)))
        codes, note = choose_codes(texts, "fer2013", f"{path}")
        notes = (note,) if note else ()
    for line, row in read_table(path, COLUMNS | ({"usage"} if part else set()), bad):
        usage = row.get("usage", "").strip()
        if part and usage != part:
            continue
        name, where = f"{usage}_{line}" if usage else f"{line}", f"{path}, line {line}"
        values = _pixels(row["pixels"])
        if values is None:
            bad.add(name, where, "needs 2,304 pixels from 0 to 255")
            continue
        label = bad.label(row["emotion"], codes, name, where)
        if label is not None:
            pixels.append(values)
            labels.append(label)
            ids.append(name)
    bad.must_leave(len(ids), path, f"no usable row with Usage '{part}'")
    return FaceSet(
        set_name(path, part),
        PixelImages(np.stack(pixels), ids),
        np.arange(len(ids)),
        np.array(labels, dtype=np.int64),
        skipped=tuple(bad.skipped),
        origin=set_origin(path, part),
        codes=codes_name(codes),
        notes=notes,
    )


def read_ferplus(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """`fer2013new.csv` with the votes, beside `fer2013.csv` or folders of images.

    The label is the expression with the most votes. Images on which two are level, or where
    `unknown` or `NF` (no face) has as many, are left out and counted. `distributions` holds the
    shares of the eight expressions.
    """
    del codes  # the columns bear names
    table = root / VOTES
    must_exist(table, "expected the votes of FERPlus")
    bad = BadRows(skip_bad)
    kaggle = next((path for path in map(_csv, _places(root)) if path.is_file()), None)
    stored = _ImageFolders(root, bad) if kaggle is None else _KagglePixels(kaggle, bad)
    entries = []
    columns = {"usage", "image name", *VOTED, *(name.lower() for name in NOT_AN_EXPRESSION)}
    for number, (line, row) in enumerate(read_table(table, columns, bad)):
        usage = row["usage"].strip()
        if part and usage != part:
            continue
        where = f"{table}, line {line}"
        name = row["image name"].strip()
        if not name:  # the list's own mark for what is no face
            bad.leave_out(f"row {number}", "no image name (no face)")
            continue
        votes = _votes(row)
        if votes is None:
            bad.add(name, where, "needs whole numbers of votes, 0 or more, and at least one")
            continue
        winner = _winner(votes, name, bad)
        image = stored.find(name, usage, where) if winner is not None else None
        if image is not None:
            entries.append(Entry(line, image, (winner, votes[: len(VOTED)])))
    entries = unique(entries, table, bad)
    bad.must_leave(len(entries), table, f"no usable row with Usage '{part}'")
    shares = np.zeros((len(entries), len(Expression)), dtype=np.float32)
    order = [parse_label(name) for name in VOTED]
    shares[:, order] = np.array([entry.values[1] for entry in entries], dtype=np.float32)
    shares /= shares.sum(1, keepdims=True)
    return FaceSet(
        set_name(root, part),
        stored.images([entry.image for entry in entries]),
        np.arange(len(entries)),
        np.array([entry.values[0] for entry in entries], dtype=np.int64),
        distributions=shares,
        skipped=tuple(bad.skipped),
        origin=set_origin(table, part),
        codes="names",
    )


class _KagglePixels:
    """`fer0000007.png` is row 7 of `fer2013.csv`, counted from 0."""

    def __init__(self, path: Path, bad: BadRows) -> None:
        self.path, self.bad = path, bad
        self.usages: list[str] = []
        self.pixels: list[np.ndarray | None] = []
        for _, row in read_table(self.path, {"pixels", "usage"}, BadRows(skip_bad=False)):
            self.usages.append(row["usage"].strip())
            self.pixels.append(_pixels(row["pixels"]))

    def find(self, name: str, usage: str, where: str) -> str | None:
        match = re.fullmatch(r"fer(\d{1,9})\.png", name, re.ASCII)
        number = int(match[1]) if match else len(self.pixels)
        if number >= len(self.pixels):
            self.bad.add(name, where, "no such image", f": {self.path.name} has no row for {name}")
        elif self.usages[number] != usage:
            self.bad.add(name, where, "another Usage", f" than row {number} of {self.path.name}")
        elif self.pixels[number] is None:
            self.bad.add(name, where, "needs 2,304 pixels from 0 to 255")
        else:
            return name
        return None

    def images(self, names: list[str]) -> Images:
        pixels = [self.pixels[int(name[3:-4])] for name in names]
        return PixelImages(np.stack([values for values in pixels if values is not None]), names)


class _ImageFolders:
    """`FER2013Train/fer0000007.png` and so on, below `data/` as in FERPlus' repository, or all
    images in one folder."""

    def __init__(self, root: Path, bad: BadRows) -> None:
        self.root, self.bad = Root(root), bad
        places = {usage: [f"data/{name}", name] for usage, name in FOLDERS.items()}
        self.folders = {
            usage: next((f"{place}/" for place in found if (root / place).is_dir()), "")
            for usage, found in places.items()
        }

    def find(self, name: str, usage: str, where: str) -> str | None:
        return find_image(self.root, f"{self.folders.get(usage, '')}{name}", where, self.bad)

    def images(self, names: list[str]) -> Images:
        return FileImages(self.root.folder, names)


def _pixels(text: str) -> np.ndarray | None:
    """(48, 48) uint8, or None if it is anything else."""
    try:
        values = bytes(map(int, text.split()))
    except (ValueError, OverflowError):
        return None
    if len(values) != SIDE * SIDE:
        return None
    return np.frombuffer(values, dtype=np.uint8).reshape(SIDE, SIDE)


def _votes(row: dict[str, str]) -> tuple[int, ...] | None:
    try:
        texts = (plain_label(row[name.lower()]) for name in (*VOTED, *NOT_AN_EXPRESSION))
        votes = tuple(int(text) for text in texts)
    except ValueError:
        return None
    return votes if min(votes) >= 0 and 0 < sum(votes) < 1000 else None


def _winner(votes: tuple[int, ...], image: str, bad: BadRows) -> Expression | None:
    most = max(votes)
    winners = [
        name for name, n in zip((*VOTED, *NOT_AN_EXPRESSION), votes, strict=True) if n == most
    ]
    if len(winners) > 1:
        bad.leave_out(image, "votes are level")
    elif winners[0] in NOT_AN_EXPRESSION:
        bad.leave_out(image, f"most votes for {winners[0]}")
    else:
        return parse_label(winners[0])
    return None


def _csv(root: Path) -> Path:
    """Kaggle's table: a file as it is named, or the one in a folder that has its columns."""
    if not root.is_dir():
        return root
    named = [root / name for name in NAMES]
    others = sorted(path for path in root.glob("*.csv") if not is_left_behind(path.name))
    return next((path for path in (*named, *others) if _is_kaggle(path)), named[0])


def _is_kaggle(path: Path) -> bool:
    return path.is_file() and set(plain_columns(first_line(path))[1]) >= COLUMNS


def _places(root: Path) -> tuple[Path, Path]:
    """Where FERPlus has its images: beside the votes, or in its repository's `data`."""
    return root, root / "data"


def recognise_fer2013_csv(path: Path) -> list[str]:
    """A table with the columns emotion and pixels; its parts are its Usages."""
    path = _csv(path)
    return _usages(path, COLUMNS) if _is_kaggle(path) else []


def recognise_ferplus(path: Path) -> list[str]:
    """A folder with the table of votes; its parts are its Usages."""
    return _usages(path / VOTES, {"usage"}) if (path / VOTES).is_file() else []


def _usages(path: Path, columns: set[str]) -> list[str]:
    rows = read_table(path, columns, BadRows(skip_bad=True))
    return sorted({row.get("usage", "").strip() for _, row in rows})


FER2013_STATE = "Public, for research: the ICML 2013 challenge on Kaggle."
FER2013_CSV = Format(
    name="fer2013_csv",
    title="FER2013 (Kaggle's table)",
    read=read_fer2013_csv,
    recognise=recognise_fer2013_csv,
    layout="""\
fer2013.csv     emotion, pixels (48 x 48 numbers), Usage; also icml_face_data.csv, train.csv""",
    example="{format: fer2013_csv, path: fer2013.csv, part: Training}",
    codes="fer2013",
    state=FER2013_STATE,
    published=FER2013,
    notes="Parts are the Usages: `Training` (28,709 images), `PublicTest` and `PrivateTest` (3,589 "
    "each). As folders, `train/<class>/Training_*.jpg`, it is read with `class_folders`. 1,853 "
    "images are exact copies of another, 568 of the two test parts have one in Training, and 57 "
    "groups of copies bear contradicting labels.",
)
FERPLUS = Format(
    name="ferplus",
    title="FERPlus",
    read=read_ferplus,
    recognise=recognise_ferplus,
    layout="""\
fer2013new.csv  Usage, Image name, and the votes for neutral, happiness, surprise, sadness, anger,
                disgust, fear, contempt, unknown, NF
fer2013.csv     Kaggle's table: fer0000007.png is its row 7, counted from 0
FER2013Train/   or, in place of that table, the images (FER2013Valid/, FER2013Test/ likewise),
  fer0000007.png  also below data/ as in its repository""",
    example="{format: ferplus, path: ferplus, part: Training}",
    codes="names",
    state="The votes are public; the images are FER2013's, which is public, for research.",
    notes="Parts are the Usages. The label is the expression with the most votes; where two are "
    "level, or `unknown` or `NF` has the most, the image is left out and counted. The shares of "
    "the votes are in `FaceSet.distributions`.",
)
