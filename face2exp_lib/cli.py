"""The `face2exp` command: parses, builds and calls.

A command imports what it needs when it runs. torch alone takes seconds, which `--help` need not
wait for, nor each process that draws faces: it imports this module anew.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from face2exp_lib import __version__
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.labels import class_names

# The commands import what they need: a process that draws has no use for torch.
LAYOUTS = ("zip", "folders", "shards")  # of `face2exp_lib.faces.layouts`
MOST_WORKERS = 256
NEAR, BITS = 40, 256  # of `face2exp_lib.audit` and `face2exp_lib.fingerprints`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 the user can mend it, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Face2ExpError, OSError) as error:  # an OSError's text names the file
        print(f"face2exp: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"face2exp: interrupted{options.afterwards}", file=sys.stderr)
        return 130
    return 0


def _train(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root, load_config
    from face2exp_lib.training import train

    config = load_config(options.config, options.set)
    run_dir = options.run_dir or Path("runs") / f"{config.name}-{config.method}-seed{config.seed}"
    train(config, run_dir, data_root(options.data_root), resume=options.resume)
    print(f"{run_dir}: trained; next: face2exp evaluate {run_dir} --split test")


def _evaluate(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root
    from face2exp_lib.evaluation import evaluate_run

    result, fresh = evaluate_run(options.run_dir, options.split, data_root(options.data_root))
    if not fresh:
        print(f"Evaluated before; this is what {options.run_dir} holds.")
    print(f"{result['method']}, {options.split} part, {result['num_images']} images")
    for key in ("overall_accuracy", "mean_class_accuracy", "std_class_accuracy"):
        print(f"  {key:20} {result[key]:6.2f} %")
    for name, value in result["per_class_accuracy"].items():
        print(f"    {name:18} {value:6.2f} %")
    budget = result["label_budget"]
    print(f"  labels used: {budget['total']} ({budget['train']} train, {budget['validation']} val)")
    print(f"{options.run_dir / f'evaluation-{options.split}.json'}")


def _predict(options: argparse.Namespace) -> None:
    from face2exp_lib.evaluation import predict_images

    results = predict_images(options.run_dir, options.images)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        shares = "  ".join(f"{name} {p:.2f}" for name, p in result["probabilities"].items())
        print(f"{result['image']}: {result['label']}   {shares}")


def _inspect(options: argparse.Namespace) -> None:
    from face2exp_lib.cli_tables import print_part
    from face2exp_lib.inspection import inspect, write_bad
    from face2exp_lib.inspection_report import write_report

    found = inspect(options.path)
    for part in found:
        print_part(part)
    if options.html:
        write_report(found, str(options.path), options.html)
        print(f"{options.html}: the report")
    if options.skip_bad:
        print(f"{options.skip_bad}: {write_bad(found, options.skip_bad)} rows")
        return
    unreadable = sum(len(part.unreadable) for part in found)
    bad_rows = sum(part.num_bad for part in found) - unreadable
    if unreadable or bad_rows:
        rows = f" and {bad_rows} bad rows" if bad_rows else ""
        raise Face2ExpError(f"{options.path}: {unreadable} unreadable images{rows}, listed above")


def _audit(options: argparse.Namespace) -> None:
    from face2exp_lib.audit import (
        AuditedSet,
        audit,
        for_evaluation,
        sets_at,
        sets_of_config,
        write_audit,
    )
    from face2exp_lib.cli_tables import print_audit
    from face2exp_lib.config import data_root, load_config

    sets = []
    if options.config:
        config = load_config(options.config, options.set)
        sets += sets_of_config(config, data_root(options.data_root))
    for text in options.sets:
        for faces in sets_at(text):
            evaluation = options.evaluation is None and for_evaluation(faces.name)
            sets.append(AuditedSet(faces, evaluation))
    for text in options.evaluation or ():
        sets += [AuditedSet(faces, True) for faces in sets_at(text)]
    if not sets:
        raise Face2ExpError("nothing to audit: name a PATH, PATH:PART or --config CONFIG.yaml")
    result = audit(sets, max_distance=options.distance, drop_near=options.drop_near)
    print_audit(sets, result, options.distance)
    if options.out:
        write_audit(options.out, result.found)
        print(f"{options.out}: the table, for data.drop of a config")


def _draw(options: argparse.Namespace) -> None:
    from face2exp_lib.config import config_digest, data_root, load_config
    from face2exp_lib.imagelists import write_draw
    from face2exp_lib.sampling import class_counts
    from face2exp_lib.splits import read_labelled_data

    config = load_config(options.config, options.set)
    data = read_labelled_data(config, data_root(options.data_root))
    parts = {"train": data.labelled}
    if config.data.validation is None:
        parts["validation"] = data.validation
    names = class_names(config.data.num_classes)
    counts = {part: class_counts(faces.known_labels(), names) for part, faces in parts.items()}
    listed = {
        part: ", ".join(f"{name} {count}" for name, count in of_class.items())
        for part, of_class in counts.items()
    }
    remarks = {"set": data.long_tailed.name, "seed": config.seed, "config": config_digest(config)}
    write_draw(options.out, parts, {**remarks, **listed})
    for part, text in listed.items():
        print(f"{part}: {len(parts[part])} images: {text}")
    print(f"{options.out}: the list, for data.draw of a config")


def _render(options: argparse.Namespace) -> None:
    from face2exp_lib.faces.pack import render_pack
    from face2exp_lib.faces.workers import usable_cpus

    workers = options.workers or usable_cpus()
    for part in render_pack(options.spec, options.out, options.format, workers):
        print(f"{options.out}: {part.name}, {part.spec.count} images as {options.format}")


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"needs a number from 1 to {MOST_WORKERS}, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="face2exp", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(group: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = group.add_parser(name, help=text, description=text)
        added.set_defaults(run=run, afterwards="")
        return added

    def add_data_root(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--data-root", type=Path, metavar="DIR", help="holds the data sets; else FACE2EXP_DATA"
        )

    def add_changes(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--set",
            action="append",
            metavar="key=value",
            help="change a key, e.g. training.num_steps=100",
        )

    added = command(commands, "train", _train, "Train one run.")
    added.set_defaults(afterwards=": --resume goes on from the last checkpoint")
    added.add_argument("config", type=Path, metavar="CONFIG.yaml")
    add_changes(added)
    add_data_root(added)
    added.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="default: runs/NAME-METHOD-seedN"
    )
    added.add_argument("--resume", action="store_true", help="go on with the run in the directory")

    added = command(commands, "evaluate", _evaluate, "Evaluate a run's best checkpoint.")
    added.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    added.add_argument("--split", choices=("val", "test"), default="val")
    add_data_root(added)

    added = command(commands, "predict", _predict, "Name the expression of cropped face images.")
    added.add_argument("run_dir", type=Path, metavar="RUN_DIR")
    added.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    added.add_argument("--json", action="store_true")

    data = commands.add_parser("data", help="Render data sets, look at them.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    added = command(data, "inspect", _inspect, "Format, counts per class, unreadable images.")
    added.add_argument("path", type=Path, metavar="PATH")
    added.add_argument(
        "--html", type=Path, metavar="FILE", help="write class bars and sample images as a page"
    )
    added.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="write a csv of what cannot be read or used, instead of failing",
    )
    added = command(data, "render", _render, "Draw faces with known expressions, as a YAML asks.")
    added.set_defaults(afterwards=": run again to go on; what is drawn is kept")
    added.add_argument("spec", type=Path, metavar="SPEC.yaml")
    added.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds the result")
    added.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        help=f"processes, 1 to {MOST_WORKERS}; default: one for each usable CPU",
    )
    added.add_argument(
        "--format", choices=LAYOUTS, default="zip", help="how a set is kept; default: zip"
    )
    added = command(data, "audit", _audit, "Copies within and across sets, and what to drop.")
    added.add_argument("sets", nargs="*", metavar="SET", help="PATH or PATH:PART, as for inspect")
    added.add_argument(
        "--evaluation",
        nargs="+",
        metavar="SET",
        help="sets that nothing is dropped from; else those named test, val and the like",
    )
    added.add_argument("--config", type=Path, metavar="CONFIG.yaml", help="the sets of a run")
    add_changes(added)
    add_data_root(added)
    added.add_argument(
        "--distance",
        type=int,
        default=NEAR,
        metavar="BITS",
        help=f"of near copies, out of {BITS}; default {NEAR}, -1 looks for none",
    )
    added.add_argument(
        "--drop-near", action="store_true", help="drop near copies of evaluation images, too"
    )
    added.add_argument("--out", type=Path, metavar="FILE", help="write a csv of the copies")
    added = command(data, "draw", _draw, "Write the list of labels that a run draws.")
    added.add_argument("config", type=Path, metavar="CONFIG.yaml")
    added.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_changes(added)
    add_data_root(added)
    return parser


if __name__ == "__main__":
    sys.exit(main())
