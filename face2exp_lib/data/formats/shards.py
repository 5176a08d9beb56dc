"""WebDataset shards with their index, as `face2exp data shard` writes them, or others."""

import io
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import must_exist, set_name, set_origin
from face2exp_lib.data.formats.tables import BadRows
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import is_image, is_left_behind, open_image
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.data.shards.reader import ShardReader, ShardSet, joined, points_of, read_shard_set
from face2exp_lib.data.shards.tar import members
from face2exp_lib.data.shards.writer import KIND, SCHEMA
from face2exp_lib.runtime.errors import Face2ExpError, in_words
from face2exp_lib.runtime.storage import read_json

TARS_KEPT_OPEN = 16
COLUMNS = ("id", "offset", "length", "label", "identity", "landmarks", "detected")


class ShardImages:
    """Images in the tars of a set.

    Args:
        shards: the set.
        ids: one for each.
        shard_of: (N,) index of its shard.
        offsets, lengths: (N,) its place in that tar, in bytes.
    """

    holds_files = True

    def __init__(
        self,
        shards: ShardSet,
        ids: Sequence[str],
        shard_of: np.ndarray,
        offsets: np.ndarray,
        lengths: np.ndarray,
    ) -> None:
        self.ids, self.shard_of, self.offsets, self.lengths = ids, shard_of, offsets, lengths
        self._reader = ShardReader(shards, TARS_KEPT_OPEN)

    def take(self, rows: np.ndarray) -> "ShardImages":
        return ShardImages(
            self._reader.shards,
            [self.ids[row] for row in rows],
            *(values[rows] for values in (self.shard_of, self.offsets, self.lengths)),
        )

    def read(self, index: int) -> bytes:
        place = self.shard_of[index], self.offsets[index], self.lengths[index]
        return self._reader.read(*(int(value) for value in place))

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.read(index)))


def open_shard_set(root: Path, part: str) -> ShardSet:
    """The set called `part` in a folder; without a part, the only one there.

    A large source is sharded in pieces: a pattern such as `*` takes all sets that fit as one.

    Raises:
        Face2ExpError: if it is not there, unfinished or damaged.
    """
    must_exist(root, "give the folder that holds the index and the tars")
    pattern = any(character in part for character in "*?[")
    if part and not pattern:
        return read_shard_set(root, part)
    names = [name for name in recognise(root) if not part or fnmatchcase(name, part)]
    if not names:
        raise Face2ExpError(
            f"{root}: holds no index of shards{f' like {part}' if part else ''}: if sharding was "
            "cut off, run it again; tars of others: `face2exp data shard --index`"
        )
    if pattern:
        return joined(part, [read_shard_set(root, name) for name in names])
    if len(names) > 1:
        raise Face2ExpError(f"{root}: holds the sets {', '.join(names)}: name one as `part`")
    return read_shard_set(root, names[0])


def read_shards(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """A set of shards as one list of all of its images.

    Their tables are read, or, where an index comes from elsewhere and has none, the headers in the
    tars. Training streams `data.unlabelled` instead and makes no list.
    """
    del codes
    shards, bad = open_shard_set(root, part), BadRows(skip_bad)
    tables = [
        shards.table(number, COLUMNS) if shard.table_digest else _scan(shards, number, bad)
        for number, shard in enumerate(shards.shards)
    ]
    whole = pa.concat_tables(tables)
    ids = whole["id"].to_pylist()
    shard_of = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    kept = _first_of_each(ids, shards, shard_of, bad)
    bad.must_leave(len(kept), root, "no image")
    whole = whole.take(pa.array(kept))
    offsets, lengths = (whole[name].to_numpy() for name in ("offset", "length"))
    images = ShardImages(shards, whole["id"].to_pylist(), shard_of[kept], offsets, lengths)
    labels, identities, points = whole["label"], whole["identity"], points_of(whole)
    detected = whole["detected"]
    return FaceSet(
        set_name(root, shards.name),
        images,
        np.arange(len(kept)),
        None if labels.null_count else labels.to_numpy().astype(np.int64),
        None if identities.null_count else np.array(identities.to_pylist()),
        points if np.isfinite(points).all() else None,
        None if detected.null_count else ~detected.to_numpy(),
        skipped=tuple(bad.skipped),
        origin=set_origin(shards.folder / shards.name),
        codes="" if labels.null_count else "names",
    )


def _scan(shards: ShardSet, number: int, bad: BadRows) -> pa.Table:
    """The table of a tar that has none: its images alone."""
    url = shards.shards[number].url
    rows = []
    try:
        for member in members(shards.folder / url):
            if member.problem:
                where = f"{shards.folder / url}: {member.name!r:.120}"
                bad.add(f"{url}/{member.name}", where, member.problem)
            elif any(is_left_behind(name) for name in Path(member.name).parts):
                bad.left_behind(f"{url}/{member.name}")
            elif is_image(member.name):
                place = {"offset": member.offset, "length": member.size}
                rows.append({"id": f"{url}/{member.name}", **place})
    except (OSError, ValueError) as error:
        raise Face2ExpError(
            f"{shards.folder / url}: not readable as a tar ({in_words(error)}): fetch or make it "
            "again"
        ) from error
    return pa.Table.from_pylist(rows, pa.schema([SCHEMA.field(name) for name in COLUMNS]))


def _first_of_each(
    ids: Sequence[str], shards: ShardSet, shard_of: np.ndarray, bad: BadRows
) -> list[int]:
    """The images without those whose id another one had before."""
    seen: set[str] = set()
    kept = []
    for index, image in enumerate(ids):
        if image in seen:
            where = f"{shards.folder / shards.shards[shard_of[index]].url}"
            bad.add(image, where, "an image of this id came before", f": {image}")
        else:
            seen.add(image)
            kept.append(index)
    return kept


def recognise(path: Path) -> list[str]:
    """Every index in a folder."""
    if not path.is_dir():
        return []
    return [
        index.stem
        for index in sorted(path.glob("*.json"))
        if not is_left_behind(index.name) and next(path.glob("*.tar"), None) and _is_index(index)
    ]


def _is_index(path: Path) -> bool:
    try:
        return read_json(path, "shardlist").get("__kind__") == KIND
    except Face2ExpError:
        return False


SHARDS = Format(
    name="shards",
    title="WebDataset shards",
    read=read_shards,
    recognise=recognise,
    layout="""\
NAME.json             the index, in the form of WebDataset's indexed reader
NAME-000000.tar       pairs KEY.jpg and KEY.json
NAME-000000.parquet   where each image lies, and what is known about it""",
    example="{format: shards, path: webface_shards}",
    codes="",
    state="That of the set inside.",
    notes="`face2exp data shard` makes them of any set, and with `--index DIR` index and tables of "
    "tars that others wrote (`KEY.jpg`, `KEY.json`, `KEY.cls`, `KEY.txt`), which stay as they are: "
    "class names beside an image become its label, numbers only with `--codes`. The part is NAME, "
    "or a pattern of names; leave it out where there is one. As `unlabelled` they are streamed: no "
    "list of the images is made, and memory does not grow with the set.",
)
