"""All that a GPU should be asked about this library, in order of worth, as long as there is time.

    python -m benchmarks.gpu --minutes 10                   again and again, until nothing is left
    python -m benchmarks.gpu --data _build/gpu-data.tar.gz  with the faces of benchmarks.gpu.pack
    python -m benchmarks.gpu steps pipeline                 some parts alone
    python -m benchmarks.gpu --device cpu --tiny --out DIR  a dry run, which measures nothing

From a checkout with its dependencies installed (for the checks pytest, too), torch 2.9 or later,
and without network. Each piece leaves a JSON file with its provenance; what is there is not made
again, and a study goes on in the middle of a run. Ends with 0 if all is done, 3 if something is
left for want of time or data, 1 if something failed.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu import checks, pipeline, steps, studies
from benchmarks.gpu.piece import Settings, must_be_of_these, work
from benchmarks.gpu.report import report
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_text

PARTS = {  # in order of worth
    "checks": checks.pieces,
    "steps": steps.pieces,
    "pipeline": pipeline.pieces,
    "studies": studies.pieces,
}
LEFT = 3  # exit status


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="stop cleanly after so many")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"), help="default: runs/gpu")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a dry run")
    parser.add_argument("--data", type=Path, help="archive of benchmarks.gpu.pack, or a data root")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: take of {', '.join(PARTS)}")
    settings = Settings(
        out=arguments.out.absolute(),
        device=arguments.device,
        tiny=arguments.tiny,
        data=arguments.data and arguments.data.absolute(),
        deadline=time.monotonic() + 60 * arguments.minutes,
    )
    try:
        return run_parts(arguments.parts or list(PARTS), settings)
    except Face2ExpError as error:
        print(f"benchmarks.gpu: error: {error}", file=sys.stderr)
        return 1


def run_parts(names: list[str], settings: Settings) -> int:
    """Make what is left of some parts; the exit status.

    Raises:
        Face2ExpError: if the device is not there, or the folder is another device's.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise Face2ExpError(
            "torch finds no CUDA device here: run it where there is one; --device cpu --tiny is a "
            "dry run"
        )
    must_be_of_these(settings)
    chosen = [pieces(settings) for part, pieces in PARTS.items() if part in names]
    left = work(itertools.chain(*chosen), settings, tell)
    if any(settings.out.glob("*/*.json")):
        write_text(settings.out / "report.md", report(settings.out))
        tell(f"{settings.out / 'report.md'}: what was found")
    if left:
        tell("left: " + ", ".join(f"{piece.part}/{piece.name}" for piece in left))
    if any(piece.path(settings.out).exists() for piece in left):
        return 1
    return LEFT if left else 0


def tell(text: str) -> None:
    """A line, at once, also into a pipe."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
