"""Reading sets of shards: nothing is extracted, and no list of all images is made.

Index, tables and tars may come from anywhere: names stay in the folder, places in the file, sizes
within bounds, and a file that is not the one that was listed is an error that names it.
"""

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from face2exp_lib.data.shards.tar import BLOCK, MAX_MEMBER_BYTES, told_size
from face2exp_lib.data.shards.writer import (
    KIND,
    NUM_POINTS,
    SCHEMA,
    SHARD_NAME,
    Shard,
    content_digest,
    set_digest,
    table_name,
)
from face2exp_lib.runtime.errors import Face2ExpError, in_words
from face2exp_lib.runtime.storage import read_json

ANEW = "make the shards again, or move it away and index them with `face2exp data shard --index`"
MAX_TABLE_BYTES_PER_ROW = 2**16  # a small file can claim to be far more than fits into memory


@dataclass(frozen=True)
class ShardSet:
    """The shards of one set.

    Attributes:
        folder: where they lie.
        name: of the set.
        shards: in order; the images of all are numbered through.
    """

    folder: Path
    name: str
    shards: tuple[Shard, ...]

    @cached_property
    def starts(self) -> np.ndarray:
        """(S + 1,) number of each shard's first image, and of all images."""
        return np.cumsum([0, *(shard.nsamples for shard in self.shards)])

    @property
    def digest(self) -> str:
        """Names the content, in 32 hexadecimal digits."""
        return set_digest(self.shards)

    def table(self, number: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of a shard's table.

        Raises:
            Face2ExpError: if it is missing, damaged, or not the one that the index lists.
        """
        shard = self.shards[number]
        path = self.folder / table_name(shard.url)
        try:
            content = path.read_bytes()
            if content_digest(content) != shard.table_digest:
                raise ValueError("it is not the one that was listed")
            return _parse_table(content, shard, columns)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            ours = not isinstance(error, (KeyError, pa.ArrowException))
            raise Face2ExpError(
                f"{path}: not readable as the table of its shard "
                f"({in_words(error) if ours else 'damaged'}): make the shards again"
            ) from error


def read_shard_set(folder: Path | str, name: str) -> ShardSet:
    """Read `NAME.json` and see that the shards it lists are there.

    Raises:
        Face2ExpError: if it is no index, or a shard is missing, of another length, listed twice or
            outside of the folder.
    """
    folder = Path(folder)
    path = folder / f"{name}.json"
    content = read_json(path, "shardlist")
    listed = content["shardlist"]
    if content.get("__kind__") != KIND or not isinstance(listed, list) or not listed:
        raise Face2ExpError(f"{path}: no index of shards: write them with `face2exp data shard`")
    entries = [_entry(entry, path) for entry in listed]
    if len({entry["url"] for entry in entries}) < len(entries):
        raise Face2ExpError(f"{path}: lists a shard twice: {ANEW}")
    return ShardSet(folder, name, tuple(_shard(entry, path) for entry in entries))


def joined(name: str, sets: Sequence[ShardSet]) -> ShardSet:
    """Sets of one folder as one.

    Raises:
        Face2ExpError: if two of them list one shard.
    """
    shards = tuple(shard for one in sets for shard in one.shards)
    if len({shard.url for shard in shards}) < len(shards):
        raise Face2ExpError(f"{sets[0].folder}: two sets list one shard: make the shards again")
    return ShardSet(sets[0].folder, name, shards)


class ShardReader:
    """Reads images out of the tars of a set by their place. Opens few tars at a time.

    Args:
        shards: the set.
        keep_open: tars.
    """

    def __init__(self, shards: ShardSet, keep_open: int) -> None:
        self.shards, self.keep_open = shards, keep_open
        self._open: OrderedDict[int, io.BufferedReader] = OrderedDict()
        self._opened_by = os.getpid()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": OrderedDict()}  # open files do not cross to a worker

    def read(self, number: int, offset: int, length: int) -> bytes:
        """The content of one image of shard `number`.

        Raises:
            OSError: if the tar cannot be read.
            ValueError: if nothing of that length begins there: the tar has changed.
        """
        shard = self.shards.shards[number]
        if not (BLOCK <= offset <= shard.filesize - length and 0 <= length <= MAX_MEMBER_BYTES):
            raise ValueError(f"its place in {shard.url} lies outside of it")
        file = self._file(number)
        file.seek(offset - BLOCK)
        block, content = file.read(BLOCK), file.read(length)
        if len(content) < length or told_size(block) != length:
            raise ValueError(f"{shard.url} has changed since it was listed")
        return content

    def close(self) -> None:
        """Close what is open; it opens again when it is asked for."""
        while self._open:
            self._open.popitem()[1].close()

    def __del__(self) -> None:
        self.close()

    def _file(self, number: int) -> io.BufferedReader:
        # Processes forked from one that opened a tar would share its position in the file.
        if self._opened_by != os.getpid():
            self.close()
            self._opened_by = os.getpid()
        if number not in self._open:
            while len(self._open) >= self.keep_open:
                self._open.popitem(last=False)[1].close()
            self._open[number] = (self.shards.folder / self.shards.shards[number].url).open("rb")
        self._open.move_to_end(number)
        return self._open[number]


def points_of(table: pa.Table) -> np.ndarray:
    """(N, 5, 2) float32 landmarks, NaN where there are none."""
    column = table["landmarks"].combine_chunks()
    points = np.full((len(column), 2 * NUM_POINTS), np.nan, np.float32)
    known = column.is_valid().to_numpy(zero_copy_only=False)
    flat = column.filter(pa.array(known)).flatten()
    points[known] = flat.to_numpy(zero_copy_only=False).reshape(-1, 2 * NUM_POINTS)
    return points.reshape(-1, NUM_POINTS, 2)


def rows_of_ids(shards: ShardSet, number: int, ids: set[str]) -> tuple[np.ndarray, set[str]]:
    """Sorted rows of a shard's table that have one of some ids, and those of the ids they have."""
    if not ids:
        return np.empty(0, np.int64), set()
    held = shards.table(number, ("id",))["id"]
    rows = np.flatnonzero(pc.is_in(held, pa.array(sorted(ids))).to_numpy())
    return rows, set(held.take(pa.array(rows)).to_pylist())


def rows_of_digests(shards: ShardSet, number: int, digests: set[bytes]) -> np.ndarray:
    """Sorted rows of a shard's table whose source stored one of some digests."""
    if not digests:
        return np.empty(0, np.int64)
    held = shards.table(number, ("digest",))["digest"]
    return np.flatnonzero(pc.is_in(held, pa.array(sorted(digests), pa.binary(16))).to_numpy())


def _entry(entry: Any, path: Path) -> dict[str, Any]:
    """What an index, which may be made elsewhere, says of a shard: no more than `Shard` has."""
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise Face2ExpError(f"{path}: an entry is none of a shard: {ANEW}")
    url = entry["url"]
    if not SHARD_NAME.fullmatch(url):
        raise Face2ExpError(
            f"{path}: lists '{url:.80}', which is no tar in its folder: put it there and list its "
            f"name; {ANEW}"
        )
    if "nsamples" not in entry:
        raise Face2ExpError(f"{path}: tells no 'nsamples' of {url}: {ANEW}")
    # Indices of others may leave out how long a tar is, or say null.
    known = {key: entry[key] for key in Shard.__dataclass_fields__ if key in entry}
    if known.get("filesize", "") is None:
        del known["filesize"]
    for key, value in known.items():
        number = type(value) is int and value >= 0
        if not (number if key in ("nsamples", "filesize") else isinstance(value, str)):
            raise Face2ExpError(f"{path}: '{key}' of {url} is none of a shard: {ANEW}")
    return known


def _shard(entry: dict[str, Any], path: Path) -> Shard:
    """A listed shard that is there."""
    tar = path.with_name(entry["url"])
    try:
        size = tar.stat().st_size
    except OSError as error:
        raise Face2ExpError(
            f"{tar}: listed in {path.name} and not there: fetch or make it again"
        ) from error
    shard = Shard(**{"filesize": size, **entry})
    if size != shard.filesize:
        raise Face2ExpError(
            f"{tar}: has {size:,} bytes, and {path.name} says {shard.filesize:,}: cut off or "
            "changed: fetch or make it again"
        )
    return shard


def _parse_table(content: bytes, shard: Shard, columns: Sequence[str]) -> pa.Table:
    file = pq.ParquetFile(pa.BufferReader(content))
    about = file.metadata
    unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
    if about.num_rows != shard.nsamples:
        raise ValueError(f"{about.num_rows} rows for {shard.nsamples} images")
    if unpacked > MAX_TABLE_BYTES_PER_ROW * (shard.nsamples + 1):
        raise ValueError(f"it unpacks to {unpacked:,} bytes")
    table = file.read(columns=list(columns), use_threads=False)  # threads do not survive a fork
    if table.schema.remove_metadata() != pa.schema([SCHEMA.field(name) for name in columns]):
        raise ValueError("its columns are other ones")
    return table
