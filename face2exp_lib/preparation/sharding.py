"""`face2exp data shard`: any set as shards, made once and read many times.

The images are shuffled once here, since sources are sorted by person or class, and a stream that
mixes a few shards at a time would go through them in that order. A shard is a function of the
source, the recipe and its number alone: workers make shards independently, and a killed job goes
on with those that are missing. Every image is decoded once: a broken one must not stop a training
run after days.

What lies in memory is the source's list, 8 bytes an image for the order, and the lists of the
shards under way.
"""

import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image
from tqdm import tqdm

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import ENDINGS, open_image
from face2exp_lib.data.sets.images import decode_whole, unreadable
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.shards.check import check_shard
from face2exp_lib.data.shards.reader import ShardSet
from face2exp_lib.data.shards.writer import (
    VERSION,
    About,
    Sample,
    Shard,
    index_of,
    is_shard_name,
    read_remarks,
    set_digest,
    shard_name,
    table_name,
    write_shard,
)
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator
from face2exp_lib.runtime.storage import read_json, write_json
from face2exp_lib.runtime.workers import run_all

KEY_DIGITS = 10
SKIPPED = "unreadable"


# At 256 px about 0.2 GB a shard: files large enough to be read in sequence, and a window of eight
# of them, which a stream mixes, fits into the page cache. 260 million images are 26,000 files.
IMAGES_PER_SHARD = 10_000
QUALITY = 90


@dataclass(frozen=True)
class Recipe:
    """How a set becomes shards.

    Attributes:
        size: side in px to which images are resized, upright and as RGB, and stored as JPEG; None
            copies the stored files as they are.
        quality: of the JPEG, 1 to 95.
        images_per_shard: of all but the last.
        seed: of the order; None keeps the source's.
    """

    size: int | None = None
    quality: int = QUALITY
    images_per_shard: int = IMAGES_PER_SHARD
    seed: int | None = 0


@dataclass(frozen=True)
class Job:
    """One shard to be made.

    Attributes:
        folder: where it belongs.
        making: where it is written, of this run alone: workers of a killed one may live on for a
            moment.
        name, number: of the set, and of the shard in it.
        faces: its images and nothing of the others.
        first: number of the first of them in the whole order, which is its key.
        digest: names the source and the recipe.
        skip_bad: leave images out that cannot be used, instead of stopping at the first.
    """

    folder: Path
    making: Path
    name: str
    number: int
    faces: FaceSet
    first: int
    recipe: Recipe
    digest: str
    skip_bad: bool


def shard_set(
    faces: FaceSet, out: Path | str, recipe: Recipe, *, skip_bad: bool = False, workers: int = 1
) -> tuple[ShardSet, list[tuple[str, str]]]:
    """Write a set as shards into `out`, or go on with it. The index comes last.

    Returns:
        The set, and id and reason of each image that was left out.

    Raises:
        Face2ExpError: if `out` cannot be written or is full, holds something else of that name, or
            another process is writing it; if an image cannot be used. Finished shards are kept.
    """
    out = Path(out)
    if recipe.size is None and not faces.images.holds_files:
        raise Face2ExpError(
            f"{faces.name}: its images are no files that could be copied: give --size"
        )
    name = file_name(faces.name)
    with locked(out, name):
        digest = _claim(faces, out, name, recipe)
        for left in out.glob(f".{name}.making-*"):
            shutil.rmtree(left, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix=f".{name}.making-", dir=out))
        try:
            _make_all(faces, out, making, name, recipe, digest, skip_bad, workers)
            shards, left_out = _finished(faces, out, name, recipe)
            if left_out and not skip_bad:
                raise Face2ExpError(
                    f"{out}: an earlier run left {len(left_out)} images out, such as "
                    f"{left_out[0][0]}: name a file with --skip-bad, too"
                )
            if not sum(shard.nsamples for shard in shards):
                raise Face2ExpError(f"{faces.name}: no image is left of it: mend the source")
            write_json(out / f"{name}.json", index_of(name, set_digest(shards), shards))
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return ShardSet(out, name, shards), left_out


def make_shard(job: Job) -> None:
    """Make one shard, unless it is there and whole.

    Raises:
        Face2ExpError: if there is no room for it, or an image cannot be used.
    """
    if _is_made(job):
        return
    url = shard_name(job.name, job.number)
    skipped: list[tuple[str, str]] = []
    try:
        samples = _samples(job, skipped)
        shard = write_shard(job.making / url, samples, {"job": job.digest, SKIPPED: skipped})
        check_shard(ShardSet(job.making, job.name, (shard,)), 0)
        for file_name in (url, table_name(url)):  # the table, which says that it is whole, last
            (job.making / file_name).replace(job.folder / file_name)
    except OSError as error:
        for file_name in (url, table_name(url)):
            (job.making / file_name).unlink(missing_ok=True)
        raise Face2ExpError(
            f"{job.folder / url}: cannot write ({error.strerror}): free some space and run again; "
            "finished shards are kept"
        ) from error


def _make_all(
    faces: FaceSet,
    out: Path,
    making: Path,
    name: str,
    recipe: Recipe,
    digest: str,
    skip_bad: bool,
    workers: int,
) -> None:
    order = np.arange(len(faces))
    if recipe.seed is not None:
        order = numpy_generator(recipe.seed, "shards").permutation(len(faces))

    def jobs() -> Iterator[Job]:
        for number, first in enumerate(range(0, len(faces), recipe.images_per_shard)):
            part = faces.subset(order[first : first + recipe.images_per_shard])
            images = part.images.take(part.rows)
            part = replace(part, images=images, rows=np.arange(len(part)), skipped=())
            yield Job(out, making, name, number, part, first, recipe, digest, skip_bad)

    with (
        tqdm(total=len(faces), desc=f"shard {faces.name}", unit="image") as bar,
        closing(run_all(make_shard, jobs(), workers)) as done,
    ):
        for job in done:
            bar.update(len(job.faces))


def _samples(job: Job, skipped: list[tuple[str, str]]) -> Iterator[Sample]:
    for row in range(len(job.faces)):
        try:
            yield make_sample(job.faces, row, f"{job.first + row:0{KEY_DIGITS}d}", job.recipe)
        except Face2ExpError as error:
            if not job.skip_bad:
                raise Face2ExpError(
                    f"{error}; --skip-bad FILE leaves such images out and lists them"
                ) from error
            skipped.append((readable(job.faces.images.ids[row]), str(error)))


def _is_made(job: Job) -> bool:
    """Whether the shard lies there, of this job and whole."""
    url = shard_name(job.name, job.number)
    found = read_remarks(job.folder, url)
    if found is None or found[1].get("job") != job.digest or found[0].url != url:
        return False
    try:
        check_shard(ShardSet(job.folder, job.name, (found[0],)), 0)
    except Face2ExpError:
        return False
    return True


def _finished(
    faces: FaceSet, out: Path, name: str, recipe: Recipe
) -> tuple[tuple[Shard, ...], list[tuple[str, str]]]:
    """All shards, and what was left out of them."""
    shards, left_out = [], []
    for number in range(-(-len(faces) // recipe.images_per_shard)):
        found = read_remarks(out, shard_name(name, number))
        if found is None:
            raise Face2ExpError(f"{out / shard_name(name, number)}: vanished: run again")
        shards.append(found[0])
        left_out += [(image, reason) for image, reason in found[1][SKIPPED]]
    return tuple(shards), left_out


def _claim(faces: FaceSet, out: Path, name: str, recipe: Recipe) -> str:
    """Make sure that nothing is overwritten; gives back the digest of the job.

    Raises:
        Face2ExpError: if another set, or this one with another recipe, has that name there.
    """
    job = {"version": VERSION, "set": faces.name, "source": _digest(faces), **asdict(recipe)}
    path = out / f".{name}.job.json"
    if path.exists():
        before = read_json(path)
        other = [key for key, value in job.items() if before.get(key) != value]
        if other:
            raise Face2ExpError(
                f"{out}: holds shards of '{name}' made with another {', '.join(other)}: choose "
                f"another --out, or delete them and {path.name}"
            )
    else:
        there = [p for p in out.glob(f"{name}-*.tar") if is_shard_name(p.name, name)]
        if there or (out / f"{name}.json").exists():
            raise Face2ExpError(
                f"{out}: holds a '{name}' that is not from here: choose another --out"
            )
        write_json(path, job)
    return hashlib.blake2b(json.dumps(job).encode(), digest_size=16).hexdigest()


def _digest(faces: FaceSet) -> str:
    """What the source lists: ids, labels, persons and points."""
    digest = hashlib.blake2b(faces.digest.encode(), digest_size=16)
    for values in (faces.identities, faces.landmarks, faces.canonical):
        digest.update(b"-" if values is None else np.ascontiguousarray(values).data)
    return digest.hexdigest()


@contextmanager
def locked(out: Path | str, name: str) -> Iterator[None]:
    """Write a set alone.

    Raises:
        Face2ExpError: if another process does, or nobody can write there.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / f".{name}.lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Face2ExpError(
            f"{out}: another process is writing '{name}' there: wait for it"
        ) from error
    except OSError as error:
        raise Face2ExpError(
            f"{out}: cannot write here ({error.strerror}): choose another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()


def file_name(name: str) -> str:
    """A set's name as part of a file's."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in name)
    return kept.strip("-") or "faces"


NAMES = class_names(8)


def make_sample(faces: FaceSet, row: int, key: str, recipe: Recipe) -> Sample:
    """One image as it is stored, with all that its set tells.

    Raises:
        Face2ExpError: if it cannot be read to its end, or its landmarks are no numbers.
    """
    images, image = faces.images, decode_whole(faces.images, row)
    try:
        stored = images.read(row)
        suffix, content = _encoded(image, stored, recipe)
    except (OSError, ValueError) as error:
        raise unreadable(images, row, error) from error
    width, height = image.size
    points = None
    if faces.landmarks is not None:
        points = faces.landmarks[row].astype(np.float32)
        if not np.isfinite(points).all():
            raise Face2ExpError(f"{images.ids[row]}: its landmarks are no numbers: find them again")
    if recipe.size is not None:
        if points is not None:
            points = points * np.array([recipe.size / width, recipe.size / height], np.float32)
        width = height = recipe.size
    about = About(
        id=readable(images.ids[row]),
        width=width,
        height=height,
        digest=hashlib.blake2b(stored, digest_size=16).digest(),
        label=None if faces.labels is None else int(faces.labels[row]),
        identity=None if faces.identities is None else str(faces.identities[row]),
        landmarks=points,
        detected=None if faces.canonical is None else not faces.canonical[row],
    )
    return Sample(f"{key}{suffix}", content, _told(about), about)


def _encoded(image: Image.Image, stored: bytes, recipe: Recipe) -> tuple[str, bytes]:
    """Ending of its name and bytes of an image as the recipe wants it."""
    if recipe.size is None:
        with open_image(io.BytesIO(stored)) as opened:
            # A JPEG of several pictures (MPO) is one to everybody who reads its first.
            return ENDINGS.get(opened.format or "", ENDINGS["JPEG"])[0], stored
    side = recipe.size
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=recipe.quality)
    return ".jpg", buffer.getvalue()


def _told(about: About) -> dict[str, Any]:
    """The object beside an image: what is known, in words that any reader understands."""
    points = None if about.landmarks is None else about.landmarks.round(2).astype(float).tolist()
    told = {
        "id": about.id,
        "digest": about.digest.hex(),
        "label": None if about.label is None else NAMES[about.label],
        "identity": about.identity,
        "landmarks": points,
        "detected": about.detected,
    }
    return {key: value for key, value in told.items() if value is not None}


def readable(name: str) -> str:
    """A file's name may be no text at all."""
    return name.encode(errors="backslashreplace").decode()
