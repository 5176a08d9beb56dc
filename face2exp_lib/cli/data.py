"""The commands of `face2exp data`: parse, build and call.

As in `face2exp_lib.cli.main`, a command imports what it needs when it runs.
"""

import argparse
from pathlib import Path
from typing import Any

from face2exp_lib.cli.landmarks import add_landmarks_command
from face2exp_lib.cli.options import (
    add_changes,
    add_codes,
    add_command,
    add_data_root,
    add_workers,
    codes_of,
    tell_about,
)
from face2exp_lib.cli.shard import add_shard_command
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.runtime.errors import Face2ExpError

# The commands import what they need: a process that draws has no use for torch.
LAYOUTS = ("zip", "folders", "shards")  # of `face2exp_lib.rendering.layouts`
NEAR, BITS = (
    40,
    256,
)  # of `face2exp_lib.preparation.audit` and `face2exp_lib.preparation.fingerprints`


def add_data_commands(commands: Any) -> None:
    """`data` with the commands below it, for the parser of `face2exp`."""
    data = commands.add_parser("data", help="Render data sets, look at them.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    added = add_command(data, "inspect", _inspect, "Format, counts per class, unreadable images.")
    added.add_argument("path", type=Path, metavar="PATH")
    add_codes(added)
    added.add_argument(
        "--html", type=Path, metavar="FILE", help="write class bars and sample images as a page"
    )
    added.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="write a csv of what cannot be read or used, instead of failing",
    )
    added = add_command(
        data, "render", _render, "Draw faces with known expressions, as a YAML asks."
    )
    added.set_defaults(afterwards=": run again to go on; what is drawn is kept")
    added.add_argument("spec", type=Path, metavar="SPEC.yaml")
    added.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds the result")
    add_workers(added, "one for each usable CPU")
    added.add_argument(
        "--format", choices=LAYOUTS, default="zip", help="how a set is kept; default: zip"
    )
    added = add_command(data, "audit", _audit, "Copies within and across sets, and what to drop.")
    added.add_argument("sets", nargs="*", metavar="SET", help="PATH or PATH:PART, as for inspect")
    added.add_argument(
        "--evaluation",
        nargs="+",
        metavar="SET",
        help="sets that nothing is dropped from; else those named test, val and the like",
    )
    add_codes(added)
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
    add_landmarks_command(data)
    add_shard_command(data)
    added = add_command(data, "draw", _draw, "Write the list of labels that a run draws.")
    added.add_argument("config", type=Path, metavar="CONFIG.yaml")
    added.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_changes(added)
    add_data_root(added)


def _inspect(options: argparse.Namespace) -> None:
    from face2exp_lib.cli.tables import print_part
    from face2exp_lib.figures.inspection import write_report
    from face2exp_lib.preparation.inspection import inspect, write_bad

    found = inspect(options.path, codes_of(options))
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
    from face2exp_lib.cli.tables import print_audit
    from face2exp_lib.config import data_root, load_config
    from face2exp_lib.data.recognition import read_sets
    from face2exp_lib.preparation.audit import audit, write_audit
    from face2exp_lib.preparation.audited_sets import (
        AuditedSet,
        distinct,
        for_evaluation,
        sets_of_config,
    )

    sets, codes = [], codes_of(options)
    if options.config:
        config = load_config(options.config, options.set)
        sets += sets_of_config(config, data_root(options.data_root))
    for text in options.sets:
        for faces in read_sets(text, codes):
            evaluation = options.evaluation is None and for_evaluation(faces.name)
            sets.append(AuditedSet(faces, evaluation))
    for text in options.evaluation or ():
        sets += [AuditedSet(faces, True) for faces in read_sets(text, codes)]
    if not sets:
        raise Face2ExpError("nothing to audit: name a PATH, PATH:PART or --config CONFIG.yaml")
    sets = distinct(sets)
    for one in sets:
        tell_about(one.faces)
    result = audit(sets, max_distance=options.distance, drop_near=options.drop_near)
    print_audit(sets, result, options.distance)
    if options.out:
        write_audit(options.out, result.found)
        print(f"{options.out}: the table, for data.drop of a config")


def _draw(options: argparse.Namespace) -> None:
    from face2exp_lib.config import config_digest, data_root, load_config
    from face2exp_lib.data.lists import write_draw
    from face2exp_lib.data.sampling import class_counts
    from face2exp_lib.data.splits import read_labelled_data

    config = load_config(options.config, options.set)
    data = read_labelled_data(config.data, config.seed, data_root(options.data_root))
    for faces in (data.long_tailed, data.test):
        tell_about(faces)
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
    from face2exp_lib.rendering.pack import render_pack
    from face2exp_lib.runtime.workers import usable_cpus

    workers = options.workers or usable_cpus()
    for part in render_pack(options.spec, options.out, options.format, workers):
        print(f"{options.out}: {part.name}, {part.spec.count} images as {options.format}")
