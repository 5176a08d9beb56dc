"""Reading shards: index, tables and tars may come from anywhere."""

import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fuzz_readers import damage
from face2exp_lib.data.shards import reader as module
from face2exp_lib.data.shards.reader import (
    ShardReader,
    ShardSet,
    points_of,
    read_shard_set,
    rows_of_digests,
    rows_of_ids,
)
from face2exp_lib.data.shards.writer import SCHEMA, content_digest, set_digest, table_name
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.shards.small_shards import entry_of, numbered, sharded, tiny

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def made(tmp_path: Path) -> ShardSet:
    return sharded(tmp_path, 25, 10, seed=None).shards


def test_index_in_the_form_of_wids(made: ShardSet) -> None:
    content = json.loads((made.folder / "numbered.json").read_text())
    assert (content["__kind__"], content["wids_version"]) == ("wids-shard-index-v1", 1)
    assert content["digest"] == made.digest == set_digest(made.shards)
    assert content["shardlist"] == [asdict(shard) for shard in made.shards]
    assert read_shard_set(made.folder, "numbered") == made


def test_tables(made: ShardSet) -> None:
    faces = numbered(25)
    assert faces.landmarks is not None
    table = made.table(2, ("id", "identity", "label", "landmarks", "detected", "width"))
    assert table["id"].to_pylist() == faces.ids[20:]
    assert np.array_equal(points_of(table), faces.landmarks[20:])
    assert table["detected"].to_pylist() == [False, True, True, True, False]
    assert table["width"].to_pylist() == [8] * 5


def test_points_that_are_missing() -> None:
    column = pa.array([None, list(range(10)), None], pa.list_(pa.float32(), 10))
    points = points_of(pa.table({"landmarks": column}))
    assert np.isnan(points[[0, 2]]).all()
    assert points[1].tolist() == np.arange(10).reshape(5, 2).tolist()


def test_rows(made: ShardSet) -> None:
    rows, found = rows_of_ids(made, 1, {"person1/12.png", "person0/1.png", "x"})
    assert (rows.tolist(), found) == ([2], {"person1/12.png"})
    digests = set(np.array(numbered(25).digests(), object)[[3, 11, 19]]) | {bytes(16)}
    assert [rows_of_digests(made, n, digests).tolist() for n in range(3)] == [[3], [1, 9], []]
    assert rows_of_ids(made, 1, set())[0].tolist() == rows_of_digests(made, 1, set()).tolist() == []


def test_reader(made: ShardSet) -> None:
    reader = ShardReader(made, keep_open=2)
    places = [
        (number, offset, length, int(name.split("/")[1][:-4]))
        for number in range(3)
        for offset, length, name in zip(
            *made.table(number, ("offset", "length", "id")).to_pydict().values(), strict=True
        )
    ]
    for place in np.random.default_rng(0).permutation(len(places)):
        number, offset, length, told = places[place]
        assert reader.read(number, offset, length) == tiny(told)
        assert len(reader._open) <= 2
    other = pickle.loads(pickle.dumps(reader))
    assert (other._open, other.read(*places[0][:3])) != ({}, b"")
    reader._opened_by = -1  # as if in a forked process
    assert reader.read(*places[7][:3]) == tiny(places[7][3])
    assert len(reader._open) == 1
    reader.close()
    other.close()


@pytest.mark.parametrize(
    "place", [(0, 100), (-5, 100), (511, 100), (512, -1), (10**9, 1), (512, 2**40), (512, 20_000)]
)
def test_places_outside_of_the_file(made: ShardSet, place: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"outside of it|has changed"):
        ShardReader(made, 1).read(0, *place)


def test_a_shard_that_changed_after_it_was_listed(made: ShardSet) -> None:
    """Moved by a block: nothing of that length begins there."""
    path = entry_of(made, 1)
    content = path.read_bytes()
    path.write_bytes(content[512:] + content[:512])
    offset, length = (made.table(1, (name,))[name][3].as_py() for name in ("offset", "length"))
    with pytest.raises(ValueError, match=r"numbered-000001\.tar has changed since it was listed"):
        ShardReader(made, 1).read(1, offset, length)


def test_shards_that_are_missing_or_cut_off(made: ShardSet) -> None:
    path = entry_of(made, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Face2ExpError, match=r"000001\.tar: has [\d,]+ bytes, and numbered\.json"):
        read_shard_set(made.folder, "numbered")
    path.unlink()
    with pytest.raises(Face2ExpError, match=r"000001\.tar: listed in numbered\.json and not there"):
        read_shard_set(made.folder, "numbered")


def change_entry(**values: Any) -> Change:
    return lambda content: content["shardlist"][1].update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_entry(url="../numbered-000001.tar"), "which is no tar in its folder"),
        (change_entry(url="/etc/numbered.tar"), "which is no tar in its folder"),
        (change_entry(url="a\\b.tar"), "which is no tar in its folder"),
        (change_entry(url="numbered-000001.zip"), "which is no tar in its folder"),
        (change_entry(url=7), "none of a shard"),
        (change_entry(nsamples=-1), "none of a shard"),
        (change_entry(nsamples=1.5), "none of a shard"),
        (change_entry(nsamples=True), "none of a shard"),
        (change_entry(filesize="x"), "none of a shard"),
        (change_entry(digest=None), "none of a shard"),
        (change_entry(url="numbered-000000.tar"), "lists a shard twice"),
        (lambda content: content["shardlist"].append("x"), "none of a shard"),
        (lambda content: content["shardlist"].append({}), "none of a shard"),
        (lambda content: content["shardlist"].append({"url": "a.tar"}), "no 'nsamples' of a.tar"),
        (change_entry(url="https://a.org/a.tar"), "which is no tar in its folder"),
        (change_entry(url="part/a.tar"), "which is no tar in its folder"),
        (change_entry(url=".a.tar"), "which is no tar in its folder"),
        (lambda content: content.update(shardlist={}), "no index of shards"),
        (lambda content: content.update(shardlist=[]), "no index of shards"),
        (lambda content: content.update(__kind__="x"), "no index of shards"),
        (lambda content: content.pop("shardlist"), "no 'shardlist'"),
    ],
)
def test_broken_index(made: ShardSet, change: Change, message: str) -> None:
    path = made.folder / "numbered.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(Face2ExpError, match=message) as raised:
        read_shard_set(made.folder, "numbered")
    assert "__init__" not in str(raised.value)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("size", ["left out", None])
def test_an_index_that_tells_no_sizes(made: ShardSet, size: str | None) -> None:
    """As wids writes it: the tars themselves tell."""
    path = made.folder / "numbered.json"
    content = json.loads(path.read_text())
    for entry in content["shardlist"]:
        del entry["filesize"]
        if size is None:
            entry["filesize"] = None
    path.write_text(json.dumps(content))
    assert read_shard_set(made.folder, "numbered") == made
    entry_of(made, 1).unlink()
    with pytest.raises(Face2ExpError, match=r"000001\.tar: listed in numbered\.json and not there"):
        read_shard_set(made.folder, "numbered")


def replaced(made: ShardSet, content: bytes, number: int = 1) -> ShardSet:
    """The set with another table, listed with its digest: as whoever makes both would do."""
    shards = list(made.shards)
    (made.folder / table_name(shards[number].url)).write_bytes(content)
    entry = asdict(shards[number]) | {"table_digest": content_digest(content)}
    shards[number] = type(shards[number])(**entry)
    return ShardSet(made.folder, made.name, tuple(shards))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def test_a_table_of_other_bytes(made: ShardSet) -> None:
    path = made.folder / "numbered-000001.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(Face2ExpError, match=r"000001\.parquet: .*not the one that was listed"):
        made.table(1, ("id",))
    path.unlink()
    with pytest.raises(Face2ExpError, match=r"000001\.parquet: .*no such file"):
        made.table(1, ("id",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not readable as the table"),
        (b"PAR1" + bytes(100) + b"PAR1", "not readable as the table"),
        (parquet(pa.table({"id": ["a"] * 9})), "9 rows for 10 images"),
        (parquet(pa.table({"x": ["a"] * 10})), "not readable as the table"),
        (parquet(pa.table({"id": [1] * 10})), "its columns are other ones"),
    ],
)
def test_damaged_tables(made: ShardSet, content: bytes, message: str) -> None:
    with pytest.raises(Face2ExpError, match=message):
        replaced(made, content).table(1, ("id",))


def test_any_damage_to_a_table_is_an_error_or_does_no_harm(made: ShardSet) -> None:
    generator = np.random.default_rng(0)
    whole = (made.folder / "numbered-000001.parquet").read_bytes()
    refused = 0
    for _ in range(150):
        try:
            table = replaced(made, damage(whole, generator)).table(1, SCHEMA.names)
            assert len(table) == 10
            assert points_of(table).shape == (10, 5, 2)
        except Face2ExpError:
            refused += 1
    assert 20 < refused < 150


def test_a_table_that_unpacks_to_more_than_fits(
    made: ShardSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TABLE_BYTES_PER_ROW", 1000)
    huge = replaced(made, parquet(pa.table({"id": ["x" * 10_000 + str(n) for n in range(10)]})))
    with pytest.raises(Face2ExpError, match=r"it unpacks to \d+,\d+ bytes"):
        huge.table(1, ("id",))
