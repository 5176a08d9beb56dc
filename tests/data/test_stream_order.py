"""The order of a stream: every image once an epoch, well mixed, from any position on."""

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.shards.reader import ShardSet
from face2exp_lib.data.shards.writer import Shard
from face2exp_lib.data.stream_order import (
    ReadAhead,
    ShardedFaces,
    StreamBatches,
    StreamOrder,
    open_stream,
)
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.shards.small_shards import numbered, sharded

SIZES = (7, 10, 3, 10, 10, 1, 10, 9, 10, 10)
TOTAL = sum(SIZES)


def listed(*sizes: int, **excluded: list[int]) -> ShardedFaces:
    """A set that exists as an index alone."""
    shards = tuple(Shard(f"s-{n}.tar", size, 1000 * size) for n, size in enumerate(sizes))
    out = {int(number[1:]): np.array(rows) for number, rows in excluded.items()}
    return ShardedFaces("s", ShardSet(Path("nowhere"), "s", shards), out)


def order(faces: ShardedFaces, window: int = 3, seed: int = 0, stream: str = "fr") -> StreamOrder:
    return StreamOrder(faces, window=window, seed=seed, stream=stream)


@pytest.mark.parametrize("window", [1, 3, 4, 10, 50])
@pytest.mark.parametrize("faces", [listed(*SIZES), listed(*SIZES, s0=[0, 6], s5=[0], s9=[4])])
def test_every_image_once_an_epoch(faces: ShardedFaces, window: int) -> None:
    stream, count = order(faces, window), len(faces)
    left = set(range(TOTAL)) - ({0, 6, 40, 74} if faces.excluded else set())
    assert count == len(left)
    epochs = [stream.take(epoch * count, (epoch + 1) * count) for epoch in range(3)]
    for epoch in epochs:
        assert len(epoch) == count
        assert set(epoch) == left
    assert epochs[0] != epochs[1] != epochs[2]


def test_order_is_a_function_of_seed_stream_and_position() -> None:
    whole = order(listed(*SIZES)).take(0, 5 * TOTAL)
    for first, stop in ((0, 1), (37, 91), (TOTAL - 1, TOTAL + 1), (3 * TOTAL + 5, 4 * TOTAL + 40)):
        assert order(listed(*SIZES)).take(first, stop) == whole[first:stop]
    backwards = order(listed(*SIZES))
    assert [backwards.take(n, n + 1)[0] for n in reversed(range(2 * TOTAL))] == whole[: 2 * TOTAL][
        ::-1
    ]
    assert order(listed(*SIZES), seed=1).take(0, TOTAL) != whole[:TOTAL]
    assert order(listed(*SIZES), stream="x").take(0, TOTAL) != whole[:TOTAL]
    assert order(listed(*SIZES), window=4).take(0, TOTAL) != whole[:TOTAL]


def test_an_epoch_written_out_by_hand() -> None:
    """Windows of 2 of 3 shards: in the first the images of two shards, then the third's."""
    stream = order(listed(2, 2, 2), window=2)
    shards = [index // 2 for index in stream.take(0, 6)]
    assert len(set(shards[:4])) == 2
    assert set(shards[4:]) == set(range(3)) - set(shards[:4])
    assert [stream.place(position) for position in (0, 3, 4, 5, 6, 10)] == [
        (0, 0), (0, 3), (1, 0), (1, 1), (2, 0), (3, 0),
    ]  # fmt: skip


def test_the_window_mixes() -> None:
    """40 shards of 50 images, written in order: with one shard at a time neighbours stay together;
    with eight, two that follow each other come from one shard one time in eight."""
    faces = listed(*[50] * 40)
    together = {}
    for window in (1, 8, 40):
        taken = np.array(order(faces, window).take(0, len(faces))) // 50
        together[window] = float((taken[1:] == taken[:-1]).mean())
    assert together[1] > 0.97
    assert together[8] == pytest.approx(1 / 8, abs=0.03)
    assert together[40] == pytest.approx(1 / 40, abs=0.02)
    taken = np.array(order(faces, 8).take(0, len(faces)))
    assert abs(np.corrcoef(np.arange(400), taken[:400] % 50)[0, 1]) < 0.15
    assert abs(np.corrcoef(taken[1:], taken[:-1])[0, 1]) < 0.25


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_same_batches(ranks: int) -> None:
    def batches(rank: int, ranks: int, start: int = 0) -> list[list[int]]:
        stream = order(listed(*SIZES))
        return list(StreamBatches(stream, 12, start=start, stop=40, rank=rank, ranks=ranks))

    alone = batches(0, 1)
    assert len(alone) == len(StreamBatches(order(listed(*SIZES)), 12, start=0, stop=40)) == 40
    assert list(chain(*alone)) == order(listed(*SIZES)).take(0, 480)
    parts = [batches(rank, ranks) for rank in range(ranks)]
    assert [list(chain(*shares)) for shares in zip(*parts, strict=True)] == alone
    for start in (1, 6, 7, 39):  # 80 images: the 7th batch crosses the end of an epoch
        assert batches(ranks - 1, ranks, start) == parts[-1][start:]


def test_batches_that_cannot_be_shared() -> None:
    with pytest.raises(Face2ExpError, match="a batch of 10 cannot be shared by 3 processes"):
        StreamBatches(order(listed(*SIZES)), 10, start=0, stop=1, ranks=3)


def test_what_is_held_does_not_grow_with_the_set() -> None:
    """26,000 shards of 10,000 images: a window's indices, and a few numbers a shard."""
    faces = listed(*[10_000] * 26_000)
    assert len(faces) == 260_000_000
    stream = order(faces, window=8)
    assert len(set(stream.take(130_000_000, 130_000_256))) == 256
    held = [value for value in vars(stream).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in held) < 2_000_000


# What is left out


def test_images_are_left_out_by_id_and_by_digest(tmp_path: Path) -> None:
    faces = sharded(tmp_path, 45, 10, seed=None)
    digests = set(np.array(numbered(45).digests(), object)[[3, 12, 13, 44]])
    left, listed_, copies, lacking = faces.without({"person1/12.png", "x"}, digests | {bytes(16)})
    assert (listed_, copies, lacking) == (1, 3, {"x"})
    assert {n: rows.tolist() for n, rows in left.excluded.items()} == {0: [3], 1: [2, 3], 4: [4]}
    assert set(order(left).take(0, len(left))) == set(range(45)) - {3, 12, 13, 44}
    assert left.digest != faces.digest
    again, listed_, copies, _ = left.without({"person1/12.png"}, digests)
    assert (again.digest, listed_, copies) == (left.digest, 0, 0)
    assert faces.without(set(), set())[0].digest == faces.digest


def test_too_many_to_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("face2exp_lib.data.stream_order.MAX_EXCLUDED", 5)
    faces = sharded(tmp_path, 25, 10)
    with pytest.raises(Face2ExpError, match="over 5 images to be left out"):
        faces.without(set(), set(numbered(25).digests()))


def test_a_shard_of_which_nothing_is_left() -> None:
    faces = listed(2, 3, 2, s1=[0, 1, 2])
    assert sorted(order(faces, window=1).take(0, 4)) == [0, 1, 5, 6]


# Where it comes from


def test_open_stream(tmp_path: Path) -> None:
    sharded(tmp_path / "set", 25, 10)
    for part in ("", "numbered"):
        faces = open_stream(tmp_path / "set", part)
        assert (faces.name, len(faces)) == ("set/numbered", 25)
    with pytest.raises(Face2ExpError, match=r"other\.json: no such file"):
        open_stream(tmp_path / "set", "other")
    with pytest.raises(Face2ExpError, match="no such file or folder"):
        open_stream(tmp_path / "x", "")
    (tmp_path / "set" / "second.json").write_bytes((tmp_path / "set/numbered.json").read_bytes())
    with pytest.raises(Face2ExpError, match="holds the sets numbered, second: name one as `part`"):
        open_stream(tmp_path / "set", "")


def test_pieces_of_a_set_as_one(tmp_path: Path) -> None:
    """Sharded one after the other into one folder."""
    for name, count in (("a", 25), ("b", 12), ("c", 7)):
        faces = replace(numbered(count), name=f"piece-{name}")
        shard_set(faces, tmp_path / "set", Recipe(images_per_shard=10))
    whole = open_stream(tmp_path / "set", "piece-*")
    assert (whole.name, len(whole), len(whole.counts)) == ("set/piece-*", 44, 6)
    assert len(set(order(whole).take(0, 44))) == 44
    assert len(open_stream(tmp_path / "set", "piece-[ab]")) == 37
    assert open_stream(tmp_path / "set", "*").digest == whole.digest
    with pytest.raises(Face2ExpError, match="holds no index of shards like x"):
        open_stream(tmp_path / "set", "x*")
    index = (tmp_path / "set" / "piece-a.json").read_bytes()
    (tmp_path / "set" / "piece-d.json").write_bytes(index)
    with pytest.raises(Face2ExpError, match="two sets list one shard"):
        open_stream(tmp_path / "set", "*")


def test_a_set_without_tables(tmp_path: Path) -> None:
    sharded(tmp_path, 25, 10)
    path = tmp_path / "numbered.json"
    path.write_text(path.read_text().replace("table_digest", "x"))
    with pytest.raises(Face2ExpError, match="lists no tables, which a stream needs"):
        open_stream(tmp_path, "")


# Reading ahead


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice")
def test_the_next_window_is_asked_for_while_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From begin to end, each byte once; of the first window all at once."""
    faces = sharded(tmp_path, 95, 10)
    stream = order(faces, window=3)
    asked: dict[str, list[tuple[int, int]]] = {}
    advise: Callable[..., None] = os.posix_fadvise

    def note(handle: int, first: int, length: int, advice: int) -> None:
        asked.setdefault(os.readlink(f"/proc/self/fd/{handle}"), []).append((first, length))
        advise(handle, first, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", note)
    ahead = ReadAhead(stream)
    ahead.reach(0)
    first = {str(tmp_path / faces.shards.shards[n].url) for n in stream.shards_of(0)}
    for path in first:
        assert sum(length for _, length in asked[path]) == os.path.getsize(path)
    asked.clear()
    size = len(stream.indices(0))
    for position in range(1, size):
        ahead.reach(position)
    second = [str(tmp_path / faces.shards.shards[n].url) for n in stream.shards_of(1)]
    assert list(asked) == second
    for path in second[1:]:
        assert asked[path][0][0] == 0
        reached = 0
        for place, length in asked[path]:
            assert place == reached
            reached += length
        assert reached == os.path.getsize(path)
    asked.clear()
    ahead.reach(size)
    assert not set(asked) & set(second)


def test_every_window_has_a_permutation_of_its_own() -> None:
    """Windows of two shards of ten images: where each image of the sorted twenty comes is drawn
    anew for every window, in the next epoch, too. Of 20! orders two are never equal by chance."""
    stream = order(listed(*[10] * 6), window=2)
    drawn = []
    for window in range(6):
        in_order = np.concatenate([stream.faces.indices(n) for n in stream.shards_of(window)])
        place = {index: number for number, index in enumerate(in_order.tolist())}
        drawn.append(tuple(place[index] for index in stream.indices(window).tolist()))
    assert all(sorted(one) == list(range(20)) for one in drawn)
    assert len(set(drawn)) == 6
