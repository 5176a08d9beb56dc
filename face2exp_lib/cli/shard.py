"""`face2exp data shard`: parses, builds and calls."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from face2exp_lib.cli.options import (
    add_changes,
    add_codes,
    add_command,
    add_data_root,
    add_workers,
    codes_of,
    one_set,
)
from face2exp_lib.runtime.errors import Face2ExpError

if TYPE_CHECKING:
    from face2exp_lib.data.sets.facesets import FaceSet

IMAGES_PER_SHARD, QUALITY = 10_000, 90  # of `face2exp_lib.preparation.shard_samples`
SIZES, QUALITIES = (8, 4096), (1, 95)


def add_shard_command(data: Any) -> None:
    """`shard`, for the parser of `face2exp data`."""
    added = add_command(data, "shard", _shard, "Write a set as WebDataset shards, or verify some.")
    added.set_defaults(afterwards=": run again to go on; finished shards are kept")
    added.add_argument("source", nargs="?", metavar="SET", help="PATH or PATH:PART, as for audit")
    added.add_argument(
        "--config", type=Path, metavar="CONFIG.yaml", help="shard the unlabelled set of a run"
    )
    add_codes(added)
    add_changes(added)
    add_data_root(added)
    added.add_argument("--out", type=Path, metavar="DIR", help="holds the shards")
    added.add_argument(
        "--index",
        type=Path,
        metavar="DIR",
        help="instead: write index and tables of tars that others wrote, beside them or, with "
        "links to them, into --out",
    )
    added.add_argument(
        "--size",
        type=_number(*SIZES),
        metavar="PX",
        help="resize to squares and store as JPEG; else the files are copied as they are",
    )
    added.add_argument(
        "--quality",
        type=_number(*QUALITIES),
        default=QUALITY,
        metavar="Q",
        help=f"of the JPEG, {QUALITIES[0]} to {QUALITIES[1]}; default {QUALITY}",
    )
    added.add_argument(
        "--images-per-shard",
        type=_number(1, 10_000_000),
        default=IMAGES_PER_SHARD,
        metavar="N",
        help=f"default {IMAGES_PER_SHARD:,}: about 0.2 GB at 256 px",
    )
    added.add_argument(
        "--seed",
        type=_number(0, 2**32 - 1),
        default=0,
        metavar="N",
        help="of the order: images are shuffled once, as sources are sorted by person; default 0",
    )
    added.add_argument("--keep-order", action="store_true", help="keep the source's order instead")
    added.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="leave out what cannot be read or used and write a csv of it, instead of failing",
    )
    add_workers(added, "one for each usable CPU")
    added.add_argument(
        "--verify", type=Path, metavar="DIR", help="read shards and compare them with their index"
    )


def _shard(options: argparse.Namespace) -> None:
    if options.verify:
        _verify(options.verify)
        return
    if options.index:
        _index(options)
        return
    if options.out is None:
        raise Face2ExpError("nowhere to write the shards: name a folder with --out DIR")
    from face2exp_lib.data.lists import write_drops
    from face2exp_lib.preparation.sharding import Recipe, shard_set
    from face2exp_lib.runtime.workers import usable_cpus

    faces = _source(options)
    seed = None if options.keep_order else options.seed
    recipe = Recipe(options.size, options.quality, options.images_per_shard, seed)
    shards, left_out = shard_set(
        faces,
        options.out,
        recipe,
        skip_bad=options.skip_bad is not None,
        workers=options.workers or usable_cpus(),
    )
    size = sum(shard.filesize for shard in shards.shards)
    print(
        f"{options.out}: {shards.name}, {int(shards.starts[-1]):,} images in "
        f"{len(shards.shards):,} shards, {size / 1e6:,.1f} MB"
    )
    if options.skip_bad:
        # As `data inspect` writes it, for `data.drop` of a run that reads the source itself.
        num_rows = write_drops(options.skip_bad, [(faces, left_out)])
        print(f"{options.skip_bad}: {num_rows} rows")


def _source(options: argparse.Namespace) -> "FaceSet":
    from face2exp_lib.config import data_root, load_config

    if (options.source is None) == (options.config is None):
        raise Face2ExpError("name what to shard: either PATH, PATH:PART or --config CONFIG.yaml")
    if options.config:
        config = load_config(options.config, options.set)
        if config.data.unlabelled is None:
            raise Face2ExpError(f"{options.config}: data.unlabelled: missing: name what to shard")
        return config.data.unlabelled.read(data_root(options.data_root))
    return one_set(options.source, skip_bad=options.skip_bad is not None, codes=codes_of(options))


def _index(options: argparse.Namespace) -> None:
    from face2exp_lib.data.lists import write_table
    from face2exp_lib.preparation.shard_index import index_tars
    from face2exp_lib.runtime.workers import usable_cpus

    if options.source or options.config:
        raise Face2ExpError("--index DIR takes the tars of its folder: name no other set beside it")
    found = index_tars(
        options.index,
        options.out,
        codes=codes_of(options),
        skip_bad=options.skip_bad is not None,
        workers=options.workers or usable_cpus(),
    )
    for one in found:
        shards, count = one.shards, int(one.shards.starts[-1])
        print(
            f"{shards.folder}: {shards.name}, {count:,} images in {len(shards.shards):,} shards: "
            f"{shards.name}.json"
        )
        if one.labelled or one.unlabelled:
            without = "" if one.labelled == count else ": read without labels until all have one"
            print(f"  labels of {one.labelled:,} images{without}")
        for reason, number in one.unlabelled.most_common():
            print(f"  no label, {number:,} images: {reason}")
        for reason, number in one.left_out.most_common():
            print(f"  left out, {number:,} members: {reason}")
    if options.skip_bad:
        rows = [(one.shards.name, *row) for one in found for row in one.skipped]
        write_table(options.skip_bad, ("set", "image", "reason"), rows)
        print(f"{options.skip_bad}: {len(rows)} rows")


def _verify(folder: Path) -> None:
    from face2exp_lib.data.formats.shards import recognise
    from face2exp_lib.data.shards.check import shard_problems
    from face2exp_lib.data.shards.reader import read_shard_set

    names = recognise(folder)
    if not names:
        raise Face2ExpError(
            f"{folder}: holds no index of shards: if sharding was cut off, run it again"
        )
    found = 0
    for name in names:
        shards = read_shard_set(folder, name)
        problems = list(shard_problems(shards))
        found += len(problems)
        for problem in problems:
            print(problem)
        print(
            f"{folder}: {name}, {int(shards.starts[-1]):,} images in {len(shards.shards):,} "
            f"shards: {f'{len(problems)} problems' if problems else 'as listed'}"
        )
    if found:
        raise Face2ExpError(f"{folder}: {found} problems, listed above")


def _number(smallest: int, largest: int) -> Any:
    """A type of argument: a whole number from `smallest` to `largest`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not smallest <= int(text[:20]) <= largest:
            raise argparse.ArgumentTypeError(
                f"needs a number from {smallest} to {largest}, got {text!r}"
            )
        return int(text)

    return parse
