"""Options that several commands of `face2exp` share."""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from face2exp_lib.runtime.errors import Face2ExpError

if TYPE_CHECKING:
    from face2exp_lib.data.sets.facesets import FaceSet
    from face2exp_lib.data.sets.labels import Codes

MOST_WORKERS = 256


def add_command(
    group: Any, name: str, run: Callable[[argparse.Namespace], None], text: str
) -> argparse.ArgumentParser:
    """A command of a group of subparsers, which calls `run` with its options."""
    added: argparse.ArgumentParser = group.add_parser(name, help=text, description=text)
    added.set_defaults(run=run, afterwards="")
    return added


def add_data_root(parser: argparse.ArgumentParser) -> None:
    """`--data-root DIR`"""
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="holds the data sets; else FACE2EXP_DATA"
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """`RUN_DIR`"""
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR")


def add_flip(parser: argparse.ArgumentParser) -> None:
    """`--flip`"""
    parser.add_argument(
        "--flip", action="store_true", help="average each image and its mirror image"
    )


def add_changes(parser: argparse.ArgumentParser) -> None:
    """`--set key=value`"""
    parser.add_argument(
        "--set",
        action="append",
        metavar="key=value",
        help="change a key, e.g. training.num_steps=100",
    )


def add_workers(parser: argparse.ArgumentParser, default: str) -> None:
    """`--workers N`; None if it is not given."""
    parser.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help=f"processes, 1 to {MOST_WORKERS}; default: {default}",
    )


def add_codes(parser: argparse.ArgumentParser) -> None:
    """`--codes NAME|FILE.yaml`"""
    parser.add_argument(
        "--codes",
        metavar="NAME|FILE",
        help="what numbers mean that stand for labels: a table such as fer2013, rafdb, affectnet, "
        "or a YAML file of your own with lines like `0: anger`",
    )


def codes_of(options: argparse.Namespace) -> "Codes | None":
    """What `--codes` says, or None."""
    from face2exp_lib.data.reading import read_codes

    return None if options.codes is None else read_codes(options.codes)


def one_set(text: str, *, skip_bad: bool, codes: "Codes | None" = None) -> "FaceSet":
    """The one set at PATH or PATH:PART.

    Raises:
        Face2ExpError: if there are several, or, without `skip_bad`, rows that cannot be used.
    """
    from face2exp_lib.data.recognition import read_sets

    sets = read_sets(text, codes)
    if len(sets) > 1:
        names = ", ".join(faces.name for faces in sets)
        raise Face2ExpError(f"{text}: holds {names}: name one as PATH:PART")
    (faces,) = sets
    bad = [skipped for skipped in faces.skipped if skipped.bad]
    if bad and not skip_bad:
        raise Face2ExpError(
            f"{text}: {len(bad)} bad rows, such as {bad[0].image}: {bad[0].reason}; "
            "--skip-bad FILE leaves them out and lists them"
        )
    tell_about(faces)
    return faces


def tell_about(faces: "FaceSet") -> None:
    """Say on stderr what somebody has to know of how a set was read, and what it leaves out."""
    notes = [*faces.notes]
    left_out = Counter(skipped.reason for skipped in faces.skipped)
    notes += [f"{count} left out: {reason}" for reason, count in left_out.most_common()]
    tell([f"{faces.name}: {note}" for note in notes])


def tell(messages: Sequence[str]) -> None:
    """Say something beside the results, each in one line."""
    for message in messages:
        print(f"face2exp: {' '.join(message.splitlines())}", file=sys.stderr)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"needs a number from 1 to {MOST_WORKERS}, got {text!r}")
    return int(text)
