"""`face2exp data shard --index`: tars that others wrote, made ready to be streamed.

The tars stay as they are; a table for each, see `shard_tables`, and an index of each set are
written beside them. A tar is read anew only if it or the code table has changed.
"""

import os
import re
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.data.formats.shards import recognise
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.data.shards.reader import ShardSet, read_shard_set
from face2exp_lib.data.shards.writer import (
    SHARD_NAME,
    index_of,
    read_remarks,
    set_digest,
    table_name,
)
from face2exp_lib.preparation.shard_tables import IndexJob, index_tar
from face2exp_lib.preparation.sharding import file_name, locked
from face2exp_lib.runtime.errors import Face2ExpError, in_words
from face2exp_lib.runtime.storage import read_json, write_json
from face2exp_lib.runtime.workers import run_all

PACKED = re.compile(r"(.+)\.(?:tar\.(?:gz|bz2|xz|zst|lz4)|tgz|tbz2?|txz|tzst)", re.IGNORECASE)


@dataclass
class Indexed:
    """What became of the tars of one set.

    Attributes:
        shards: the set.
        skipped: id and reason of the images that cannot be used.
        left_out: reason -> how many members.
        unlabelled: reason -> how many images that have no label, though something is told of them.
        labelled: images with a label.
    """

    shards: ShardSet
    skipped: list[tuple[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unlabelled: Counter[str] = field(default_factory=Counter)
    labelled: int = 0


def index_tars(
    folder: Path | str,
    out: Path | str | None = None,
    *,
    codes: Codes | None = None,
    skip_bad: bool = False,
    workers: int = 1,
) -> list[Indexed]:
    """Write index and tables of the tars in a folder, or go on with it. The indices come last.

    Tars whose names differ by their number alone are one set; so are those that an index lists.

    Args:
        out: another folder for index and tables, which gets links to the tars.
        codes: code table of labels that are numbers. With one, each image has to have a label.
        skip_bad: leave images out that cannot be used, instead of stopping at the first.

    Raises:
        Face2ExpError: if the folder holds no tar or one that is compressed or damaged, cannot be
            written, or holds something else where an index or a table belongs; if an image cannot
            be used. Finished tables are kept.
    """
    folder = Path(folder)
    out = Path(out) if out else None
    tars = _tars(folder)
    if out is not None:
        tars = [_linked(tar, out) for tar in tars]
    where = tars[0].parent
    sets = _sets(where, [tar.name for tar in tars])
    with ExitStack() as locks:
        for name in sets:
            locks.enter_context(locked(where, name))
        jobs = [IndexJob(where / url, codes, skip_bad) for urls in sets.values() for url in urls]
        size = sum(job.tar.stat().st_size for job in jobs)
        with (
            tqdm(total=size, desc="index", unit="B", unit_scale=True, delay=2) as bar,
            closing(run_all(index_tar, iter(jobs), workers)) as done,
        ):
            for job in done:
                bar.update(job.tar.stat().st_size)
        return [_indexed(where, name, urls, skip_bad) for name, urls in sets.items()]


def _indexed(folder: Path, name: str, urls: list[str], skip_bad: bool) -> Indexed:
    """Write the index of a set whose tables are there."""
    shards = []
    whole = Indexed(ShardSet(folder, name, ()))
    for url in urls:
        found = read_remarks(folder, url)
        if found is None:
            raise Face2ExpError(f"{folder / table_name(url)}: vanished: run again")
        shard, kept = found
        shards.append(shard)
        whole.skipped += [(image, reason) for image, reason in kept.get("skipped", ())]
        whole.left_out.update(kept.get("left_out", {}))
        whole.unlabelled.update(kept.get("unlabelled", {}))
        whole.labelled += kept.get("labelled", 0)
    if whole.skipped and not skip_bad:
        raise Face2ExpError(
            f"{folder}: an earlier run left {len(whole.skipped)} images out, such as "
            f"{whole.skipped[0][0]}: name a file with --skip-bad, too"
        )
    whole.shards = ShardSet(folder, name, tuple(shards))
    if not whole.shards.starts[-1]:
        raise Face2ExpError(f"{folder / urls[0]}: no image in it, nor in any other of its set")
    path = folder / f"{name}.json"
    before = read_json(path) if path.exists() else {}  # others keep remarks of their own in it
    write_json(path, before | index_of(name, set_digest(shards), shards))
    return whole


def _tars(folder: Path) -> list[Path]:
    """The tars in a folder, in order.

    Raises:
        Face2ExpError: if there is none, or one that cannot be indexed.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise Face2ExpError(f"{folder}: {in_words(error)}: give the folder of the tars") from error
    packed = [
        name
        for name in names
        if (found := PACKED.fullmatch(name)) and f"{found[1]}.tar" not in names
    ]
    if packed:
        raise Face2ExpError(
            f"{folder / packed[0]}: compressed, as {len(packed)} files here are, and no image in "
            "it has a place: unpack it to a .tar (gunzip, bunzip2, unxz, unzstd)"
        )
    tars = [name for name in names if name.lower().endswith(".tar")]
    for name in tars:
        if not SHARD_NAME.fullmatch(name):
            raise Face2ExpError(f"{folder / name}: no name of a shard: rename it, such as a.tar")
    if not tars:
        below = sorted(path.parent for path in folder.glob("*/*.tar"))
        hint = f"index {below[0]}, each folder for itself" if below else "give one that has some"
        raise Face2ExpError(f"{folder}: no .tar in this folder: {hint}")
    return [folder / name for name in tars]


def _linked(tar: Path, out: Path) -> Path:
    link = out / tar.name
    try:
        out.mkdir(parents=True, exist_ok=True)
        if not (link.exists() and link.samefile(tar)):
            link.symlink_to(tar.resolve())
    except OSError as error:
        raise Face2ExpError(
            f"{link}: cannot link to {tar} ({in_words(error)}): choose another --out"
        ) from error
    return link


def _sets(folder: Path, urls: list[str]) -> dict[str, list[str]]:
    """Name of each set -> its tars, in order."""
    listed = recognise(folder)
    sets = {name: {s.url for s in read_shard_set(folder, name).shards} for name in listed}
    for url in set(urls).difference(*sets.values()):
        name = re.sub(r"[-_. ]?\d+$", "", url.removesuffix(".tar")) or folder.resolve().name
        sets.setdefault(file_name(name), set()).add(url)
    for name in sets:
        path = folder / f"{name}.json"
        if path.exists() and name not in listed:
            raise Face2ExpError(
                f"{path}: lies where the index belongs, and is none: name another folder with "
                "--out, or move it away"
            )
        if (folder / f".{name}.job.json").exists() and not path.exists():
            raise Face2ExpError(
                f"{folder}: '{name}' was begun by `face2exp data shard`, and not ended: run that "
                "again"
            )
    return {name: sorted(urls) for name, urls in sorted(sets.items())}
