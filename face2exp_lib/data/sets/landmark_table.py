"""A Parquet table of landmarks beside a set of images, and what a run takes from it.

One row an image, in the set's order:

    image                      its id
    state                      one of `STATES`
    reason                     why it is unreadable or implausible, else empty
    probability                of the face, 0 to 1, in steps of 1/1024
    faces                      how many were found in the image; the row tells of one
    left, top, right, bottom   its box, px
    left_eye_x ... mouth_right_y   its points, px
    width, height              of the upright image, px

px are counted from the outer edge of the upright image's first pixel, in steps of 1/16. What is not
known is null. The file's metadata, JSON under `KEY`, say which set it was made for and how. It is
read by pyarrow alone, and nothing in it can run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FaceSquares
from face2exp_lib.data.sets.landmarks import average_points
from face2exp_lib.runtime.errors import Face2ExpError

KEY = b"face2exp_landmarks"
VERSION = 1
STATES = ("detected", "undetected", "implausible", "unreadable")
MARGIN = 0.1  # of the box's longer side, added on every side: about that of FaceNet's faces
EDGES = ("left", "top", "right", "bottom")
POINTS = tuple(
    f"{name}_{axis}"
    for name in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    for axis in "xy"
)
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("probability", pa.float32()),
        ("faces", pa.int32()),
        *((name, pa.float32()) for name in (*EDGES, *POINTS)),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
MAX_SIDE = 100_000.0  # px
SAMPLED = 16  # images whose bytes tell that they are still those that were looked at
ROWS_AT_ONCE = 2**16


def text_of(image: str) -> str:
    """An id as text: a file's name may be none."""
    return image.encode(errors="backslashreplace").decode()


def list_remarks(faces: FaceSet) -> dict[str, Any]:
    """What tells a set from another: its name, ids and, of a few images, the stored bytes."""
    ids, sample = hashlib.blake2b(digest_size=16), hashlib.blake2b(digest_size=16)
    for row in faces.rows:
        image = faces.images.ids[row]
        ids.update(f"{len(image)} {image}\n".encode(errors="surrogateescape"))
    count = len(faces)
    for index in np.unique(np.linspace(0, count - 1, min(SAMPLED, count)).astype(np.int64)):
        try:
            stored = faces.images.read(faces.rows[index])
        except Exception:  # as in `images.decode`; an image that is missing is so each time
            stored = b""
        sample.update(hashlib.blake2b(stored).digest())
    return {
        "version": VERSION,
        "set": faces.name,
        "images": count,
        "ids": ids.hexdigest(),
        "sample": sample.hexdigest(),
    }


def schema_with(remarks: dict[str, Any]) -> pa.Schema:
    """The schema with a file's metadata."""
    return SCHEMA.with_metadata({KEY: json.dumps(remarks, sort_keys=True)})


def read_remarks(path: Path | str) -> dict[str, Any]:
    """What a table says about itself.

    Raises:
        Face2ExpError: if it cannot be read or is no table of landmarks.
    """
    path = Path(path)
    with _opened(path) as file:
        return _remarks(path, file)


def attach(faces: FaceSet, path: Path | str, crop: str = "whole") -> FaceSet:
    """The set with the landmarks of a table and, if asked for, cut to its faces.

    A face that was not found, or whose points cannot be those of one, gets the median of the
    others' points, relative to the image as it is opened, and `canonical` marks it.

    Args:
        crop: "whole" leaves the images as they are. "face" cuts the square round the middle of
            the box whose side is the longer one of the box and `MARGIN` on both sides; where it
            leaves the image, the edge pixels go on. Images without a face stay whole.

    Raises:
        Face2ExpError: if the table cannot be read, was made for other images or holds a box or
            points that are none.
    """
    path = Path(path)
    with _opened(path) as file:
        _must_fit(path, _remarks(path, file), faces)
        states, boxes, points, sizes = _read(path, file, faces)
    detected = states == STATES.index("detected")
    squares = np.zeros((len(faces), 4), np.int64)
    if crop == "face":
        squares[detected] = squares_round(boxes[detected])
        points = points - squares[:, None, :2].astype(np.float32)
        sizes = np.where(detected[:, None], squares[:, 2:] - squares[:, :2], sizes)
    average = average_points(points[detected] / sizes[detected][:, None])
    points[~detected] = average * sizes[~detected][:, None]
    images = faces.images
    if crop == "face":
        of_all = np.zeros((len(images.ids), 4), np.int64)
        of_all[faces.rows] = squares
        images = FaceSquares(images, of_all)
    return replace(faces, images=images, landmarks=points, canonical=~detected)


def count_states(path: Path | str) -> dict[str, int]:
    """State -> number of images, and those with several faces, read a part at a time."""
    path = Path(path)
    counts = Counter(dict.fromkeys((*STATES, "several faces"), 0))
    with _opened(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=["state", "faces"]):
            counts.update(batch["state"].to_pylist())
            counts["several faces"] += int((batch["faces"].to_numpy() > 1).sum())
    return dict(counts)


def rows_with_reason(path: Path | str, state: str) -> Iterator[tuple[str, str]]:
    """Image and reason of the rows in a state."""
    path = Path(path)
    with _opened(path) as file:
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=["image", "state", "reason"]):
            columns = batch.to_pydict()
            for image, found, reason in zip(*columns.values(), strict=True):
                if found == state:
                    yield image, reason


def squares_round(boxes: np.ndarray) -> np.ndarray:
    """The squares that `crop: face` cuts out: `MARGIN` wider on every side than the boxes.

    Args:
        boxes: (N, 4) left, top, right, bottom in px.

    Returns:
        (N, 4) int64, which may leave the image.
    """
    side = np.maximum(np.round((boxes[:, 2:] - boxes[:, :2]).max(1) * (1 + 2 * MARGIN)), 1)
    corner = np.round((boxes[:, :2] + boxes[:, 2:] - side[:, None]) / 2)
    return np.concatenate([corner, corner + side[:, None]], 1).astype(np.int64)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError as error:
        raise Face2ExpError(f"{path}: no such file: `face2exp data landmarks` makes one") from error
    except (OSError, pa.ArrowException) as error:
        reason = isinstance(error, OSError) and error.strerror
        raise Face2ExpError(
            f"{path}: not a readable Parquet file{f' ({reason})' if reason else ''}: make it again "
            "with `face2exp data landmarks`"
        ) from error


def _remarks(path: Path, file: pq.ParquetFile) -> dict[str, Any]:
    schema = file.schema_arrow
    try:
        remarks = json.loads((schema.metadata or {})[KEY])
        if remarks["version"] != VERSION or not schema.equals(SCHEMA):
            raise ValueError
        return {"set": "", "images": -1, "ids": "", "sample": "", **remarks}
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise Face2ExpError(
            f"{path}: no table of landmarks, or one of another version: make it with "
            "`face2exp data landmarks`"
        ) from error


def _must_fit(path: Path, remarks: dict[str, Any], faces: FaceSet) -> None:
    here = list_remarks(faces)
    if remarks["ids"] != here["ids"]:
        raise Face2ExpError(
            f"{path}: made for {remarks['images']} images of {remarks['set']}, and {faces.name} "
            f"lists {len(faces)} images or others: run `face2exp data landmarks` on this set"
        )
    if remarks["sample"] != here["sample"]:
        raise Face2ExpError(
            f"{path}: made for {remarks['set']} when its images were others than those of "
            f"{faces.name} now: run `face2exp data landmarks` on this set"
        )


def _read(
    path: Path, file: pq.ParquetFile, faces: FaceSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States (N,), boxes (N, 4), points (N, 5, 2) and sizes (N, 2) of a set's images."""
    rows = file.metadata.num_rows
    if rows != len(faces):
        raise Face2ExpError(f"{path}: has {rows} rows for {len(faces)} images: make it again")
    states = np.zeros(rows, np.int8)
    numbers = np.full((rows, 16), np.nan, np.float32)
    ids, start = faces.images.ids, 0
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            part = slice(start, start + len(batch))
            for row, image in zip(faces.rows[part], batch["image"].to_pylist(), strict=True):
                if image != text_of(ids[row]):
                    raise Face2ExpError(
                        f"{path}: has a row of {image} where {ids[row]} belongs: a row is there "
                        "twice or missing: make it again"
                    )
            names = batch["state"].to_pylist()
            states[part] = [STATES.index(name) for name in names]
            for column, name in enumerate((*EDGES, *POINTS, "width", "height")):
                values = batch[name].cast(pa.float32())
                numbers[part, column] = values.to_numpy(zero_copy_only=False)
            start += len(batch)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise Face2ExpError(
            f"{path}: not a readable table of landmarks, for it is damaged: make it again"
        ) from error
    boxes, points, sizes = numbers[:, :4], numbers[:, 4:14], numbers[:, 14:]
    detected = states == STATES.index("detected")
    sizes[states == STATES.index("unreadable")] = 1  # nobody opens these
    with np.errstate(invalid="ignore"):
        usable = (np.abs(boxes) < MAX_SIDE).all(1) & (np.abs(points) < MAX_SIDE).all(1)
        usable &= (boxes[:, :2] < boxes[:, 2:]).all(1)
        bad = (detected & ~usable) | ~((sizes >= 1) & (sizes < MAX_SIDE)).all(1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        raise Face2ExpError(
            f"{path}: {ids[faces.rows[first]]}: its box, points or size are none: make it again"
        )
    return states, boxes, points.reshape(-1, 5, 2).copy(), sizes
