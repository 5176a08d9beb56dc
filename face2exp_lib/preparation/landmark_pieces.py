"""The faces of a few images, and the rows that tell of them.

What a row says does not depend on the images beside it: the networks' sums come out the same to the
last bits, and what is stored is rounded to more than these.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.data.sets.landmark_table import SCHEMA, STATES, text_of
from face2exp_lib.data.sets.landmarks import implausible
from face2exp_lib.preparation.mtcnn import Detector
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes

BATCH = 32  # images


@dataclass(frozen=True)
class Found:
    """The rows of a table; NaN or 0 where something is not known.

    Attributes:
        images: ids, as `text_of` writes them.
        states: (N,) positions in `STATES`.
        reasons: see the table.
        probability: (N,).
        faces: (N,).
        boxes: (N, 4).
        points: (N, 5, 2).
        sizes: (N, 2) width and height.
    """

    images: list[str]
    states: np.ndarray
    reasons: list[str]
    probability: np.ndarray
    faces: np.ndarray
    boxes: np.ndarray
    points: np.ndarray
    sizes: np.ndarray

    def table(self) -> pa.Table:
        """The rows as they are stored."""

        def known(values: np.ndarray, kind: pa.DataType) -> pa.Array:
            return pa.array(values, kind, mask=~np.isfinite(values.astype(np.float64)))

        boxes, points = _in_steps(self.boxes, 16), _in_steps(self.points, 16).reshape(-1, 10)
        sizes = np.where(self.sizes > 0, self.sizes, np.nan)
        return pa.table(
            [
                pa.array(self.images, pa.string()),
                pa.array([STATES[state] for state in self.states], pa.string()),
                pa.array(self.reasons, pa.string()),
                known(_in_steps(self.probability, 1024), pa.float32()),
                pa.array(self.faces, pa.int32()),
                *(known(column, pa.float32()) for column in (*boxes.T, *points.T)),
                *(known(column, pa.int32()) for column in sizes.T),
            ],
            schema=SCHEMA,
        )


@dataclass(frozen=True)
class Piece:
    """Some consecutive images of a set.

    Attributes:
        faces: these images and nothing of the others.
        search: key of `mtcnn.SEARCHES`.
        path: where the rows belong.
    """

    faces: FaceSet
    search: str
    path: Path


def write_piece(piece: Piece) -> None:
    """Look at the images of a piece and write its rows."""
    write_bytes(piece.path, rows_of(piece))


def rows_of(piece: Piece) -> bytes:
    """The rows of a piece, as a Parquet file."""
    detector, faces = _detector_for(piece.search), piece.faces
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with more, sums come out in another order
    try:
        parts = [
            look(detector, faces.subset(np.arange(start, min(start + BATCH, len(faces))))).table()
            for start in range(0, len(faces), BATCH)
        ]
    finally:
        torch.set_num_threads(threads)
    content = io.BytesIO()
    pq.write_table(pa.concat_tables(parts), content)
    return content.getvalue()


def look(detector: Detector, faces: FaceSet) -> Found:
    """Look at all images of a small set, as one batch."""
    count = len(faces)
    images: list[Image.Image] = []
    readable: list[int] = []
    reasons = [""] * count
    states = np.full(count, STATES.index("unreadable"))
    for index, row in enumerate(faces.rows):
        try:
            images.append(decode_whole(faces.images, int(row)))
            readable.append(index)
        except Face2ExpError as error:
            reasons[index] = text_of(str(error))
    found = Found(
        [text_of(image) for image in faces.ids],
        states,
        reasons,
        np.full(count, np.nan),
        np.zeros(count, np.int64),
        np.full((count, 4), np.nan),
        np.full((count, 5, 2), np.nan),
        np.zeros((count, 2), np.int64),
    )
    if not images:
        return found
    seen = detector.detect(images)
    found.sizes[readable] = [image.size for image in images]
    found.probability[readable], found.boxes[readable] = seen.probability, seen.boxes
    found.points[readable], found.faces[readable] = seen.points, seen.faces
    hit = np.array(readable)[seen.faces > 0]
    states[readable] = STATES.index("undetected")
    why = implausible(found.points[hit], found.sizes[hit], found.boxes[hit])
    for index, reason in zip(hit.tolist(), why, strict=True):
        states[index] = STATES.index("implausible" if reason else "detected")
        reasons[index] = reason
    return found


@lru_cache(maxsize=1)
def _detector_for(search: str) -> Detector:
    return Detector(search)


def _in_steps(values: np.ndarray, steps: int) -> np.ndarray:
    """Rounded: sums of a batch come out in another order than those of one image."""
    return np.round(values.astype(np.float64) * steps) / steps
