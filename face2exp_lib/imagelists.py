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

from face2exp_lib.adapters.tables import must_have_columns
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet
from face2exp_lib.labels import class_names, parse_label
from face2exp_lib.storage import write_bytes

NAMES = class_names(8)
LISTED = "listed in data.drop"


@dataclass(frozen=True)
class Draw:
    """Image id -> label of what a run trains on, and of what chooses its checkpoint."""

    train: dict[str, int]
    validation: dict[str, int]

    def of_classes(self, num_classes: int) -> "Draw":
        """What it lists of the first classes."""
        parts = (
            {image: label for image, label in part.items() if label < num_classes}
            for part in (self.train, self.validation)
        )
        return Draw(*parts)


def list_digest(faces: FaceSet) -> str:
    """What a set lists, as 32 hexadecimal digits: ids and labels in order, not the pixels."""
    digest = hashlib.blake2b(digest_size=16)
    for index, row in enumerate(faces.rows):  # one by one: millions of ids need not lie in memory
        image = faces.images.ids[row]
        label = -1 if faces.labels is None else int(faces.labels[index])
        digest.update(f"{len(image)} {image} {label}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def write_table(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    remarks: Mapping[str, object] | None = None,
) -> None:
    """Write a csv table, atomically.

    Raises:
        Face2ExpError: if the folder cannot be written or the disk is full.
    """
    buffer = io.StringIO()
    for name, value in (remarks or {}).items():
        buffer.write(f"# {name}: {value}\n")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    # A file's name may be no text at all.
    write_bytes(path, buffer.getvalue().encode(errors="surrogateescape"))


def write_draw(path: Path, parts: Mapping[str, FaceSet], remarks: Mapping[str, object]) -> None:
    """Write what was drawn, as `read_draw` reads it.

    Args:
        parts: labelled sets by `train` and `validation`.
        remarks: what the draw was made from.
    """
    rows = [
        (image, NAMES[label], part)
        for part, faces in parts.items()
        for image, label in zip(faces.ids, faces.known_labels().tolist(), strict=True)
    ]
    write_table(path, ("image", "label", "part"), rows, remarks)


def read_draw(path: Path) -> Draw:
    """Read a table of image, label and, where not all are for training, part.

    Raises:
        Face2ExpError: naming file and line, if a row cannot be used or names an image again.
    """
    draw = Draw({}, {})
    for line, row in _rows(path, {"image", "label"}):
        image, part = row["image"], row.get("part", "train")
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


def read_drops(path: Path) -> dict[str, set[str]]:
    """Name of a set -> ids of those of its images that an audit's table says to drop.

    Raises:
        Face2ExpError: if it is no such table.
    """
    drops: dict[str, set[str]] = {}
    for line, row in _rows(path, {"set", "image", "drop"}):
        if row["drop"] not in ("yes", "no"):
            raise Face2ExpError(f"{path}, line {line}: drop '{row['drop']}' is neither yes nor no")
        listed = drops.setdefault(row["set"], set())
        if row["drop"] == "yes":
            listed.add(row["image"])
    return drops


def must_lack_none(name: str, lacking: set[str]) -> None:
    """Raises:
    Face2ExpError: if a set lacks images that `data.drop` lists of it.
    """
    if lacking:
        raise Face2ExpError(
            f"data.drop: {name} lacks {len(lacking)} of the images that it lists, such as "
            f"{min(lacking)}: audit the set again"
        )


def without_dropped(drops: dict[str, set[str]], faces: FaceSet) -> tuple[FaceSet, dict[str, int]]:
    """The set less what `data.drop` lists of it, and a count of that.

    Raises:
        Face2ExpError: if the table lists an image that the set lacks.
    """
    dropped, ids = drops.get(faces.name, set()), faces.ids
    lacking = dropped.difference(ids)
    must_lack_none(faces.name, lacking)
    kept = np.flatnonzero([image not in dropped for image in ids])
    return faces.subset(kept), {LISTED: len(ids) - len(kept)}


def rows_of_list(
    part: dict[str, int], pool: FaceSet, listed: FaceSet, path: str | None
) -> np.ndarray:
    """Where the images of a draw's list stand in `pool`, sorted.

    Args:
        part: image id -> label.
        pool: what may be drawn.
        listed: the whole set, of which `pool` is what is left.
        path: of the list, for messages.

    Raises:
        Face2ExpError: if one is not there or has another label there.
    """
    row_of = {image: row for row, image in enumerate(pool.ids)}
    lacking = sorted(part.keys() - row_of.keys())
    if lacking:
        unknown = sorted(set(lacking).difference(listed.ids))
        if unknown:
            raise Face2ExpError(
                f"{path}: {listed.name} lacks {len(unknown)} of the images that it lists, such as "
                f"{unknown[0]}: take the list's own set"
            )
        raise Face2ExpError(
            f"{path}: {len(lacking)} of the images that it lists may not be trained on, such as "
            f"{lacking[0]}: copies of evaluation images, or in data.drop: draw again"
        )
    labels = pool.known_labels()
    for image, label in part.items():
        held = int(labels[row_of[image]])
        if held != label:
            raise Face2ExpError(
                f"{path}: {image} is '{NAMES[label]}' there and '{NAMES[held]}' in {listed.name}: "
                "take the list's own set and codes"
            )
    return np.sort(np.array([row_of[image] for image in part], dtype=np.int64))


def _rows(path: Path, columns: set[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of each row.

    Raises:
        Face2ExpError: if the file is no table, lacks one of `columns`, or a row is cut off.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            remarks, start = 0, file.tell()
            while file.readline().startswith("#"):
                remarks, start = remarks + 1, file.tell()
            file.seek(start)
            reader = csv.DictReader(file)
            must_have_columns(path, reader, columns)
            for row in reader:
                line = remarks + reader.line_num
                if None in row or None in row.values():
                    raise Face2ExpError(f"{path}, line {line}: cut off or too long: mend it")
                yield line, row
    except FileNotFoundError as error:
        raise Face2ExpError(
            f"{path}: no such table: relative paths lie below the data root"
        ) from error
    except (OSError, csv.Error) as error:
        raise Face2ExpError(f"{path}: not readable as a csv table ({error})") from error
