"""`face2exp data landmarks`: look for the face in every image of a set, once.

The set is cut into pieces of consecutive images. A piece is a function of its images alone, so it
does not matter who works on it, in which order or how often: processes of this machine, or of a Ray
cluster, whose restarts only repeat a piece. Finished pieces lie beside the result until all are
there; a job that was killed goes on with those that are missing.
"""

import io
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from face2exp_lib import __version__
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.data.sets.landmark_table import (
    SCHEMA,
    STATES,
    list_remarks,
    read_remarks,
    schema_with,
    text_of,
)
from face2exp_lib.data.sets.landmarks import implausible
from face2exp_lib.preparation.mtcnn import MISSING, SEARCHES, Detector
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, sync, write_bytes, write_json
from face2exp_lib.runtime.workers import run_all

IMAGES_PER_PIECE = 512  # some seconds' work: what a kill loses
ROWS_PER_GROUP = 2**16
PLAN = "plan.json"


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


Engine = Callable[[Iterator[Piece]], Generator[Piece, None, None]]
"""Sees to it that `write_piece` is done for each piece, and gives it back then, in any order."""


def find_landmarks(
    faces: FaceSet,
    out: Path | str,
    *,
    search: str = "crop",
    skip_bad: bool = False,
    workers: int = 1,
    engine: Engine | None = None,
    images_per_piece: int = IMAGES_PER_PIECE,
) -> bool:
    """Write the table of a set's landmarks, or go on with it.

    Args:
        out: the Parquet file; finished pieces lie in a folder beside it until it is there.
        search: key of `mtcnn.SEARCHES`.
        skip_bad: write the table even if images cannot be read; it tells which.
        workers: processes; 1 is this one.
        engine: works on the pieces instead of processes of this machine.
        images_per_piece: images that are looked at anew, at most, by each process after a kill.

    Returns:
        Whether there was something to do; False if the table was there.

    Raises:
        Face2ExpError: if another table or other pieces lie there, facenet-pytorch is missing, an
            image cannot be read or the disk is full.
    """
    out = Path(out)
    if len(faces) == 0:
        raise Face2ExpError(f"{faces.name}: has no image: nothing to look for")
    remarks = {**list_remarks(faces), "detector": _detector(search), "software": _software()}
    if out.exists():
        if read_remarks(out) != remarks:
            raise Face2ExpError(
                f"{out}: is there, and was made for other images or in another way: delete it, or "
                "choose another --out"
            )
        return False
    folder = out.with_name(f"{out.name}.pieces")
    starts = range(0, len(faces), images_per_piece)
    paths = [folder / f"{start:012d}.parquet" for start in starts]

    def missing() -> Iterator[Piece]:
        for start, path in zip(starts, paths, strict=True):
            if not path.exists():
                part = np.arange(start, min(start + images_per_piece, len(faces)))
                alone = FaceSet(
                    faces.name, faces.images.take(faces.rows[part]), np.arange(len(part))
                )
                yield Piece(alone, search, path)

    # Without the sample: an image that could not be read may have been replaced.
    plan = {key: value for key, value in remarks.items() if key != "sample"}
    with _begun(folder, {**plan, "images_per_piece": images_per_piece}):
        done = images_per_piece * sum(path.exists() for path in paths)
        with (
            tqdm(
                total=len(faces),
                initial=min(done, len(faces)),
                desc=f"landmarks {faces.name}",
                unit="image",
            ) as bar,
            closing(
                engine(missing()) if engine else run_all(write_piece, missing(), workers)
            ) as ran,
        ):
            for piece in ran:
                bar.update(len(piece.faces))
        if not skip_bad:
            _must_be_readable(paths, faces)
        _join(paths, folder / "all", out, schema_with(remarks))
    shutil.rmtree(folder)
    return True


def _detector(search: str) -> dict[str, Any]:
    return {"name": "MTCNN", "faces": search, "searches": [asdict(s) for s in SEARCHES[search]]}


def _software() -> dict[str, str]:
    """What the numbers depend on."""
    try:
        packages = {name: version(name) for name in ("facenet-pytorch", "torch", "Pillow")}
    except PackageNotFoundError as error:
        raise Face2ExpError(MISSING) from error
    return {"face2exp_lib": __version__, **packages}


@contextmanager
def _begun(folder: Path, plan: dict[str, Any]) -> Iterator[None]:
    """Hold the folder of a plan's pieces, which belongs to one process and one plan."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Face2ExpError(f"{folder}: another process is at work there: wait for it") from error
    except OSError as error:
        raise Face2ExpError(
            f"{folder}: cannot write here ({error.strerror}): choose another --out"
        ) from error
    try:
        if not (folder / PLAN).exists():
            write_json(folder / PLAN, plan)
        elif read_json(folder / PLAN) != plan:
            raise Face2ExpError(
                f"{folder}: holds pieces for other images or made in another way: delete it to "
                "begin anew, or choose another --out"
            )
        yield
    finally:
        lock.release()


def _must_be_readable(paths: list[Path], faces: FaceSet) -> None:
    """Forget the pieces with images that cannot be read, so that these are looked at again."""
    bad: list[str] = []
    for path in paths:
        columns = _piece(path, ["state", "reason"]).to_pydict()
        rows = zip(columns["state"], columns["reason"], strict=True)
        unreadable = [reason for state, reason in rows if state == "unreadable"]
        if unreadable:
            bad += unreadable
            path.unlink()
    if bad:
        raise Face2ExpError(
            f"{faces.name}: {len(bad)} unreadable images; the first is {bad[0]}; --skip-bad FILE "
            "lists all of them and goes on"
        )


def _join(paths: list[Path], partial: Path, out: Path, schema: pa.Schema) -> None:
    """Write all pieces into one file, a part at a time."""
    held: list[pa.Table] = []
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            for path in paths:
                held.append(_piece(path))
                if path == paths[-1] or sum(map(len, held)) >= ROWS_PER_GROUP:
                    rows = pa.concat_tables(held).replace_schema_metadata(schema.metadata)
                    writer.write_table(rows)
                    held = []
        with partial.open("rb+") as file:
            sync(file)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise Face2ExpError(
            f"{out}: cannot write ({error.strerror}): free some space and run again"
        ) from error


def _piece(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns)
    except (OSError, pa.ArrowException) as error:
        raise Face2ExpError(
            f"{path}: not a readable piece ({error}): delete it and run again"
        ) from error


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
