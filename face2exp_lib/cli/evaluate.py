"""`face2exp evaluate`: parses, builds and calls."""

import argparse
from pathlib import Path
from typing import Any

from face2exp_lib.cli.options import (
    add_codes,
    add_command,
    add_data_root,
    add_flip,
    add_run,
    codes_of,
    one_set,
)
from face2exp_lib.runtime.errors import Face2ExpError


def add_evaluate_command(commands: Any) -> None:
    """`evaluate`, for the parser of `face2exp`."""
    added = add_command(commands, "evaluate", _evaluate, "Evaluate a run's best checkpoint.")
    add_run(added)
    which = added.add_mutually_exclusive_group()
    which.add_argument("--split", choices=("val", "test"), default="val")
    which.add_argument(
        "--on", metavar="SOURCE", help="another labelled set: PATH or PATH:PART, as for audit"
    )
    add_codes(added)
    add_flip(added)
    added.add_argument(
        "--landmarks", type=Path, metavar="FILE", help="of `data landmarks`, for --crop of that set"
    )
    added.add_argument("--crop", choices=("face",), help="cut its images to their faces")
    added.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="leave out of that set what cannot be read or used and write a csv of it",
    )
    add_data_root(added)


def _evaluate(options: argparse.Namespace) -> None:
    from face2exp_lib.cli.tables import evaluation_lines
    from face2exp_lib.config import data_root
    from face2exp_lib.evaluation.metrics import evaluation_path
    from face2exp_lib.runs.evaluate import evaluate_run

    if options.on:
        result, fresh = _evaluate_on(options)
    elif options.landmarks or options.crop or options.skip_bad or options.codes:
        raise Face2ExpError(
            "--codes, --landmarks, --crop and --skip-bad are of another set, which --on SOURCE "
            "names: the run's own parts are read as its config says"
        )
    else:
        result, fresh = evaluate_run(
            options.run_dir, options.split, data_root(options.data_root), flip=options.flip
        )
    if not fresh:
        print(f"Evaluated before; this is what {options.run_dir} holds.")
    print("\n".join(evaluation_lines(result)))
    print(evaluation_path(options.run_dir, result["split"]))


def _evaluate_on(options: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    from face2exp_lib.config import data_root
    from face2exp_lib.data.lists import write_drops
    from face2exp_lib.data.sets.facesets import Skipped
    from face2exp_lib.runs.cross_evaluation import evaluate_on

    if (options.crop is None) != (options.landmarks is None):
        raise Face2ExpError(
            "--crop face and --landmarks FILE go together: the table of `face2exp data landmarks` "
            "says where the faces are"
        )
    faces = one_set(options.on, skip_bad=options.skip_bad is not None, codes=codes_of(options))
    unreadable: list[Skipped] = []
    found = evaluate_on(
        options.run_dir,
        faces,
        flip=options.flip,
        crop_by=options.landmarks,
        data_root=data_root(options.data_root),
        unreadable=unreadable if options.skip_bad else None,
    )
    if options.skip_bad:
        num_rows = write_drops(
            options.skip_bad, [(faces, [(one.image, one.reason) for one in unreadable])]
        )
        print(f"{options.skip_bad}: {num_rows} rows")
    return found
