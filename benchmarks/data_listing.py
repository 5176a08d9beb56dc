"""How long 287,651 rows of AffectNet take to list, draw and iterate, and in how much memory.

    python benchmarks/data_listing.py --scratch DIR [--rows 287651] [--layout csv|npy|both]

The tree is made in DIR in the layouts of 2017 and 2021 from a few tiny images, linked many times,
and stays there for the next run. Each layout is measured in a process of its own.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from face2exp_lib.data.batches import DecodedFaces, ordered_batches
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.formats.published import AFFECTNET_TRAIN
from face2exp_lib.data.sampling import balanced_draw
from face2exp_lib.data.sets.labels import CODES, class_names

ROWS = sum(AFFECTNET_TRAIN.counts.values())
FOLDERS = 1000  # of the release of 2017
SIDE = 48  # px
MAX_LINKS = 30_000  # a file's, on common file systems
HEADER = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,"
    "valence,arousal\n"
)


def labels_of(rows: int) -> list[str]:
    """Codes with AffectNet's shares, shuffled."""
    code_of = {label.name.lower(): code for code, label in CODES["affectnet"].items()}
    codes = np.repeat(
        [code_of[name] for name in AFFECTNET_TRAIN.counts], list(AFFECTNET_TRAIN.counts.values())
    )
    return np.random.default_rng(0).permutation(codes)[:rows].tolist()


def link_images(paths: list[Path], pool: Path) -> None:
    """A small image at each path."""
    pool.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number, path in enumerate(paths):
        source = pool / f"{number // MAX_LINKS}.jpg"
        if number % MAX_LINKS == 0:
            noise = generator.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(source, quality=40)
        os.link(source, path)


def make_2017(root: Path, codes: list[str]) -> None:
    images = root / "Manually_Annotated_Images"
    names = [f"{number % FOLDERS}/{number:040x}.jpg" for number in range(len(codes))]
    for folder in {name.split("/")[0] for name in names}:
        (images / folder).mkdir(parents=True)
    link_images([images / name for name in names], root / "pool")
    points = ";".join(["123.45"] * 136)
    with (root / "training.csv").open("w") as file:
        file.write(HEADER)
        for name, code in zip(names, codes, strict=True):
            file.write(f"{name},2,2,40,40,{points},{code},0.1,-0.1\n")


def make_2021(root: Path, codes: list[str]) -> None:
    images, annotations = root / "train_set" / "images", root / "train_set" / "annotations"
    images.mkdir(parents=True)
    annotations.mkdir()
    link_images([images / f"{number}.jpg" for number in range(len(codes))], root / "pool")
    for code in set(codes):
        np.save(root / f"pool/{code}.npy", np.array(code))
    content = {code: (root / f"pool/{code}.npy").read_bytes() for code in set(codes)}
    for number, code in enumerate(codes):
        (annotations / f"{number}_exp.npy").write_bytes(content[code])


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage's number includes the parent's before the start
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def measure(root: Path) -> None:
    """List, draw, iterate; prints seconds and the peak memory after each."""
    print(f"  start {peak_mb():34.0f} MB", flush=True)
    start = time.perf_counter(), time.process_time()

    def done(what: str) -> None:
        nonlocal start
        now = time.perf_counter(), time.process_time()
        wall, cpu = now[0] - start[0], now[1] - start[1]
        print(f"  {what:8} {wall:7.1f} s, CPU {cpu:6.1f} s {peak_mb():6.0f} MB", flush=True)
        start = now

    faces = FORMATS["affectnet"].read(root, "train", "affectnet")
    done("list")
    smallest = int(np.bincount(faces.known_labels()).min())
    balanced_draw(
        faces.known_labels(), class_names(8), per_class=smallest, seed=0, purpose="training"
    )
    done("draw")
    third = len(faces) // 3
    for number, part in enumerate(np.array_split(np.arange(len(faces)), 3)):
        decoded = DecodedFaces(faces.subset(part), SIDE, in_memory=False)
        count = sum(len(batch.images) for batch in ordered_batches(decoded, 256, 0))
        assert count == len(part) >= third
        done(f"third {number + 1}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--layout", choices=("csv", "npy", "both"), default="both")
    options = parser.parse_args()
    makers = {"csv": make_2017, "npy": make_2021}
    for layout, make in makers.items():
        if options.layout not in (layout, "both"):
            continue
        root = options.scratch / f"affectnet-{layout}-{options.rows}"
        if not root.exists():
            start = time.perf_counter()
            unfinished = root.with_name(f"{root.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished, labels_of(options.rows))
            unfinished.rename(root)
            print(f"{root}: made in {time.perf_counter() - start:.0f} s")
        print(f"{layout}: {options.rows:,} rows", flush=True)
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(root,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
