"""Lists of images that travel without the images: a draw to share, and what training drops.

Both are csv tables in UTF-8; lines before the column names that begin with `#` are remarks.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.tables import BadRows, read_table
from face2exp_lib.data.sets.facesets import FaceSet, plain_id
from face2exp_lib.data.sets.labels import class_names, parse_label
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes

NAMES = class_names(8)


@dataclass(frozen=True)
class Draw:
    """`plain_id` of an image -> label of what a run trains on, and of what chooses its
    checkpoint."""

    train: dict[str, int]
    validation: dict[str, int]


def list_hashes(faces: FaceSet) -> np.ndarray:
    """A number for each image and its label, (N,) uint64, sorted: two lists can be compared by
    them without holding the other's ids."""
    found = np.empty(len(faces), np.uint64)
    for index, row in enumerate(faces.rows):
        label = -1 if faces.labels is None else int(faces.labels[index])
        named = f"{faces.images.ids[row]} {label}".encode(errors="surrogateescape")
        found[index] = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")
    return np.sort(found)


def write_table(
    path: Path | str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    remarks: Mapping[str, object] | None = None,
) -> None:
    """Write a csv table, atomically.

    Raises:
        Face2ExpError: if the folder cannot be written or the disk is full.
    """
    path = Path(path)
    buffer = io.StringIO()
    for name, value in (remarks or {}).items():
        buffer.write(f"# {name}: {value}\n")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    # A file's name may be no text at all.
    write_bytes(path, buffer.getvalue().encode(errors="surrogateescape"))


def write_draw(
    path: Path | str, parts: Mapping[str, FaceSet], remarks: Mapping[str, object]
) -> None:
    """Write what was drawn, as `read_draw` reads it.

    Args:
        parts: labelled sets by `train` and `validation`.
        remarks: what the draw was made from.
    """
    path = Path(path)
    rows = [
        (image, NAMES[label], part)
        for part, faces in parts.items()
        for image, label in zip(faces.ids, faces.known_labels().tolist(), strict=True)
    ]
    write_table(path, ("image", "label", "part"), rows, remarks)


def read_draw(path: Path | str) -> Draw:
    """Read a table of image, label and, where not all are for training, part.

    Raises:
        Face2ExpError: naming file and line, if a row cannot be used or names an image again.
    """
    path = Path(path)
    draw = Draw({}, {})
    for line, row in _rows(path, {"image", "label"}):
        image, part = plain_id(row["image"]), row.get("part", "train")
        if part not in ("train", "validation"):
            raise Face2ExpError(
                f"{path}, line {line}: part '{part}' is neither train nor validation"
            )
        if image in draw.train or image in draw.validation:
            raise Face2ExpError(f"{path}, line {line}: {image} is listed twice: delete one row")
        try:
            label = parse_label(row["label"])
        except Face2ExpError as error:
            raise Face2ExpError(f"{path}, line {line}: {error}") from error
        (draw.train if part == "train" else draw.validation)[image] = label
    if not draw.train:
        raise Face2ExpError(f"{path}: lists no image for training: write it again")
    return draw


class Drops:
    """Which images of which sets training does without, by tables of `data inspect` and others.

    A set is the one whose resolved path a row has. Where no row has it, the table has come from
    elsewhere with its images: then the set's name decides.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], set[str]] = {}  # name and path -> ids

    def add(self, name: str, origin: str, image: str, drop: bool) -> None:
        """One row of a table."""
        listed = self._rows.setdefault((name, origin), set())
        if drop:
            listed.add(image)

    def __bool__(self) -> bool:
        return bool(self._rows)

    @property
    def names(self) -> str:
        """The sets, for people."""
        return ", ".join(sorted({name for name, _ in self._rows}))

    def knows(self, name: str, origin: str) -> bool:
        """Whether a table lists images of a set."""
        return bool(self._of(name, origin))

    def ids(self, name: str, origin: str) -> set[str]:
        """Ids of a set's images to drop."""
        return set().union(*(self._rows[key] for key in self._of(name, origin)))

    def _of(self, name: str, origin: str) -> list[tuple[str, str]]:
        exact = [key for key in self._rows if origin and key[1] == origin]
        return exact or [key for key in self._rows if key[0] == name]


def read_drops(*paths: Path) -> Drops:
    """What tables of audits and inspections say to drop.

    Raises:
        Face2ExpError: if one is no such table.
    """
    drops = Drops()
    for path in paths:
        for line, row in _rows(path, {"set", "image", "drop"}):
            if row["drop"] not in ("yes", "no"):
                raise Face2ExpError(
                    f"{path}, line {line}: drop '{row['drop']}' is neither yes nor no"
                )
            drops.add(row["set"], row.get("path", ""), row["image"], row["drop"] == "yes")
    return drops


def write_drops(
    path: Path | str, found: Sequence[tuple[FaceSet, Iterable[tuple[str, str]]]]
) -> int:
    """Write what was left out of sets and what cannot be read, as `data.drop` takes it.

    Args:
        found: sets, and of each id and reason of the images that cannot be read: training has to
            drop these. What its reader leaves out is no more in the set.

    Returns:
        Number of rows.
    """
    path = Path(path)
    rows: list[tuple[object, ...]] = []
    for faces, unreadable in found:
        named = (faces.name, faces.origin)
        rows += [(*named, skipped.image, "no", skipped.reason) for skipped in faces.skipped]
        rows += [(*named, image, "yes", reason) for image, reason in unreadable]
    write_table(path, ("set", "path", "image", "drop", "reason"), rows)
    return len(rows)


def _rows(path: Path, columns: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of each row.

    Raises:
        Face2ExpError: if the file is no table, lacks one of `columns`, or a row is cut off.
    """
    if not path.exists():
        raise Face2ExpError(f"{path}: no such table: relative paths lie below the data root")
    yield from read_table(path, columns, BadRows(skip_bad=False), remarks=True)
