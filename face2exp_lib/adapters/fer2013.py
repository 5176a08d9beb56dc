"""FER2013 as Kaggle's table, and FERPlus: ten annotators' votes on the same images."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from face2exp_lib.adapters.adapter import Adapter
from face2exp_lib.adapters.published import FER2013
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
from face2exp_lib.images import FileImages, Images, PixelImages
from face2exp_lib.labels import Expression, parse_label

SIDE = 48  # px
COLUMNS = {"emotion", "pixels", "Usage"}
VOTES = "fer2013new.csv"
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
NOT_AN_EXPRESSION = ("unknown", "NF")
# Where the images of a Usage lie, if they lie in folders.
FOLDERS = {
    "Training": "FER2013Train",
    "PublicTest": "FER2013Valid",
    "PrivateTest": "FER2013Test",
}


def read_fer2013_csv(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """Kaggle's `fer2013.csv`: columns emotion, pixels (48 x 48 grey), Usage; `part` is a Usage."""
    path = _csv(root)
    must_exist(path, "expected Kaggle's fer2013.csv")
    bad = BadRows(skip_bad)
    pixels, labels, ids = [], [], []
    for line, row in read_table(path, COLUMNS, bad):
        if part and row["Usage"] != part:
            continue
        name, where = f"{row['Usage']}_{line}", f"{path}, line {line}"
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
    )


def read_ferplus(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """`fer2013new.csv` with the votes, beside `fer2013.csv` or folders of images.

    The label is the expression with the most votes. Images on which two are level, or where
    `unknown` or `NF` (no face) has as many, are left out and counted. `distributions` holds the
    shares of the eight expressions.
    """
    del codes  # the columns bear names
    table = root / VOTES
    must_exist(table, "expected the votes of FERPlus")
    bad = BadRows(skip_bad)
    stored = _KagglePixels(root, bad) if _csv(root).exists() else _ImageFolders(root, bad)
    entries = []
    columns = {"Usage", "Image name", *VOTED, *NOT_AN_EXPRESSION}
    for number, (line, row) in enumerate(read_table(table, columns, bad)):
        if part and row["Usage"] != part:
            continue
        where = f"{table}, line {line}"
        name = row["Image name"].strip()
        if not name:  # the list's own mark for what is no face
            bad.leave_out(f"row {number}", "no image name (no face)")
            continue
        votes = _votes(row)
        if votes is None:
            bad.add(name, where, "needs whole numbers of votes, 0 or more, and at least one")
            continue
        winner = _winner(votes, name, bad)
        image = stored.find(name, row["Usage"], where) if winner is not None else None
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
    )


class _KagglePixels:
    """`fer0000007.png` is row 7 of `fer2013.csv`, counted from 0."""

    def __init__(self, root: Path, bad: BadRows) -> None:
        self.path, self.bad = _csv(root), bad
        self.usages: list[str] = []
        self.pixels: list[np.ndarray | None] = []
        for _, row in read_table(self.path, {"pixels", "Usage"}, BadRows(skip_bad=False)):
            self.usages.append(row["Usage"])
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
    """`FER2013Train/fer0000007.png` and so on, or all images in one folder."""

    def __init__(self, root: Path, bad: BadRows) -> None:
        self.root, self.bad = Root(root), bad

    def find(self, name: str, usage: str, where: str) -> str | None:
        folder = FOLDERS.get(usage, "")
        inside = folder if (self.root.folder / folder).is_dir() else ""
        return find_image(self.root, f"{inside}/{name}" if inside else name, where, self.bad)

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
        votes = tuple(int(row[name]) for name in (*VOTED, *NOT_AN_EXPRESSION))
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
    return root / "fer2013.csv" if root.is_dir() else root


def recognise_fer2013_csv(path: Path) -> list[tuple[str, str]]:
    """A table with the columns emotion and pixels; its parts are its Usages."""
    path = _csv(path)
    if not path.is_file():
        return []
    with path.open(newline="", errors="replace") as file:
        head = file.readline(1000)  # it may be anything, and all on one line
    if "emotion" not in head or "pixels" not in head:
        return []
    return [(usage, "fer2013") for usage in sorted(set(_usages(path, COLUMNS)))]


def recognise_ferplus(path: Path) -> list[tuple[str, str]]:
    """A folder with the table of votes; its parts are its Usages."""
    if not (path / VOTES).is_file():
        return []
    return [(usage, "names") for usage in sorted(set(_usages(path / VOTES, {"Usage"})))]


def _usages(path: Path, columns: set[str]) -> Iterator[str]:
    return (row["Usage"] for _, row in read_table(path, columns, BadRows(skip_bad=True)))


FER2013_STATE = "Public, for research: the ICML 2013 challenge on Kaggle."
FER2013_CSV = Adapter(
    name="fer2013_csv",
    title="FER2013 (Kaggle's table)",
    read=read_fer2013_csv,
    recognise=recognise_fer2013_csv,
    layout="fer2013.csv     emotion, pixels (48 x 48 numbers), Usage",
    example="{format: fer2013_csv, path: fer2013.csv, part: Training}",
    codes="fer2013",
    state=FER2013_STATE,
    published=FER2013,
    notes="Parts are the Usages: `Training` (28,709 images), `PublicTest` and `PrivateTest` (3,589 "
    "each). As folders, `train/<class>/Training_*.jpg`, it is read with `class_folders`. 1,853 "
    "images are exact copies of another, 568 of the two test parts have one in Training, and 57 "
    "groups of copies bear contradicting labels.",
)
FERPLUS = Adapter(
    name="ferplus",
    title="FERPlus",
    read=read_ferplus,
    recognise=recognise_ferplus,
    layout="""\
fer2013new.csv  Usage, Image name, and the votes for neutral, happiness, surprise, sadness, anger,
                disgust, fear, contempt, unknown, NF
fer2013.csv     Kaggle's table: fer0000007.png is its row 7, counted from 0
FER2013Train/   or, in place of that table, the images (FER2013Valid/, FER2013Test/ likewise)
  fer0000007.png""",
    example="{format: ferplus, path: ferplus, part: Training}",
    codes="names",
    state="The votes are public; the images are FER2013's, which is public, for research.",
    notes="Parts are the Usages. The label is the expression with the most votes; where two are "
    "level, or `unknown` or `NF` has the most, the image is left out and counted. The shares of "
    "the votes are in `FaceSet.distributions`.",
)
