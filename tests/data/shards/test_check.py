"""What `face2exp data shard --verify` finds."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from face2exp_lib.data.shards.check import file_digest, shard_problems
from face2exp_lib.data.shards.reader import ShardSet, read_shard_set
from face2exp_lib.data.shards.tar import TarWriter
from face2exp_lib.data.shards.writer import About, Sample, Shard, index_of, write_shard
from tests.data.shards.small_shards import entry_of, sharded
from tests.data.shards.test_reader import parquet, replaced


@pytest.fixture
def made(tmp_path: Path) -> ShardSet:
    return sharded(tmp_path, 25, 10, seed=None).shards


def samples(*keys: str) -> list[Sample]:
    about = About("a", 1, 1, bytes(16))
    return [Sample(f"{key}.png", key.encode(), {}, about) for key in keys]


def test_nothing_is_wrong(made: ShardSet) -> None:
    assert list(shard_problems(made)) == []


def test_every_byte_counts(made: ShardSet) -> None:
    for number, place in ((0, 700), (1, -1), (2, 100)):
        path = entry_of(made, number)
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    found = list(shard_problems(made))
    assert len(found) == 3
    for number, problem in enumerate(found):
        assert problem.startswith(f"{entry_of(made, number)}: not the shard that was listed")
        assert "bytes are not those that were listed" in problem


def test_a_table_that_tells_other_places(made: ShardSet) -> None:
    table = made.table(1, ("image", "id", "offset", "length"))
    moved = pa.array(np.roll(table["offset"].to_numpy(), 1))
    changed = replaced(made, parquet(table.set_column(2, "offset", moved)))
    (problem,) = shard_problems(changed)
    assert "its table says another place of 0000000010.png" in problem


def retold(tmp_path: Path, tell: Callable[[TarWriter], object]) -> list[str]:
    """A shard whose tar was written anew, and listed with its digest."""
    shard = write_shard(tmp_path / "s-000000.tar", samples("0", "1"))
    with (tmp_path / shard.url).open("wb") as file:
        writer = TarWriter(file)
        for key in "01":
            writer.add(f"{key}.png", key.encode())
            writer.add(f"{key}.json", b"{}")
        tell(writer)
        digest = writer.close()
    new = Shard(shard.url, 2, writer.size, digest, shard.table_digest)
    return list(shard_problems(ShardSet(tmp_path, "s", (new,))))


def test_a_tar_with_more_than_its_table_lists(tmp_path: Path) -> None:
    assert retold(tmp_path, lambda writer: None) == []
    (problem,) = retold(tmp_path, lambda writer: writer.add("/etc/x.jpg", b""))
    assert "it holds more than its table lists" in problem


def test_keys_that_come_twice(tmp_path: Path) -> None:
    """In one shard, and across two."""
    shards = (
        write_shard(tmp_path / "s-000000.tar", samples("0", "2")),
        write_shard(tmp_path / "s-000001.tar", samples("2", "3")),
        write_shard(tmp_path / "s-000002.tar", samples("5", "5")),
        write_shard(tmp_path / "s-000003.tar", samples()),
        write_shard(tmp_path / "s-000004.tar", samples("6")),
    )
    first, second = shard_problems(ShardSet(tmp_path, "s", shards))
    assert "s-000001.tar: key 2 is not above those of the shards before it" in first
    assert "s-000002.tar" in second
    assert "key 5 comes twice or out of order" in second


def test_a_stray_shard(made: ShardSet) -> None:
    (made.folder / "numbered-000003.tar").write_bytes(b"")
    (made.folder / "numbered-x.tar").write_bytes(b"")
    (problem,) = shard_problems(made)
    assert "numbered-000003.tar: not listed in numbered.json" in problem


def test_an_index_from_elsewhere_tells_no_digests(made: ShardSet) -> None:
    plain = [Shard(shard.url, shard.nsamples, shard.filesize) for shard in made.shards]
    content = index_of("numbered", "", plain)
    for entry in content["shardlist"]:
        del entry["digest"], entry["table_digest"]
    (made.folder / "numbered.json").write_text(json.dumps(content))
    found = list(shard_problems(read_shard_set(made.folder, "numbered")))
    assert len(found) == 3
    assert all("tells no digest" in problem for problem in found)


def test_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == "cf4ab791c62b8d2b2109c90275287816"
