"""The form of a set of shards, and the one writer of it: tars, an index, a table for each tar.

`NAME.json` lists the shards in the form of WebDataset's indexed reader (wids), with a digest of
each. `NAME-000000.tar` holds pairs `KEY.jpg` and `KEY.json` that any reader of WebDataset reads.
`NAME-000000.parquet` tells of each of its images where it lies and what is known about it, so that
a reader scans no tar, and holds the tables of the shards at hand and no list of the whole set:
WebDataset's own readers have to walk through a tar before they can reach into it.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face2exp_lib.data.shards.tar import TarWriter
from face2exp_lib.runtime.storage import sync

VERSION = 1
KIND = "wids-shard-index-v1"
REMARKS = b"face2exp"  # key of the table's metadata
INDEXED = "indexed"  # key of its remarks, where the tar was made elsewhere
SHARD_NAME = re.compile(
    r"[^./\\:\0-\x1f\x7f][^/\\:\0-\x1f\x7f]*\.tar"
)  # in the folder of the index
NUM_POINTS = 5
SCHEMA = pa.schema(
    [
        ("image", pa.string()),  # its name in the tar
        ("id", pa.string()),  # what its source called it
        ("offset", pa.int64()),
        ("length", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("digest", pa.binary(16)),
        ("label", pa.int8()),
        ("identity", pa.string()),
        ("landmarks", pa.list_(pa.float32(), 2 * NUM_POINTS)),
        ("detected", pa.bool_()),
    ]
)


class About(NamedTuple):
    """What a table tells about an image, beside where it lies.

    Attributes:
        id: what its source called it.
        width, height: in px, upright.
        digest: 16 bytes of BLAKE2b of what its source stored: equal for exact copies.
        label: `Expression` code, or None.
        identity: name or number of a person, or None.
        landmarks: (5, 2) x, y in px of the stored image, upright; or None.
        detected: False where the landmarks are the canonical ones; None if nobody knows.
    """

    id: str
    width: int
    height: int
    digest: bytes
    label: int | None = None
    identity: str | None = None
    landmarks: np.ndarray | None = None
    detected: bool | None = None


class Sample(NamedTuple):
    """One image to be written.

    Attributes:
        image: `KEY.jpg`.
        content: the file.
        told: the object of `KEY.json`.
        about: its row of the table.
    """

    image: str
    content: bytes
    told: dict[str, Any]
    about: About


@dataclass(frozen=True)
class Shard:
    """One shard, as the index lists it.

    Attributes:
        url: name of the tar.
        nsamples: images in it.
        filesize: of the tar in bytes.
        digest, table_digest: of the tar and its table; empty in an index made elsewhere.
    """

    url: str
    nsamples: int
    filesize: int
    digest: str = ""
    table_digest: str = ""


def table_name(url: str) -> str:
    """The table beside a tar."""
    return url.removesuffix(".tar") + ".parquet"


def shard_name(name: str, number: int) -> str:
    """The tar of one shard."""
    return f"{name}-{number:06d}.tar"


def is_shard_name(file_name: str, name: str) -> bool:
    """Whether a file is called like a shard of the set."""
    return re.fullmatch(re.escape(name) + r"-\d{6,}\.tar", file_name) is not None


def write_shard(
    path: Path, samples: Iterable[Sample], remarks: dict[str, Any] | None = None
) -> Shard:
    """Write one tar and its table beside it.

    Args:
        path: of the tar.
        remarks: JSON to keep with the table, see `read_remarks`.

    Raises:
        OSError: if there is no room for it. What was written is left.
    """
    rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    with path.open("wb") as file:
        tar = TarWriter(file)
        for image, content, told, about in samples:
            offset = tar.add(image, content)
            tar.add(f"{image.partition('.')[0]}.json", json.dumps(told).encode())
            points = None if about.landmarks is None else about.landmarks.ravel().tolist()
            row = {**about._asdict(), "landmarks": points, "image": image}
            row |= {"offset": offset, "length": len(content)}
            for name, value in row.items():
                rows[name].append(value)
        digest = tar.close()
        sync(file)
    shard = Shard(path.name, len(rows["id"]), tar.size, digest)
    table = table_of(shard, rows, remarks or {})
    with path.with_name(table_name(path.name)).open("wb") as file:
        file.write(table)
        sync(file)
    return replace(shard, table_digest=content_digest(table))


def table_of(shard: Shard, rows: dict[str, list[Any]], remarks: dict[str, Any]) -> bytes:
    """The content of a shard's table.

    Args:
        rows: a list for each column of `SCHEMA`.
    """
    kept = {"version": VERSION, "tar": asdict(shard), **remarks}
    table = pa.table(rows, SCHEMA.with_metadata({REMARKS: json.dumps(kept)}))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def read_remarks(folder: Path, url: str) -> tuple[Shard, dict[str, Any]] | None:
    """A finished shard's entry of the index and what was kept with its table; None if none is."""
    path = folder / table_name(url)
    try:
        content = path.read_bytes()
        kept = json.loads(pq.read_schema(pa.BufferReader(content)).metadata[REMARKS])
        entry = {**kept["tar"], "table_digest": content_digest(content)}
        return Shard(**entry), kept
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def index_of(name: str, digest: str, shards: Sequence[Shard]) -> dict[str, Any]:
    """The content of `NAME.json`. WebDataset's indexed reader passes over keys it does not know."""
    return {
        "__kind__": KIND,
        "wids_version": 1,
        "name": name,
        "digest": digest,
        "shardlist": [asdict(shard) for shard in shards],
    }


def content_digest(content: bytes) -> str:
    """Names a file's content, in 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def set_digest(shards: Sequence[Shard]) -> str:
    """Names the content of a set, in 32 hexadecimal digits."""
    return content_digest(json.dumps([asdict(shard) for shard in shards]).encode())
