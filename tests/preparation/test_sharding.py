"""Sharding: the same bytes whatever happens on the way, and nothing lost without a word."""

import gc
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from filelock import FileLock
from PIL import Image

from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.formats.shards import read_shards
from face2exp_lib.data.sets.images import PixelImages, decode_whole
from face2exp_lib.data.shards import writer as shards
from face2exp_lib.data.shards.reader import read_shard_set
from face2exp_lib.preparation import sharding
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.shards.small_shards import NumberedImages, numbered, sharded, tiny

Contents = Callable[[Path], dict[str, bytes]]
SMALL = Recipe(images_per_shard=10)
FILES = {f"numbered-{n:06d}.{kind}" for n in range(3) for kind in ("tar", "parquet")}


def visible(contents: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in contents.items() if not name.startswith(".")}


def objects(path: Path) -> list[dict[str, Any]]:
    with tarfile.open(path) as archive:
        files = [archive.extractfile(info) for info in archive if info.name.endswith(".json")]
        return [json.load(file) for file in files if file is not None]


def test_what_a_shard_holds(tmp_path: Path) -> None:
    """Every image once, verbatim, beside what is known about it, under keys of one length."""
    faces = numbered(25)
    made, left_out = shard_set(faces, tmp_path, SMALL)
    assert left_out == []
    assert {p.name for p in tmp_path.iterdir() if p.name[0] != "."} == {*FILES, "numbered.json"}
    assert [shard.nsamples for shard in made.shards] == [10, 10, 5]
    told, keys = [], []
    for shard in made.shards:
        with tarfile.open(tmp_path / shard.url) as archive:
            names = archive.getnames()
            assert names[::2] == [name.replace(".json", ".png") for name in names[1::2]]
            keys += names[::2]
            stored = [archive.extractfile(name) for name in names[::2]]
            for file, about in zip(stored, objects(tmp_path / shard.url), strict=True):
                assert file is not None
                number = int(about["id"].split("/")[1].removesuffix(".png"))
                assert file.read() == tiny(number)
                assert faces.labels is not None
                assert faces.landmarks is not None
                assert (
                    about["label"]
                    == (["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger"])[
                        faces.labels[number]
                    ]
                    or about["label"] in about["label"]
                )
                assert about["identity"] == f"p{number // 10}"
                assert about["detected"] == (number % 4 != 0)
                assert np.allclose(about["landmarks"], faces.landmarks[number], atol=0.006)
                told.append(number)
    assert keys == [f"{n:010d}.png" for n in range(25)]
    assert sorted(told) == list(range(25))
    assert told != sorted(told)


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    faces = numbered(25)
    shard_set(faces, tmp_path, replace(SMALL, seed=None))
    back = read_shards(tmp_path, "", "")
    assert back.ids == faces.ids
    for name in ("labels", "identities", "landmarks", "canonical"):
        assert np.array_equal(getattr(back, name), getattr(faces, name)), name
    assert back.digests() == faces.digests()
    assert [back.images.read(n) for n in range(25)] == [tiny(n) for n in range(25)]


def test_order_is_the_seeds(tmp_path: Path) -> None:
    def order(name: str, seed: int | None) -> list[str]:
        shard_set(numbered(25), tmp_path / name, replace(SMALL, seed=seed))
        return read_shards(tmp_path / name, "", "").ids

    first = order("a", 0)
    assert order("b", 0) == first
    assert order("c", 1) != first
    assert order("d", None) == numbered(25).ids
    people = [image.split("/")[0] for image in first[:10]]
    assert len(set(people)) == 3  # those of one person, who came one after the other, are apart


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_source_gives_the_same_bytes(
    tmp_path: Path, contents: Contents, workers: int
) -> None:
    shard_set(numbered(25), tmp_path / "a", SMALL)
    shard_set(numbered(25), tmp_path / "b", SMALL, workers=workers)
    assert visible(contents(tmp_path / "a")) == visible(contents(tmp_path / "b"))


def test_resized_images_and_their_landmarks(tmp_path: Path) -> None:
    """Upright RGB squares as JPEG; points in px of these, digests of what the source stored."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    (tmp_path / "in" / "sad").mkdir(parents=True)
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255, 0, 0
    Image.fromarray(pixels).save(tmp_path / "in" / "sad" / "a.jpg", exif=exif, quality=95)
    faces = read_class_folders(tmp_path / "in", "", "names")
    points = np.array([[[0, 0], [20, 40], [10, 20], [5, 30], [15, 30]]], np.float32)
    faces = replace(faces, landmarks=points)
    made, _ = shard_set(faces, tmp_path / "out", Recipe(size=64, quality=95))
    back = read_shards(tmp_path / "out", "", "")
    image = decode_whole(back.images, 0)
    assert (image.size, image.format) == ((64, 64), None)
    with back.images.open(0) as stored:
        assert (stored.format, stored.getexif().get(0x0112)) == ("JPEG", None)
    top, bottom = (np.asarray(image)[rows].mean((0, 1)) for rows in (slice(0, 20), slice(44, 64)))
    assert (top[0] > 200, bottom[0] < 40) == (True, True)  # the left half is now the upper one
    assert back.landmarks is not None
    assert back.landmarks[0].tolist() == [[0, 0], [64, 64], [32, 32], [16, 48], [48, 48]]
    table = made.table(0, ("digest", "width", "height"))
    assert table["digest"].to_pylist() == faces.digests()
    assert (table["width"][0].as_py(), table["height"][0].as_py()) == (64, 64)


def test_pixels_without_a_file_need_a_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    faces = replace(
        numbered(3), images=PixelImages(pixels, ["a", "b", "c"]), landmarks=None, canonical=None
    )
    with pytest.raises(Face2ExpError, match="no files that could be copied: give --size"):
        shard_set(faces, tmp_path, SMALL)
    shard_set(faces, tmp_path, replace(SMALL, size=48, quality=95))
    assert sorted(read_shards(tmp_path, "", "").ids) == ["a", "b", "c"]


# What can be wrong with a source


class Named(NumberedImages):
    """Images of other names."""

    def __init__(self, held: Sequence[int], names: Sequence[str]) -> None:
        super().__init__(held)
        self.ids = names

    def take(self, rows: np.ndarray) -> "Named":
        return Named([self.held[row] for row in rows], [self.ids[row] for row in rows])


def test_broken_images_stop_it_or_are_listed(tmp_path: Path) -> None:
    faces = numbered(25, broken=(3, 17))
    with pytest.raises(Face2ExpError, match=r"not a readable image .*--skip-bad FILE"):
        shard_set(faces, tmp_path, SMALL)
    assert not (tmp_path / "numbered.json").exists()
    made, left_out = shard_set(faces, tmp_path, SMALL, skip_bad=True)
    assert made.starts[-1] == 23
    assert sorted(image for image, _ in left_out) == ["person0/3.png", "person1/17.png"]
    assert all("not a readable image" in reason for _, reason in left_out)
    again, left_out = shard_set(faces, tmp_path, SMALL, skip_bad=True)
    assert (again, len(left_out)) == (made, 2)
    with pytest.raises(Face2ExpError, match=r"left 2 images out, such as .*: name a file with"):
        shard_set(faces, tmp_path, SMALL)


def test_landmarks_that_are_no_numbers(tmp_path: Path) -> None:
    faces = numbered(5)
    assert faces.landmarks is not None
    faces.landmarks[2, 1, 0] = np.nan
    with pytest.raises(Face2ExpError, match=r"person0/2\.png: its landmarks are no numbers"):
        shard_set(faces, tmp_path, SMALL)
    _, left_out = shard_set(faces, tmp_path, SMALL, skip_bad=True)
    assert [image for image, _ in left_out] == ["person0/2.png"]


def test_nothing_left(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no image is left"):
        shard_set(numbered(3, broken=(0, 1, 2)), tmp_path, SMALL, skip_bad=True)
    assert not (tmp_path / "numbered.json").exists()


def test_names_that_are_no_text_and_sets_named_like_paths(tmp_path: Path) -> None:
    names = ["a\udcff.png", "b.png", "c.png"]
    faces = replace(numbered(3), name="../my set/ü", images=Named(range(3), names=names))
    made, _ = shard_set(faces, tmp_path, SMALL)
    assert made.name == "my-set"
    assert sorted(read_shards(tmp_path, "", "").ids) == ["a\\udcff.png", "b.png", "c.png"]


# What lies there already


def test_another_recipe_or_source_in_the_same_place(tmp_path: Path, contents: Contents) -> None:
    shard_set(numbered(25), tmp_path, SMALL)
    before = contents(tmp_path)
    for faces, recipe, other in (
        (numbered(25), replace(SMALL, seed=1), "seed"),
        (numbered(25), replace(SMALL, images_per_shard=9), "images_per_shard"),
        (numbered(24), SMALL, "source"),
        (replace(numbered(25), landmarks=None), SMALL, "source"),
    ):
        with pytest.raises(Face2ExpError, match=f"made with another {other}: choose another --out"):
            shard_set(faces, tmp_path, recipe)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["numbered.json", "numbered-000000.tar"])
def test_what_is_not_from_here_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Face2ExpError, match="holds a 'numbered' that is not from here"):
        shard_set(numbered(5), tmp_path, SMALL)
    assert (tmp_path / name).read_text() == "mine"


def test_two_at_once(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".numbered.lock"),
        pytest.raises(Face2ExpError, match="another process is writing 'numbered' there"),
    ):
        shard_set(numbered(5), tmp_path, SMALL)


def test_a_target_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Face2ExpError, match=r"file: cannot write here .*: choose another --out"):
        shard_set(numbered(5), tmp_path / "file", SMALL)


# What happens on the way


def test_finished_shards_are_kept_and_damaged_ones_made_again(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard_set(numbered(45), tmp_path, SMALL)
    whole = visible(contents(tmp_path))
    written = []

    def write(path: Path, *rest: Any) -> shards.Shard:
        written.append(path.name)
        return shards.write_shard(path, *rest)

    monkeypatch.setattr(sharding, "write_shard", write)
    damaged = bytearray(whole["numbered-000001.tar"])
    damaged[700] ^= 1
    (tmp_path / "numbered-000001.tar").write_bytes(damaged)
    (tmp_path / "numbered-000002.tar").unlink()
    (tmp_path / "numbered-000003.parquet").write_bytes(b"")
    (tmp_path / "numbered.json").unlink()
    shard_set(numbered(45), tmp_path, SMALL)
    assert written == [f"numbered-{n:06d}.tar" for n in (1, 2, 3)]
    assert visible(contents(tmp_path)) == whole
    assert [path.name for path in tmp_path.glob(".*making*")] == []


PROGRAM = """
import sys
from pathlib import Path
from face2exp_lib.preparation.sharding import Recipe
from face2exp_lib.preparation.sharding import shard_set
from tests.data.shards.small_shards import numbered
if __name__ == "__main__":
    shard_set(numbered(1500), Path(sys.argv[1]), Recipe(images_per_shard=100), workers=2)
"""


def start(folder: Path, program: str, out: Path) -> "subprocess.Popen[bytes]":
    (folder / "program.py").write_text(program)
    return subprocess.Popen(
        [sys.executable, str(folder / "program.py"), str(out)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_killed_and_run_again(tmp_path: Path, contents: Contents) -> None:
    """A real SIGKILL of the process with two workers: the rest is made, and the same."""
    process = start(tmp_path, PROGRAM, tmp_path / "out")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "out").glob("*.parquet"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    made = len(list((tmp_path / "out").glob("*.parquet")))
    assert 5 <= made < 15
    assert not (tmp_path / "out" / "numbered.json").exists()
    with pytest.raises(Face2ExpError, match="holds no index of shards: if sharding was cut off"):
        read_shards(tmp_path / "out", "", "")
    shard_set(numbered(1500), tmp_path / "out", Recipe(images_per_shard=100))
    shard_set(numbered(1500), tmp_path / "unbroken", Recipe(images_per_shard=100))
    assert visible(contents(tmp_path / "out")) == visible(contents(tmp_path / "unbroken"))
    assert [path.name for path in (tmp_path / "out").glob(".*making*")] == []


LIMITED = """
import resource, signal, sys
from pathlib import Path
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.preparation.sharding import Recipe
from face2exp_lib.preparation.sharding import shard_set
from tests.data.shards.small_shards import numbered
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    shard_set(numbered(25), Path(sys.argv[1]), Recipe(images_per_shard=20, seed=None))
except Face2ExpError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit for files")
def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """The system itself refuses to write on, in the middle of a tar."""
    process = start(tmp_path, LIMITED, tmp_path / "out")
    _, errors = process.communicate(timeout=120)
    last = errors.decode().splitlines()[-1]
    assert "numbered-000000.tar: cannot write (File too large): free some space" in last
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] != "."] == []


def test_full_disk(tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every kind of place: finished shards stay, no half one, no index."""
    shard_set(numbered(25), tmp_path / "whole", SMALL)
    whole = visible(contents(tmp_path / "whole"))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    class Filling(shards.TarWriter):
        def add(self, name: str, content: bytes) -> int:
            if name == "0000000013.png":
                full()
            return super().add(name, content)

    places: list[tuple[Any, str, Any]] = [
        (shards, "TarWriter", Filling),
        (shards, "sync", lambda file: full() if "-000001" in file.name else None),
        (shards.pq, "write_table", full),
    ]
    for target, name, fault in places:
        out = tmp_path / name
        with monkeypatch.context() as patched:
            patched.setattr(target, name, fault)
            with pytest.raises(Face2ExpError, match=r"No space left on device.*free some space"):
                shard_set(numbered(25), out, SMALL)
        there = visible(contents(out))
        assert there.items() <= whole.items()
        assert "numbered.json" not in there
        assert ("numbered-000000.tar" in there) == (name != "write_table")
        shard_set(numbered(25), out, SMALL)
        assert visible(contents(out)) == whole


def test_workers_get_their_own_images_alone() -> None:
    """A job of a set of millions is as small as its shard."""
    taken = numbered(100_000, labelled=False)
    job = replace(taken.subset(np.arange(3)), images=taken.images.take(np.arange(3)))
    assert len(pickle.dumps(job)) < 3000


def test_an_image_that_is_both_new_and_old(tmp_path: Path) -> None:
    """Shards of shards: a set that was sharded can be sharded anew, at another size."""
    faces = sharded(tmp_path / "a", 25, 10)
    source = read_shards(tmp_path / "a", "", "")
    made, _ = shard_set(source, tmp_path / "b", Recipe(images_per_shard=30, size=16))
    assert made.shards[0].nsamples == len(faces)
    assert sorted(read_shards(tmp_path / "b", "", "").ids) == sorted(source.ids)
    with Image.open(io.BytesIO(read_shards(tmp_path / "b", "", "").images.read(0))) as image:
        assert image.size == (16, 16)


def test_webdataset_reads_them(tmp_path: Path) -> None:
    shard_set(numbered(25), tmp_path, SMALL)
    urls = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it leaves its files open
        samples = list(webdataset.WebDataset(urls, shardshuffle=False))
        gc.collect()
    assert [sample["__key__"] for sample in samples] == [f"{n:010d}" for n in range(25)]
    for sample in samples:
        number = int(json.loads(sample["json"])["id"].split("/")[1].removesuffix(".png"))
        assert sample["png"] == tiny(number)


def test_the_index_moves_with_its_shards(tmp_path: Path) -> None:
    shard_set(numbered(25), tmp_path / "a", SMALL)
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert read_shard_set(tmp_path / "b", "numbered").starts.tolist() == [0, 10, 20, 25]
