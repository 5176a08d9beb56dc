"""A million records as shards: killed, resumed, counted, in memory that stays flat.

    python benchmarks/shards.py --scratch DIR --photos PATH --json results/benchmarks/shards.json

Makes a RecordIO pack of tiny PNGs that show their own number, shards it with a SIGKILL on the way,
streams one epoch with SIGKILLs at random places, reads the number off every decoded image, and sees
that each came exactly once. Then bytes and images/s of a set of photographs at the sizes of the
cost sheet, `book/scale.md`. DIR is emptied at the end.
"""

import argparse
import io
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from face2exp_lib.data.batches import step_batches
from face2exp_lib.data.formats.recordio import HEADER, MAGIC, read_recordio
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.data.shards.check import shard_problems
from face2exp_lib.data.shards.reader import read_shard_set
from face2exp_lib.data.stream import StreamedFaces
from face2exp_lib.data.stream_order import open_stream
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json

SIDE = 8  # px of a tiny image
BATCH, WINDOW, WORKERS, SEED = 500, 8, 2, 0
EVERY_S = 0.5  # between two looks at the memory
KILLS = ((0.05, 0.25), (0.3, 0.5))  # of the epoch: each at a random place in there
SIZES = (112, 256)  # px, of the cost sheet
PHOTOS = 4000
PAGE = os.sysconf("SC_PAGE_SIZE")


def tiny(number: int) -> bytes:
    """A PNG whose first pixel tells its number."""
    pixels = ((np.arange(SIDE * SIDE * 3) * 2_654_435_761 + number * 40_503) >> 8).astype(np.uint8)
    pixels[:3] = number & 255, number >> 8 & 255, number >> 16
    buffer = io.BytesIO()
    Image.fromarray(pixels.reshape(SIDE, SIDE, 3)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def numbers(images: torch.Tensor) -> np.ndarray:
    """What the images (N, 3, SIDE, SIDE) tell."""
    first = images[:, :, 0, 0].to(torch.int64)
    return (first[:, 0] + (first[:, 1] << 8) + (first[:, 2] << 16)).numpy().astype(np.int32)


def write_pack(folder: Path, count: int) -> None:
    """`train.rec` and `train.idx` with ten images of each person, one after the other."""
    folder.mkdir(parents=True)
    with (folder / "train.rec").open("wb") as records, (folder / "train.idx").open("w") as index:
        for number in range(count):
            content = HEADER.pack(0, number // 10, number, 0) + tiny(number)
            index.write(f"{number}\t{records.tell()}\n")
            records.write(struct.pack("<II", MAGIC, len(content)) + content)
            records.write(bytes(-len(content) % 4))


def shard(pack: Path, out: Path, images_per_shard: int) -> None:
    """In a process of its own, to be killed."""
    faces = read_recordio(pack, "", "")
    recipe = Recipe(images_per_shard=images_per_shard, seed=SEED)
    shard_set(faces, out, recipe, workers=WORKERS)


def consume(folder: Path, log: Path, steps: int) -> None:
    """In a process of its own, to be killed: append the numbers of each batch to the log."""
    torch.set_num_threads(1)
    faces = StreamedFaces(open_stream(folder, ""), SIDE, window=WINDOW)
    size = BATCH * np.dtype(np.int32).itemsize
    done = log.stat().st_size // size if log.exists() else 0
    with log.open("ab") as file:
        file.truncate(done * size)  # the batch in which it was killed
        batches = step_batches(
            faces, BATCH, start=done, stop=steps, seed=SEED, stream="fr", workers=WORKERS
        )
        for batch in batches:
            file.write(numbers(batch.images).tobytes())
            file.flush()


def memory(process: int) -> dict[str, float]:
    """Resident MB of a process, and of its children together."""

    def resident(one: int) -> float:
        try:
            return int(Path(f"/proc/{one}/statm").read_text().split()[1]) * PAGE / 1e6
        except (OSError, IndexError):
            return 0.0

    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        listed = []
    return {"main": resident(process), "children": sum(resident(int(one)) for one in listed)}


def watch(
    command: list[str], progress: Callable[[], float], stop_at: float | None
) -> list[dict[str, float]]:
    """Run a process of this script; kill it where it has come to `stop_at` of its work."""
    started = time.perf_counter()
    errors = None if stop_at is None else subprocess.DEVNULL  # orphaned workers complain
    process = subprocess.Popen([sys.executable, __file__, *command], stderr=errors)
    seen = []
    while process.poll() is None:
        part = progress()
        now = {"seconds": time.perf_counter() - started, "progress": part}
        seen.append({**now, **memory(process.pid)})
        if stop_at is not None and part >= stop_at:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return seen
        time.sleep(EVERY_S if stop_at is None else EVERY_S / 5)
    if process.returncode or stop_at is not None:
        raise SystemExit(f"{command[0]}: ended with {process.returncode} too early")
    return seen


def flatness(seen: list[dict[str, float]], images: int) -> dict[str, Any]:
    """Largest size and growth of a process and its workers after the first fifth of its way."""
    begin, end = seen[0]["progress"], seen[-1]["progress"]
    late = begin + 0.2 * (end - begin)
    steady = [one for one in seen if late <= one["progress"] < end]
    found: dict[str, Any] = {}
    for kind in ("main", "children"):
        sizes = np.array([one[kind] for one in steady])
        streamed = np.array([one["progress"] for one in steady]) * images / 1e6
        growth = float(np.polyfit(streamed, sizes, 1)[0]) if len(steady) > 2 else 0.0
        found[kind] = {
            "max_mb": round(float(sizes.max()), 1),
            "first_mb": round(float(sizes[0]), 1),
            "last_mb": round(float(sizes[-1]), 1),
            "growth_mb_per_million_images": round(growth, 1),
        }
    keep = steady[:: max(1, len(steady) // 40)]
    found["series"] = [{key: round(value, 3) for key, value in one.items()} for one in keep]
    return found


def prove(scratch: Path, count: int, images_per_shard: int, seed: int) -> dict[str, Any]:
    """Shard and stream `count` tiny records with kills on the way; see that none is lost."""
    pack, out, log = scratch / "pack", scratch / "shards", scratch / "log"
    generator = np.random.default_rng(seed)
    write_pack(pack, count)
    num_shards = -(-count // images_per_shard)

    def sharded() -> float:
        return len(list(out.glob("*.parquet"))) / num_shards

    def rate(seen: list[dict[str, float]]) -> float:
        moving = [one for one in seen if one["progress"] > seen[0]["progress"]]
        way = moving[-1]["progress"] - moving[0]["progress"]
        return round(way * count / (moving[-1]["seconds"] - moving[0]["seconds"]), 1)

    options = ["--images-per-shard", str(images_per_shard)]
    command = ["--shard", str(pack), str(out), *options]
    watch(command, sharded, float(generator.uniform(0.2, 0.5)))
    kept = sharded()
    seen = watch(command, sharded, None)
    result: dict[str, Any] = {
        "sharding": {
            "killed_at": round(kept, 3),
            "images_per_second": rate(seen),
            "memory": flatness(seen, count),
        }
    }
    shards = read_shard_set(out, open_stream(out, "").shards.name)
    result["problems_found_by_verify"] = list(shard_problems(shards))
    steps = -(-count // BATCH)
    batch_bytes = BATCH * np.dtype(np.int32).itemsize

    def streamed() -> float:
        return (log.stat().st_size // batch_bytes if log.exists() else 0) / steps

    command = ["--consume", str(out), str(log), str(steps)]
    kills = [float(generator.uniform(*between)) for between in KILLS]
    for place in kills:
        watch(command, streamed, place)
    resumed_at = streamed()
    seen = watch(command, streamed, None)
    told = np.fromfile(log, np.int32)[:count]
    times = np.bincount(told, minlength=count)
    result["stream"] = {
        "killed_at": [round(place, 3) for place in kills],
        "resumed_at": round(resumed_at, 3),
        "images": count,
        "seen_once": int((times == 1).sum()),
        "lost": int((times == 0).sum()),
        "repeated": int((times > 1).sum()),
        "images_per_second": rate(seen),
        "memory": flatness(seen, count),
    }
    return result


def measure_photos(source: str, scratch: Path) -> dict[str, Any]:
    """Bytes and images/s of photographs of faces, one process each."""
    from face2exp_lib.data.recognition import (
        read_sets,
    )  # here: the processes that are watched need none of it

    torch.set_num_threads(1)
    tracemalloc.start()
    (faces,) = read_sets(source)
    listing = tracemalloc.get_traced_memory()[0] / len(faces)
    tracemalloc.stop()
    chosen = np.sort(np.random.default_rng(0).permutation(len(faces))[:PHOTOS])
    faces = faces.subset(chosen)
    sizes = {}
    for size in SIZES:
        sizes[str(size)] = _measure_size(faces, size, scratch / f"photos{size}")
    return {"set": faces.name, "images": len(faces), "listing_bytes": listing, "sizes": sizes}


def _measure_size(faces: FaceSet, size: int, out: Path) -> dict[str, float]:
    noise = np.random.default_rng(1).normal(0, 2, (len(faces), *CANONICAL_POINTS.shape))
    faces = replace(faces, landmarks=(CANONICAL_POINTS * 200 + noise).astype(np.float32))
    started = time.perf_counter()
    shards, _ = shard_set(faces, out, Recipe(size=size, images_per_shard=len(faces)))
    seconds = time.perf_counter() - started
    lengths = shards.table(0, ("length",))["length"].to_numpy()
    stream = StreamedFaces(open_stream(out, ""), size, window=WINDOW)
    batches = step_batches(
        stream, 100, start=0, stop=len(faces) // 100, seed=0, stream="fr", workers=0
    )
    next(batches)
    started = time.perf_counter()
    read = sum(len(batch.images) for batch in batches)
    return {
        "jpeg_bytes": float(lengths.mean()),
        "tar_bytes": shards.shards[0].filesize / len(faces),
        "table_bytes": sum(path.stat().st_size for path in out.glob("*.parquet")) / len(faces),
        "shard_images_per_second": len(faces) / seconds,
        "stream_images_per_second": read / (time.perf_counter() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--images-per-shard", type=int, default=10_000)
    parser.add_argument("--photos", help="PATH or PATH:PART of a set")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--shard", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--consume", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shard:
        shard(*options.shard, options.images_per_shard)
        return
    if options.consume:
        folder, log, steps = options.consume
        consume(Path(folder), Path(log), int(steps))
        return
    scratch = options.scratch / "face2exp-shards"
    try:
        result = prove(scratch, options.images, options.images_per_shard, options.seed)
        if options.photos:
            result["photos"] = measure_photos(options.photos, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    settings = {
        name: getattr(options, name) for name in ("images", "images_per_shard", "seed", "photos")
    } | {"batch": BATCH, "window": WINDOW, "workers": WORKERS}
    settings["photos"] = Path(options.photos).name if options.photos else None
    if options.json:
        write_json(options.json, {"settings": settings, **result, "environment": environment()})
    stream = result["stream"]
    print(f"{stream['seen_once']:,} of {stream['images']:,} seen once, {stream['lost']} lost")


if __name__ == "__main__":
    main()
