"""Sets of rendered faces on disk, of any size: `face2exp data render`.

A part is drawn in chunks that are kept beside it until it is whole, so an interrupted run goes on
where it stopped, and what it writes is the same, byte for byte, whatever the number of workers.
No more than a few chunks lie in memory at a time.
"""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from face2exp_lib.rendering.layouts import LAYOUTS, UNKNOWN, ZIP_TIME, Sample
from face2exp_lib.rendering.parts import Part, Row, parse_parts, read_spec_file
from face2exp_lib.rendering.render import render_face
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import sync, write_bytes
from face2exp_lib.runtime.workers import run_all

# A chunk takes seconds, so that little is lost when the process is killed.
CHUNK_IMAGES, CHUNK_PIXELS = 50, 50 * 96 * 96
WEBP_QUALITY, WEBP_EFFORT = 88, 6


@dataclass(frozen=True)
class Chunk:
    """Images `start` to `stop - 1` of a part, and the file that keeps them until it is whole."""

    part: Part
    start: int
    stop: int
    path: Path


def render_pack(
    path: Path | str, out: Path | str, layout: str = "zip", workers: int = 1
) -> list[Part]:
    """Render what a spec file lists into `out`, and put a copy of the file there.

    Args:
        path: of YAML, see `parse_parts`.
        out: folder; what it holds of an interrupted run is taken up, what is whole is left.
        layout: key of `LAYOUTS`.
        workers: processes that draw.

    Raises:
        SpecError: if the file or one of its specs is wrong.
        Face2ExpError: see `write_pack`.
    """
    path = Path(path)
    out = Path(out)
    content = read_spec_file(path)
    parts = parse_parts(content, path)
    write_pack(parts, out, layout, workers)
    copy = out / f"{path.stem}.yaml"
    if not copy.exists() or copy.read_bytes() != content:
        write_bytes(copy, content)
    return parts


def write_pack(parts: list[Part], out: Path | str, layout: str = "zip", workers: int = 1) -> None:
    """Draw every part that is not yet whole and put it into `out`.

    Raises:
        Face2ExpError: if `out` cannot be written or is full, holds files that are not from here, or
            another process is writing it; if a worker dies. What is drawn so far is kept.
    """
    out = Path(out)
    with _locked(out):
        for part in parts:
            _check_target(part, out, layout)
        unfinished = []
        for part in parts:
            if is_whole(part, out, layout):
                _clear(part, out)
            else:
                unfinished.append(part)
        if unfinished:
            whole = sum(part.spec.count for part in parts if part not in unfinished)
            _draw(unfinished, out, layout, workers, whole)


def is_whole(part: Part, out: Path | str, layout: str = "zip") -> bool:
    """Whether the files in `out` hold exactly this part."""
    out = Path(out)
    tables = all((out / table).exists() for table in part.tables)
    return tables and LAYOUTS[layout].found(part.name, out) == part.digest


def image_name(index: int) -> str:
    """File name of an image."""
    return f"{index:06d}.webp"


def encode_webp(image: np.ndarray) -> bytes:
    """An image as a WebP file."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "WEBP", quality=WEBP_QUALITY, method=WEBP_EFFORT)
    return stored.getvalue()


def render_chunk(chunk: Chunk) -> None:
    """Draw one chunk into its file.

    Raises:
        Face2ExpError: if the file cannot be written.
    """
    stored = io.BytesIO()
    rows = []
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_STORED) as archive:
        for index in range(chunk.start, chunk.stop):
            image, record = render_face(chunk.part.spec, index)
            archive.writestr(zipfile.ZipInfo(image_name(index), ZIP_TIME), encode_webp(image))
            rows.append({"image": image_name(index), **record.row()})
        archive.writestr(zipfile.ZipInfo("rows.json", ZIP_TIME), json.dumps(rows))
    write_bytes(chunk.path, stored.getvalue())


def _draw(parts: list[Part], out: Path, layout: str, workers: int, whole: int) -> None:
    """Draw what is missing of parts, and finish each as soon as nothing is.

    Args:
        whole: images of other parts that are done: the progress bar counts them, too.
    """
    drawn = {part.name: {path.name for path in _staging(part, out).glob("*.zip")} for part in parts}

    def undrawn(part: Part) -> Iterator[Chunk]:
        return (c for c in _chunks(part, out) if c.path.name not in drawn[part.name])

    missing = {part.name: sum(c.stop - c.start for c in undrawn(part)) for part in parts}
    jobs = chain.from_iterable(map(undrawn, parts))
    total = whole + sum(part.spec.count for part in parts)
    with (
        tqdm(total=total, initial=total - sum(missing.values()), unit="face") as bar,
        closing(run_all(render_chunk, jobs, workers)) as done,
    ):
        for part in parts:
            if not missing[part.name]:
                _finish(part, out, layout)
        for chunk in done:
            bar.update(chunk.stop - chunk.start)
            missing[chunk.part.name] -= chunk.stop - chunk.start
            if not missing[chunk.part.name]:
                bar.set_postfix_str(f"packing {chunk.part.name}")
                _finish(chunk.part, out, layout)
                bar.set_postfix_str("")


def _staging(part: Part, out: Path) -> Path:
    return out / f".{part.name}.{part.digest[:12]}"


def _chunks(part: Part, out: Path) -> Iterator[Chunk]:
    staging, spec = _staging(part, out), part.spec
    step = max(1, min(CHUNK_IMAGES, CHUNK_PIXELS // spec.size**2))
    for start in range(0, spec.count, step):
        stop = min(start + step, spec.count)
        yield Chunk(part, start, stop, staging / f"{start:06d}-{stop:06d}.zip")


@contextmanager
def _opened(chunk: Chunk) -> Iterator[tuple[zipfile.ZipFile, list[Row]]]:
    try:
        with zipfile.ZipFile(chunk.path) as archive:
            yield archive, json.loads(archive.read("rows.json"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise Face2ExpError(f"{chunk.path}: damaged ({error}): delete it and run again") from error


def _rows(part: Part, out: Path) -> Iterator[Row]:
    for chunk in _chunks(part, out):
        with _opened(chunk) as (_, rows):
            yield from rows


def _samples(part: Part, out: Path) -> Iterator[Sample]:
    for chunk in _chunks(part, out):
        with _opened(chunk) as (archive, rows):
            for row in rows:
                yield part.public(row), archive.read(row["image"])


def _finish(part: Part, out: Path, layout: str) -> None:
    """Make the part of its chunks where nobody looks, then put it in its place, the table last.

    Raises:
        Face2ExpError: if there is no room for it; the chunks are kept.
    """
    form, made = LAYOUTS[layout], _staging(part, out) / "made"

    def placed(row: Row) -> Row:
        return {**row, "image": form.place(part.public(row))}

    try:
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        form.write(part.name, part.digest, _samples(part, out), made)
        truth, public = part.tables[0], part.tables[-1]
        _write_table(made / truth, (placed(row) for row in _rows(part, out)))
        if public != truth:
            _write_table(made / public, (part.public(placed(row)) for row in _rows(part, out)))
        for table in part.tables:
            (out / table).unlink(missing_ok=True)  # an older part stops being whole here
        form.move(part.name, made, out)
        for table in part.tables:
            (made / table).replace(out / table)
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)  # room for whoever needs it most
        raise Face2ExpError(
            f"{out}: cannot write {part.name} ({error.strerror}): free some space and run again; "
            "what is drawn is kept"
        ) from error
    _clear(part, out)


def _write_table(path: Path, rows: Iterable[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, row in enumerate(rows):
            if number == 0:
                writer.writerow(row)
            writer.writerow(row.values())
        sync(file)


def _clear(part: Part, out: Path) -> None:
    """Delete what drawing the part has left beside it, also under specs it had before."""
    for path in out.glob(f".{part.name}.*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Face2ExpError(
            f"{out}: another process is rendering into this folder: wait for it, or choose another"
        ) from error
    except OSError as error:
        raise Face2ExpError(
            f"{out}: cannot write here ({error.strerror}): choose a folder that can be written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _check_target(part: Part, out: Path, layout: str) -> None:
    """Make sure that writing the part overwrites nothing but an earlier rendering of it."""
    for kind, form in LAYOUTS.items():
        found = form.found(part.name, out)
        if found is not None and kind != layout:
            raise Face2ExpError(
                f"{out}: holds '{part.name}' as {kind}: choose another folder, or delete that"
            )
        if found == UNKNOWN:
            raise Face2ExpError(
                f"{out}: holds a '{part.name}' that was not rendered: choose another folder, or "
                "move it away"
            )
    for table in part.tables:
        try:
            with (out / table).open("rb") as file:
                ours = file.read(6) == b"image,"
        except FileNotFoundError:
            continue
        except OSError:
            ours = False
        if not ours:
            raise Face2ExpError(
                f"{out / table}: is no table of rendered faces: choose another folder, or move it "
                "away"
            )
