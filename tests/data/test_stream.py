"""Streams of shards as batches: over ranks, workers, kills and resumes every image once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from face2exp_lib.data.batches import Batch, DecodedFaces, step_batches
from face2exp_lib.data.formats.shards import read_shards
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.data.stream import StreamedFaces
from face2exp_lib.data.stream_order import ShardedFaces, StreamBatches, StreamOrder, open_stream
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.shards.small_shards import entry_of, numbered, numbers, sharded

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]
COUNT, PER_SHARD, BATCH, WINDOW = 230, 20, 12, 3


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> ShardedFaces:
    return sharded(tmp_path_factory.mktemp("stream"), COUNT, PER_SHARD)


def streamed(
    faces: ShardedFaces, workers: int, start: int, stop: int, rank: int = 0, ranks: int = 1
) -> Iterator[Batch]:
    class Ranked(StreamedFaces):
        def step_sampler(
            self, batch_size: int, *, start: int, stop: int, seed: int, stream: str
        ) -> StreamBatches:
            order = StreamOrder(self.faces, window=self.window, seed=seed, stream=stream)
            return StreamBatches(order, batch_size, start=start, stop=stop, rank=rank, ranks=ranks)

    options = {"start": start, "stop": stop, "seed": 5, "stream": "fr", "workers": workers}
    return step_batches(Ranked(faces, 8, window=WINDOW), BATCH, **options)  # type: ignore[arg-type]


def told(batches: Iterator[Batch]) -> list[list[int]]:
    return [numbers(batch.images).tolist() for batch in batches]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_image_once_an_epoch_whatever_shares_the_work(
    faces: ShardedFaces, ranks: int, workers: int
) -> None:
    steps = 2 * COUNT // BATCH + 1
    alone = told(streamed(faces, 0, 0, steps))
    parts = [told(streamed(faces, workers, 0, steps, rank, ranks)) for rank in range(ranks)]
    together = [list(chain(*shares)) for shares in zip(*parts, strict=True)]
    assert together == alone
    flat = [number for batch in alone for number in batch]
    for epoch in range(2):
        assert sorted(flat[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))


@pytest.mark.parametrize("workers", [0, 2])
def test_begun_at_any_step_it_goes_on_as_an_unbroken_one(faces: ShardedFaces, workers: int) -> None:
    whole = told(streamed(faces, 0, 0, 45))
    for start in (1, 4, 5, 19, 20, 38, 44) if workers == 0 else (7, 19):
        assert told(streamed(faces, workers, start, 45)) == whole[start:]


PROGRAM = """
import sys
from pathlib import Path
import torch
from tests.data.test_stream import numbers, streamed
from face2exp_lib.data.stream_order import open_stream
torch.set_num_threads(1)
folder, log, start = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with log.open("ab") as file:
    for batch in streamed(open_stream(folder, ""), 2, start, 2000):
        file.write(numbers(batch.images).tobytes())
        file.flush()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_consumer_that_is_killed(faces: ShardedFaces, tmp_path: Path) -> None:
    """SIGKILL of a real process with two workers; what it logged and the rest are the whole."""
    log, batch_bytes = tmp_path / "log", 4 * BATCH
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(faces.shards.folder), str(log), "0"],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (log.exists() and log.stat().st_size > 13 * batch_bytes):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()
    done = log.stat().st_size // batch_bytes
    logged = np.frombuffer(log.read_bytes()[: done * batch_bytes], np.int32).tolist()
    stop = max(done + 1, -(-(done * BATCH + COUNT) // COUNT) * COUNT // BATCH + 1)
    rest = [number for batch in told(streamed(faces, 0, done, stop)) for number in batch]
    seen = logged + rest
    for epoch in range(len(seen) // COUNT):
        assert sorted(seen[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))
    assert len(seen) // COUNT >= 1


def test_a_stream_gives_what_a_list_gives(faces: ShardedFaces) -> None:
    """Images and landmarks, in px of the images, and positions; but no labels."""
    stream = StreamedFaces(faces, 32, window=WINDOW)
    listed = DecodedFaces(read_shards(faces.shards.folder, "", ""), 32, in_memory=False)
    assert len(stream) == len(listed) == COUNT
    indices = [3, 229, 40, 41, 17]
    batch = listed.__getitems__(indices)
    assert batch.labels.min() >= 0
    expected = batch._replace(labels=torch.full((5,), -1))
    for one, other in zip(stream.__getitems__(indices), expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert torch.equal(one, other)
    assert stream.ids_at([3]) != stream.ids_at([4])


def test_images_without_labels_and_landmarks(tmp_path: Path) -> None:
    faces = numbered(25, labelled=False)
    object.__setattr__(faces, "landmarks", None)
    shard_set(faces, tmp_path, Recipe(images_per_shard=10))
    batch = StreamedFaces(open_stream(tmp_path, ""), 8, window=1).__getitems__([4, 20])
    assert batch.labels.tolist() == [-1, -1]
    assert torch.allclose(batch.landmarks, torch.from_numpy(CANONICAL_POINTS * 8).expand(2, 5, 2))


def test_what_a_process_holds_is_bounded(faces: ShardedFaces) -> None:
    stream = StreamedFaces(faces, 8, window=2)
    for batch in range(COUNT // 10):
        stream.__getitems__(list(range(batch * 10, batch * 10 + 10)))
        assert len(stream.images._tables) <= 2
        assert len(stream.images._reader._open) <= 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["image", "table", "tar"])
def test_damage_is_named_in_one_line(
    faces: ShardedFaces, tmp_path: Path, workers: int, damage: str
) -> None:
    folder = Path(shutil.copytree(faces.shards.folder, tmp_path / "copy"))
    copied = open_stream(folder, "")
    path = entry_of(copied.shards, 1)
    if damage == "image":  # the bytes of the first image, not its header
        content = bytearray(path.read_bytes())
        content[512:560] = bytes(48)
        path.write_bytes(content)
        message = r"numbered-000001\.tar: 0000000020\.png \(person\d+/\d+\.png\): not a readable"
    elif damage == "table":
        path.with_suffix(".parquet").unlink()
        message = r"numbered-000001\.parquet: not readable as the table of its shard"
    else:
        path.unlink()
        message = r"numbered-000001\.tar: 00000000\d\d\.png .* not a readable image .*no such file"
    with pytest.raises(Face2ExpError, match=message) as caught:
        list(streamed(copied, workers, 0, COUNT // BATCH + 1))
    assert "\n" not in str(caught.value)


def test_names_are_looked_up_when_they_are_needed(faces: ShardedFaces) -> None:
    ids = StreamedFaces(faces, 8, window=1).images.ids
    assert len(ids) == COUNT
    assert [name.split(": ")[1][:10] for name in ids[18:22]] == [f"{n:010d}" for n in range(18, 22)]
