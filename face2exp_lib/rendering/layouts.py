"""How a rendered part lies on disk: one zip, folders of images, or WebDataset shards.

A layout writes a part into a folder where nobody looks yet, moves it from there to where it
belongs, and later tells which part lies there: the part's digest is stored with its images.
"""

import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from face2exp_lib.data.sets.labels import parse_label
from face2exp_lib.data.shards import writer as shards
from face2exp_lib.data.shards.writer import Shard, is_shard_name, shard_name, write_shard
from face2exp_lib.rendering.head import LANDMARKS
from face2exp_lib.rendering.parts import Row
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, sync, write_json

SHARD_IMAGES = 1000
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # a fixed one, so that the same images give the same file
DIGEST = re.compile(r"[0-9a-f]{64}")
UNKNOWN, UNFINISHED = "unknown", "unfinished"

Sample = tuple[Row, bytes]
"""What is told about an image, and the bytes of its file."""


class Layout(Protocol):
    """One way to keep a part called `name`."""

    def place(self, row: Row) -> str:
        """What the table calls an image: its path inside the zip, the folder or a shard."""
        ...

    def write(self, name: str, digest: str, samples: Iterable[Sample], folder: Path) -> None:
        """Write the part into an empty folder, one sample after the other."""
        ...

    def move(self, name: str, folder: Path, out: Path) -> None:
        """Move what `write` made to `out`, in place of what lay there."""
        ...

    def found(self, name: str, out: Path) -> str | None:
        """The digest of the part that lies in `out`.

        Returns:
            UNFINISHED after a `move` that was cut off, UNKNOWN if what lies there is not from here,
            None if there is nothing.
        """
        ...


class ZipLayout:
    """`NAME.zip`, uncompressed. Its comment is the digest."""

    def place(self, row: Row) -> str:
        return row["image"]

    def write(self, name: str, digest: str, samples: Iterable[Sample], folder: Path) -> None:
        with (folder / f"{name}.zip").open("wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                archive.comment = digest.encode()
                for row, image in samples:
                    archive.writestr(zipfile.ZipInfo(row["image"], ZIP_TIME), image)
            sync(file)

    def move(self, name: str, folder: Path, out: Path) -> None:
        (folder / f"{name}.zip").replace(out / f"{name}.zip")

    def found(self, name: str, out: Path) -> str | None:
        try:
            with zipfile.ZipFile(out / f"{name}.zip") as archive:
                comment = archive.comment.decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except (OSError, zipfile.BadZipFile):
            return UNKNOWN
        return comment if DIGEST.fullmatch(comment) else UNKNOWN


class FolderLayout:
    """`NAME/<class>/<image>`, without labels `NAME/<identity>/<image>`; `NAME/.digest`."""

    def place(self, row: Row) -> str:
        # Six digits: no label code of any public set, which a lone digit would be.
        folder = row["expression"] if "expression" in row else f"{int(row['identity']):06d}"
        return f"{folder}/{row['image']}"

    def write(self, name: str, digest: str, samples: Iterable[Sample], folder: Path) -> None:
        root = folder / name
        root.mkdir()
        made: set[str] = set()
        for row, image in samples:
            place = self.place(row)
            parent = place.partition("/")[0]
            if parent not in made:
                (root / parent).mkdir(exist_ok=True)
                made.add(parent)
            (root / place).write_bytes(image)
        (root / ".digest").write_text(digest)
        if hasattr(os, "sync"):  # once for all: file by file would take longer than drawing them
            os.sync()

    def move(self, name: str, folder: Path, out: Path) -> None:
        if (out / name).exists():
            (out / name).replace(folder / "replaced")
        (folder / name).replace(out / name)

    def found(self, name: str, out: Path) -> str | None:
        if not (out / name).exists():
            return None
        try:
            digest = (out / name / ".digest").read_text(errors="replace")
        except OSError:
            return UNKNOWN
        return digest if DIGEST.fullmatch(digest) else UNKNOWN


class ShardLayout:
    """`NAME-000000.tar`, ...: tars as WebDataset reads them; `NAME.json` lists them.

    A sample is an image and a JSON object with what is told about it. Each tar has a table beside
    it: see `face2exp_lib.data.shards.writer`.
    """

    def place(self, row: Row) -> str:
        return row["image"]

    def write(self, name: str, digest: str, samples: Iterable[Sample], folder: Path) -> None:
        written: list[Shard] = []
        remaining = iter(samples)
        for first in remaining:
            held = chain([first], islice(remaining, SHARD_IMAGES - 1))
            path = folder / shard_name(name, len(written))
            written.append(write_shard(path, (_shard_sample(*sample) for sample in held)))
        write_json(folder / f"{name}.json", shards.index_of(name, digest, written))

    def move(self, name: str, folder: Path, out: Path) -> None:
        index = read_json(folder / f"{name}.json", "shardlist")
        new = {shard["url"]: shard for shard in index["shardlist"]}
        old = {shard["url"]: shard for shard in self._listed(name, out)}
        # For as long as old and new shards lie side by side: which of them all are from here.
        between = {**index, "digest": UNFINISHED, "shardlist": list((old | new).values())}
        write_json(out / f"{name}.json", between)
        for url in old.keys() - new.keys():
            for file_name in (url, shards.table_name(url)):
                (out / file_name).unlink(missing_ok=True)
        for url in new:
            for file_name in (url, shards.table_name(url)):
                (folder / file_name).replace(out / file_name)
        (folder / f"{name}.json").replace(out / f"{name}.json")

    def found(self, name: str, out: Path) -> str | None:
        lying = {path.name for path in out.glob(f"{name}-*.tar") if is_shard_name(path.name, name)}
        if lying - {shard["url"] for shard in self._listed(name, out)}:
            return UNKNOWN
        if not (out / f"{name}.json").exists():
            return None
        try:
            return str(read_json(out / f"{name}.json", "digest", "shardlist")["digest"])
        except Face2ExpError:
            return UNKNOWN

    def _listed(self, name: str, out: Path) -> list[dict[str, Any]]:
        """The shards that an index lists, in so far as it is one of ours."""
        try:
            listed = read_json(out / f"{name}.json", "digest", "shardlist")["shardlist"]
        except Face2ExpError:
            return []
        return [s for s in listed if isinstance(s, dict) and is_shard_name(str(s.get("url")), name)]


LAYOUTS: dict[str, Layout] = {
    "zip": ZipLayout(),
    "folders": FolderLayout(),
    "shards": ShardLayout(),
}


def _shard_sample(row: Row, image: bytes) -> shards.Sample:
    told = {key: _value(cell) for key, cell in row.items() if key != "image"}
    with Image.open(io.BytesIO(image)) as opened:
        width, height = opened.size
    points = None
    if f"{LANDMARKS[0]}_x" in row:
        cells = [[row[f"{name}_x"], row[f"{name}_y"]] for name in LANDMARKS]
        points = np.array(cells, np.float32)
    about = shards.About(
        id=row["image"],
        width=width,
        height=height,
        digest=hashlib.blake2b(image, digest_size=16).digest(),
        label=int(parse_label(row["expression"])) if "expression" in row else None,
        identity=row["identity"],
        landmarks=points,
        detected=None if points is None else True,
    )
    return shards.Sample(row["image"], image, told, about)


def _value(cell: str) -> Any:
    """A cell of the table as JSON has it: a number, or else text."""
    try:
        return json.loads(cell)
    except ValueError:
        return cell
