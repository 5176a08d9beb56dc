"""Damage csv tables, npy annotations, RecordIO packs and shards at random and read them.

    python -m benchmarks.fuzz_readers --minutes 3 [--only KIND] [--seed 0]

Whatever the damage, a reader returns a set, every image of which decodes or is named as unreadable,
or raises Face2ExpError; within SECONDS, and without taking more than GROWTH_MB. Anything else stops
the run, and the damaged tree is kept for a look.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.data_listing import peak_mb
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.reading import read_set
from face2exp_lib.data.sets.images import decode
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, write_json
from tests.data.formats import trees

SECONDS = 20
GROWTH_MB = 400
SEPARATORS = (b",", b"\n", b"\r", b'"', b";", b"\t", b" ", b"\0", b"/", b"../", b"\\", b"\xff", b"")
WORDS = (b"nan", b"inf", b"-1", b"1e999", b"9" * 30, b"0x1", b"", b"10", b"\xef\xbb\xbf", b"C:\\x")
INTEGERS = (0, 1, 2, 2**29 - 1, 2**29, 2**31 - 1, 2**31, 2**32 - 1, 0xCED7230A, 24, 32)


def damage(content: bytes, generator: np.random.Generator, limit: int = 2**20) -> bytes:
    """A few random changes: bits, integers, words, cut, repeated or exchanged pieces."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 6)):
        if not changed:
            break
        at = int(generator.integers(len(changed)))
        length = int(generator.integers(1, 40))
        kind = generator.integers(8)
        if kind == 0:
            changed[at] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            changed[at] = int(generator.integers(256))
        elif kind == 2:
            changed[at : at + 4] = int(generator.choice(INTEGERS)).to_bytes(4, "little")
        elif kind == 3:
            changed[at : at + length] = WORDS[generator.integers(len(WORDS))]
        elif kind == 4:
            changed[at : at + 1] = SEPARATORS[generator.integers(len(SEPARATORS))]
        elif kind == 5:
            end = len(changed) if generator.integers(4) == 0 else at + length
            del changed[at:end]
        elif kind == 6:
            piece = bytes(changed[at : at + length]) * int(generator.integers(1, 50))
            changed[at:at] = piece[: max(0, limit - len(changed))]
        else:
            other = int(generator.integers(len(changed)))
            piece = bytes(changed[other : other + length])
            changed[at : at + len(piece)] = piece
    return bytes(changed)


def csv_trees(root: Path) -> list[tuple[str, Path, str, list[Path]]]:
    """Format, path, codes and the files to damage, of every layout with a table."""
    labels = [(f"train_0000{i}.jpg", str(i)) for i in range(1, 8)]
    rows = [(f"{i}/a.jpg", "1,1,20,20", str(i)) for i in range(9)]
    trees.rafdb(root / "rafdb", labels)
    trees.affectnet_2017(root / "affectnet", rows)
    trees.expw(root / "expw", [f"{i}.jpg 0 1 1 30 30 9.5 {i}" for i in range(7)])
    trees.celeba(root / "celeba", {f"00000{i}.jpg": i for i in range(1, 8)})
    trees.fer2013(root / "fer", [trees.fer2013_row(i, "Training", i) for i in range(7)])
    trees.ferplus(
        root / "fer", [f"Training,fer000000{i}.png,{i},9,0,0,0,0,0,0,0,0" for i in range(7)]
    )
    names = ("happy", "sad", "fear")
    for name in names:
        trees.put(root / "listed" / f"{name}.jpg", trees.jpeg(1))
    listed = trees.put(
        root / "listed" / "faces.csv",
        "path,label\n" + "".join(f"{name}.jpg,{name}\n" for name in names),
    )
    celeba = [root / "celeba" / name for name in ("identity_CelebA.txt",
              "list_landmarks_align_celeba.txt", "list_eval_partition.txt")]  # fmt: skip
    return [
        ("rafdb", root / "rafdb", "train", [root / "rafdb/EmoLabel/list_patition_label.txt"]),
        ("affectnet", root / "affectnet", "train", [root / "affectnet/training.csv"]),
        ("expw", root / "expw", "", [root / "expw/label/label.lst"]),
        ("celeba", root / "celeba", "train", celeba),
        ("fer2013_csv", root / "fer", "", [root / "fer/fer2013.csv"]),
        ("ferplus", root / "fer", "", [root / "fer/fer2013new.csv", root / "fer/fer2013.csv"]),
        ("listed", listed, "", [listed]),
    ]


def npy_trees(root: Path) -> list[tuple[str, Path, str, list[Path]]]:
    values = {"0": "0", "1": 6, "2": np.float32(7), "3": np.int64(3), "4": b"1", "5": ["2"]}
    trees.affectnet_2021(root / "npy", "train_set", values)
    annotations = sorted((root / "npy/train_set/annotations").glob("*_exp.npy"))
    return [("affectnet", root / "npy", "train", annotations)]


def recordio_trees(root: Path) -> list[tuple[str, Path, str, list[Path]]]:
    images = [(trees.jpeg(i), (float(i // 2),)) for i in range(6)]
    trees.recordio(root / "rec", [*images, (trees.jpeg(9), (3.0, 1.0))])
    content = trees.labelled(trees.jpeg(7)[:90] + trees.MAGIC + b"end", (5,), 1)
    cut = [trees.record(p, k) for k, p in zip((1, 3), content.split(trees.MAGIC), strict=True)]
    trees.pack(root / "cut", [b"".join(cut), trees.record(trees.labelled(trees.jpeg(8), (6,), 2))])
    return [
        ("recordio", root / name, "", [root / name / "train.rec", root / name / "train.idx"])
        for name in ("rec", "cut")
    ]


def shard_trees(root: Path) -> list[tuple[str, Path, str, list[Path]]]:
    """Ours, and tars with an index alone, as others write them."""
    for number in range(8):
        trees.put(root / "faces" / f"p{number // 2}" / f"{number}.jpg", trees.jpeg(number))
    faces = FORMATS["identity_folders"].read(root / "faces", "", "")
    for name in ("ours", "others"):
        shard_set(faces, root / name, Recipe(images_per_shard=5))
    index = root / "others" / "faces.json"
    content = read_json(index)
    for entry in content["shardlist"]:
        entry["table_digest"] = ""
    write_json(index, content)
    return [
        ("shards", root / name, "faces", sorted((root / name).glob("faces*.*")))
        for name in ("ours", "others")
    ]


TREES: dict[str, Callable[[Path], list[tuple[str, Path, str, list[Path]]]]] = {
    "csv": csv_trees,
    "npy": npy_trees,
    "recordio": recordio_trees,
    "shards": shard_trees,
}


def read_all(name: str, path: Path, part: str, skip_bad: bool) -> str:
    """Read as every verb does, decode; returns how it ended."""
    adapter = FORMATS[name]
    try:
        if not adapter.recognise(path):
            return "not recognised"
        faces = read_set(adapter, path, part, None, skip_bad=skip_bad)
    except Face2ExpError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return "refused"
    assert len(faces) > 0
    assert skip_bad or not any(skipped.bad for skipped in faces.skipped)
    broken = 0
    for row in faces.rows:
        try:
            decode(faces.images, int(row), 32)
        except Face2ExpError:
            broken += 1
    return "read, some images broken" if broken else "read"


def fuzz(kind: str, root: Path, *, seed: int, until: Callable[[int], bool]) -> Counter[str]:
    """Damage and read until told to stop; `until` gets the number of trees so far."""
    generator = np.random.default_rng(seed)
    every = TREES[kind](root)
    whole = {file: file.read_bytes() for *_, files in every for file in files}
    ends: Counter[str] = Counter()
    number = 0
    while not until(number):
        name, path, part, files = every[generator.integers(len(every))]
        file = files[generator.integers(len(files))]
        file.write_bytes(damage(whole[file], generator))
        ends[read_all(name, path, part, skip_bad=bool(generator.integers(4)))] += 1
        file.write_bytes(whole[file])
        number += 1
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--only", choices=TREES)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's, of odd metadata

    def hang(*_: object) -> None:
        raise AssertionError(f"a reader took more than {SECONDS} s")

    signal.signal(signal.SIGALRM, hang)
    for kind in [options.only] if options.only else TREES:
        root = Path(tempfile.mkdtemp(prefix=f"fuzz-{kind}-"))
        end, before = time.monotonic() + 60 * options.minutes, peak_mb()

        def until(_: int, end: float = end, before: float = before) -> bool:
            signal.alarm(SECONDS)
            assert peak_mb() - before < GROWTH_MB, f"{peak_mb():.0f} MB"
            return time.monotonic() > end

        try:
            ends = fuzz(kind, root, seed=options.seed, until=until)
        except BaseException:
            print(f"{kind}: stopped; the tree is {root}", file=sys.stderr)
            raise
        signal.alarm(0)
        shutil.rmtree(root)
        total = sum(ends.values())
        print(f"{kind}: {total:,} damaged trees, {dict(ends)}, {peak_mb() - before:+.0f} MB")


if __name__ == "__main__":
    main()
