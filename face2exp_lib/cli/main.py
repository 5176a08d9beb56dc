"""The `face2exp` command: parses, builds and calls.

A command imports what it needs when it runs. torch alone takes seconds, which `--help` need not
wait for, nor each process that draws faces: it imports this module anew.
"""

import argparse
import ctypes
import io
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from face2exp_lib import __version__
from face2exp_lib.cli.data import add_data_commands
from face2exp_lib.cli.options import add_changes, add_command, add_data_root, add_workers
from face2exp_lib.cli.runs import add_model_commands
from face2exp_lib.runtime.errors import Face2ExpError, RunStopped, in_words

if TYPE_CHECKING:
    from face2exp_lib.config import RunConfig

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MMAP_BYTES, TRIM_BYTES = 2**25, 2**31 - 1  # the most that each version of it takes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 the user can mend it, 130 interrupted,
    143 ended by SIGTERM."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Face2ExpError, OSError) as error:
        print(f"face2exp: error: {_told(error)}", file=sys.stderr)
        return 1
    except RunStopped as stopped:
        print(f"face2exp: {stopped}{options.afterwards}", file=sys.stderr)
        return 143
    except RuntimeError as error:
        if not (advice := _about_memory(error)):
            raise
        print(f"face2exp: error: {advice}{options.afterwards}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"face2exp: interrupted{options.afterwards}", file=sys.stderr)
        return 130
    return 0


def _told(error: Exception) -> str:
    """An error in one line, one of the system's with the file that it is about."""
    named = isinstance(error, OSError) and error.strerror and error.filename
    return f"{named}: {in_words(error)}" if named else in_words(error)


def _about_memory(error: RuntimeError) -> str | None:
    """What to do about torch's own errors for want of memory."""
    if "DataLoader worker" in str(error):
        return (
            "a process that decodes images was killed, most often for want of memory: lower "
            "data.num_workers"
        )
    # The first is of a GPU, and torch is not imported for its name; the second of a CPU.
    if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return (
            "out of memory: set or lower compute.micro_batch_size (a run then goes on with "
            "--changed, too), or leave data.in_memory out"
        )
    return None


def _train(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root, load_config
    from face2exp_lib.training.loop import train

    _must_resume(options)
    config = load_config(options.config, options.set)
    run_dir = options.run_dir or Path("runs") / f"{config.name}-{config.method}-seed{config.seed}"
    first = _tell_threads(config)
    _keep_freed_memory()
    train(
        config,
        run_dir,
        data_root(options.data_root),
        resume=options.resume,
        changed=options.changed,
        trust=options.trust,
    )
    if first:
        print(f"{run_dir}: trained; next: face2exp evaluate {run_dir} --split test")


def _pretrain(options: argparse.Namespace) -> None:
    from face2exp_lib.config import data_root
    from face2exp_lib.training.pretrain import pretrain
    from face2exp_lib.training.pretrain_config import load_pretrain_config

    _must_resume(options)
    config = load_pretrain_config(options.config, options.set)
    run_dir = options.run_dir or Path("runs") / f"{config.name}-seed{config.seed}"
    first = _tell_threads(config.as_run())
    _keep_freed_memory()
    root = data_root(options.data_root)
    pretrain(config, run_dir, root, resume=options.resume, changed=options.changed)
    if first:
        print(f"{run_dir}: pre-trained; next: --set network.pretrained={run_dir} of a run")


def _tell_threads(config: "RunConfig") -> bool:
    """Whether this is the first process, which tells things."""
    from face2exp_lib.training.run_checks import about_threads

    first = os.environ.get("RANK", "0") == "0"
    if first and (note := about_threads(config)):
        print(f"face2exp: {note}", file=sys.stderr)
    return first


def _must_resume(options: argparse.Namespace) -> None:
    if options.changed and not options.resume:
        raise Face2ExpError("--changed goes on with a run: give --resume, too")


def _keep_freed_memory() -> None:
    """Have glibc keep what a step frees for the next, which asks for as much: the system need not
    clear its pages anew, a fifth of the time of a small network's step on a CPU. The peak of a run
    stays the same. Elsewhere than on Linux with glibc nothing happens."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    # The threshold of trimming alone would switch off how glibc adapts the other one.
    if libc.mallopt(M_MMAP_THRESHOLD, MMAP_BYTES):
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)


def _compare(options: argparse.Namespace) -> None:
    from face2exp_lib.cli.tables import comparison_table
    from face2exp_lib.comparison.arms import read_comparison
    from face2exp_lib.comparison.compare import run_comparison
    from face2exp_lib.config import data_root
    from face2exp_lib.figures.comparison import BUDGET_TITLES, comparison_figure
    from face2exp_lib.runtime.storage import write_text

    given = {"budgets": options.budget, "seeds": options.seeds, "split": options.split}
    changes = {key: value for key, value in given.items() if value is not None}
    comparison = read_comparison(options.configs, options.method or (), changes)
    out = options.out or Path("runs") / f"compare-{options.configs[0].stem}"
    root = data_root(options.data_root)
    result = run_comparison(comparison, out, root, options.workers or 1, slim_runs=options.slim)
    tables = [
        f"## {BUDGET_TITLES[budget].capitalize()}\n\n{comparison_table(compared)}"
        for budget, compared in result["compared"].items()
    ]
    write_text(out / "comparison.md", "\n".join(tables))
    write_text(out / "comparison.html", comparison_figure(result).to_html())
    print("\n".join(tables))
    print(f"{out}: comparison.md, .json and .html")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="face2exp", description="Learn facial expressions from biased data."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    added = add_command(
        commands, "pretrain", _pretrain, "Train a backbone to tell persons apart, before a run."
    )
    _add_training(added, "runs/NAME-seedN")
    added = add_command(commands, "train", _train, "Train one run.")
    _add_training(added, "runs/NAME-METHOD-seedN")
    added.add_argument(
        "--trust", action="store_true", help="do not look whether all labelled images can be read"
    )

    added = add_command(commands, "compare", _compare, "Compare methods over seeds and budgets.")
    added.set_defaults(afterwards=": the same command goes on")
    added.add_argument(
        "configs",
        type=Path,
        nargs="+",
        metavar="CONFIG.yaml",
        help="one comparison, or run configs, each an arm",
    )
    added.add_argument("--method", action="append", help="of run configs: compare these instead")
    added.add_argument("--seeds", type=int, nargs="+", metavar="SEED")
    added.add_argument("--budget", nargs="+", choices=("own", "compute", "updates"))
    added.add_argument("--split", choices=("val", "test"))
    added.add_argument("--out", type=Path, metavar="DIR", help="default: runs/compare-NAME")
    added.add_argument(
        "--slim",
        action="store_true",
        help="keep of finished runs only what tables and curves are made of: no checkpoints",
    )
    add_workers(added, "1")
    add_data_root(added)

    add_model_commands(commands)
    add_data_commands(commands)
    return parser


def _add_training(parser: argparse.ArgumentParser, run_dir: str) -> None:
    """What `train` and `pretrain` are told; `run_dir` is the folder that they take by default."""
    parser.set_defaults(afterwards=": --resume goes on from the last checkpoint")
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    add_changes(parser)
    add_data_root(parser)
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help=f"default: {run_dir}")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the directory")
    parser.add_argument(
        "--changed",
        action="store_true",
        help="with --resume: also with other rates or images, which its record notes",
    )


if __name__ == "__main__":
    sys.exit(main())
