"""Labelled (FER) and unlabelled (FR) sets of faces behind one class, read from their layouts."""

import csv
import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.images import (
    FileImages,
    Images,
    PixelImages,
    ZipImages,
    list_images,
    unreadable,
)
from face2exp_lib.labels import parse_label

Format = Literal["rendered", "class_folders", "fer2013_csv", "identity_folders"]


@dataclass(frozen=True)
class FaceSet:
    """Images with, where the set has them, labels and identities. Nothing is decoded yet.

    Attributes:
        name: what messages call it.
        images: where the image of each row lies.
        rows: (N,) positions in `images` that belong to this set, so that a subset costs nothing.
        labels: (N,) `Expression` codes, or None for unlabelled faces.
        identities: (N,) names of persons, or None.
    """

    name: str
    images: Images
    rows: np.ndarray
    labels: np.ndarray | None = None
    identities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The image ids, one a row."""
        return [self.images.ids[row] for row in self.rows]

    def subset(self, indices: np.ndarray, name: str | None = None) -> "FaceSet":
        """The samples at `indices`."""
        return replace(
            self,
            name=name or self.name,
            rows=self.rows[indices],
            labels=None if self.labels is None else self.labels[indices],
            identities=None if self.identities is None else self.identities[indices],
        )

    def known_labels(self) -> np.ndarray:
        """The labels.

        Raises:
            Face2ExpError: if the set has none.
        """
        if self.labels is None:
            raise Face2ExpError(f"{self.name}: this set has no labels: choose a labelled format")
        return self.labels

    def digests(self) -> list[bytes]:
        """A digest of each image's stored bytes: equal for exact copies.

        Raises:
            Face2ExpError: naming the image that cannot be read.
        """
        digests = []
        for row in tqdm(self.rows, desc=f"hash {self.name}", leave=False, delay=2):
            try:
                stored = self.images.read(row)
            except Exception as error:  # as in `decode`
                raise unreadable(self.images, row, error) from error
            digests.append(hashlib.blake2b(stored, digest_size=16).digest())
        return digests


def read_rendered(root: Path, part: str, codes: str) -> FaceSet:
    """One part of a rendered pack: `<part>.zip` with images, `<part>.csv` with a row for each.

    The FR part's csv has no expression column; its truth lies in a file that is not read here.
    """
    table, archive = root / f"{part}.csv", root / f"{part}.zip"
    _must_exist(table, f"the parts of a rendered pack are {_parts(root)}")
    _must_exist(archive, "the pack is incomplete: fetch or render it again")
    members = _members(archive)
    ids: list[str] = []
    labels: list[int] = []
    identities: list[str] = []
    for line, row in read_table(table, {"image", "identity"}):
        if row["image"] not in members:
            raise Face2ExpError(
                f"{table}, line {line}: {archive.name} has no {row['image']}: fetch or render the "
                "pack again"
            )
        if "expression" in row:
            labels.append(_label(row["expression"], codes, table, line))
        ids.append(row["image"])
        identities.append(row["identity"])
    if not ids:
        raise Face2ExpError(f"{table}: no row: fetch or render the pack again")
    return FaceSet(
        part,
        ZipImages(archive, ids),
        np.arange(len(ids)),
        np.array(labels, dtype=np.int64) if labels else None,
        np.array(identities),
    )


def read_class_folders(root: Path, part: str, codes: str) -> FaceSet:
    """`root/<class>/image`: FER2013, the RAF-DB and AffectNet re-packs, a user's own folders.

    `part` names a folder between root and classes, such as `train`; it may be empty. `codes` names
    the table in which the folder names are looked up.
    """
    folder = root / part
    _must_exist(folder, "check the data root and the part")
    paths = list_images(folder)
    if not paths:
        raise Face2ExpError(f"{folder}: no image found: expected {folder.name}/<class>/<image>")
    flat = [path for path in paths if "/" not in path]
    if flat:
        raise Face2ExpError(f"{folder / flat[0]}: lies in no class folder: move it into one")
    try:
        names = sorted({path.split("/")[0] for path in paths})
        code_of = {name: parse_label(name, codes) for name in names}
    except Face2ExpError as error:
        raise Face2ExpError(f"{folder}: folder with {error}") from error
    labels = np.array([code_of[path.split("/")[0]] for path in paths], dtype=np.int64)
    return FaceSet(_name(root, part), FileImages(folder, paths), np.arange(len(paths)), labels)


def read_fer2013_csv(path: Path, part: str, codes: str) -> FaceSet:
    """Kaggle's `fer2013.csv`: columns emotion, pixels (48 x 48 grey), Usage; `part` is a Usage."""
    _must_exist(path, "expected Kaggle's fer2013.csv")
    pixels, labels, ids = [], [], []
    for line, row in read_table(path, {"emotion", "pixels", "Usage"}):
        if part and row["Usage"] != part:
            continue
        try:
            values = np.array(row["pixels"].split(), dtype=np.int64)
        except (ValueError, OverflowError):
            values = np.empty(0, np.int64)
        if values.size != 48 * 48 or values.min() < 0 or values.max() > 255:
            raise Face2ExpError(
                f"{path}, line {line}: needs 2,304 pixels from 0 to 255: mend or delete it"
            )
        labels.append(_label(row["emotion"], codes, path, line))
        pixels.append(values.astype(np.uint8).reshape(48, 48))
        ids.append(f"{row['Usage']}_{line}")
    if not pixels:
        raise Face2ExpError(f"{path}: no row with Usage '{part}'")
    images = PixelImages(np.stack(pixels), ids)
    return FaceSet(_name(path, part), images, np.arange(len(ids)), np.array(labels, np.int64))


def read_identity_folders(root: Path, part: str, codes: str) -> FaceSet:
    """`root/<identity>/image`, as in LFW, WebFace, VGGFace2 and CASIA: faces without labels."""
    del codes
    folder = root / part
    _must_exist(folder, "check the data root and the part")
    paths = list_images(folder)
    if not paths:
        raise Face2ExpError(f"{folder}: no image found: expected {folder.name}/<identity>/<image>")
    identities = np.array([path.rsplit("/", 1)[0] if "/" in path else "" for path in paths])
    images = FileImages(folder, paths)
    return FaceSet(_name(root, part), images, np.arange(len(paths)), None, identities)


READERS: dict[Format, Callable[[Path, str, str], FaceSet]] = {
    "rendered": read_rendered,
    "class_folders": read_class_folders,
    "fer2013_csv": read_fer2013_csv,
    "identity_folders": read_identity_folders,
}


def without_copies(candidates: FaceSet, evaluation: Sequence[FaceSet]) -> FaceSet:
    """`candidates` less every image that is an exact copy of one in an evaluation set."""
    held_out = {digest for part in evaluation for digest in part.digests()}
    kept = [i for i, digest in enumerate(candidates.digests()) if digest not in held_out]
    return candidates.subset(np.array(kept, dtype=np.int64))


def read_table(path: Path, columns: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of each row of a csv file (UTF-8).

    Raises:
        Face2ExpError: if it is no text, lacks one of `columns`, or a row is cut off.
    """
    csv.field_size_limit(min(sys.maxsize, 2**24))
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # with Excel's mark or without
            reader = csv.DictReader(file)
            missing = columns - set(reader.fieldnames or ())
            if missing:
                raise Face2ExpError(
                    f"{path}: column '{min(missing)}' is missing: its first line has to name "
                    f"{', '.join(sorted(columns))}"
                )
            for row in reader:
                if None in row.values():
                    raise Face2ExpError(
                        f"{path}, line {reader.line_num}: too few values: mend or delete it"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Face2ExpError(
            f"{path}: not readable as a csv table ({error}): save it as UTF-8 text"
        ) from error


def _label(text: str, codes: str, path: Path, line: int) -> int:
    try:
        return parse_label(text, codes)
    except Face2ExpError as error:
        raise Face2ExpError(f"{path}, line {line}: {error}") from error


def _members(archive: Path) -> set[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return set(opened.namelist())
    except Exception as error:  # a damaged directory makes zipfile raise nearly anything
        raise Face2ExpError(
            f"{archive}: not a readable zip ({error}): fetch or render it again"
        ) from error


def _name(root: Path, part: str) -> str:
    return f"{root.name}/{part}" if part else root.name


def _parts(root: Path) -> str:
    return ", ".join(sorted(path.stem for path in root.glob("*.zip"))) or f"none in {root}"


def _must_exist(path: Path, way_out: str) -> None:
    if not path.exists():
        raise Face2ExpError(f"{path}: no such file or folder: {way_out}")
