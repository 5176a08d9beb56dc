"""`face2exp data landmarks`: parses, builds and calls."""

import argparse
from pathlib import Path
from typing import Any

from face2exp_lib.cli.options import add_codes, add_command, add_workers, codes_of, one_set
from face2exp_lib.runtime.errors import Face2ExpError

SEARCHES = ("crop", "photo")  # for one face, of `face2exp_lib.preparation.mtcnn`
ENGINES = ("local", "ray")


def add_landmarks_command(data: Any) -> None:
    """`landmarks`, for the parser of `face2exp data`."""
    added = add_command(
        data, "landmarks", _landmarks, "Find the five points of every face and write them down."
    )
    added.set_defaults(afterwards=": run again to go on; what is found is kept")
    added.add_argument("set", metavar="SET", help="PATH or PATH:PART, as for audit")
    add_codes(added)
    added.add_argument(
        "--out", type=Path, metavar="FILE", help="default: landmarks-NAME.parquet, by the set"
    )
    added.add_argument(
        "--faces",
        choices=SEARCHES,
        default=SEARCHES[0],
        help="crop: one face fills most of the image; photo: faces down to a 25th of the longer "
        "side, slower; default: crop",
    )
    added.add_argument(
        "--skip-bad",
        type=Path,
        metavar="FILE",
        help="write a csv of the images that cannot be read, instead of failing",
    )
    add_workers(added, "one for each usable CPU")
    added.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="local: processes of this machine; ray: a Ray cluster, with the same result",
    )
    added.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a running Ray cluster; else --engine ray starts one on this machine",
    )


def _landmarks(options: argparse.Namespace) -> None:
    from face2exp_lib.cli.tables import print_landmarks
    from face2exp_lib.data.lists import write_drops
    from face2exp_lib.data.sets.landmark_table import count_states, rows_with_reason
    from face2exp_lib.preparation.landmark_ray import ray_engine
    from face2exp_lib.preparation.landmarking import find_landmarks
    from face2exp_lib.runtime.workers import usable_cpus

    if options.address and options.engine != "ray":
        raise Face2ExpError("--address is of a Ray cluster: add --engine ray")
    faces = one_set(options.set, skip_bad=options.skip_bad is not None, codes=codes_of(options))
    out = options.out or Path(f"landmarks-{faces.name.replace('/', '-')}.parquet")
    fresh = find_landmarks(
        faces,
        out,
        search=options.faces,
        skip_bad=options.skip_bad is not None,
        workers=options.workers or usable_cpus(),
        engine=ray_engine(options.workers, options.address) if options.engine == "ray" else None,
    )
    if not fresh:
        print(f"Looked at before; this is what {out} holds.")
    print_landmarks(faces.name, count_states(out))
    if options.skip_bad:
        # As `data inspect` writes it, for `data.drop` of a config.
        num_rows = write_drops(options.skip_bad, [(faces, rows_with_reason(out, "unreadable"))])
        print(f"{options.skip_bad}: {num_rows} rows")
    print(f"{out}: the table, for landmarks of a source in a config")
