"""The `face2exp` command: parses, builds and calls.

A command imports what it needs when it runs. torch alone takes seconds, which `--help` need not
wait for, nor each process that draws faces: it imports this module anew.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from face2exp_lib import __version__
from face2exp_lib.cli_data import add_data_commands
from face2exp_lib.cli_model import add_model_commands
from face2exp_lib.cli_options import add_changes, add_command, add_data_root
from face2exp_lib.errors import Face2ExpError, RunStopped


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
    except (Face2ExpError, OSError) as error:  # an OSError's text names the file
        print(f"face2exp: error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except RunStopped as stopped:
        print(f"face2exp: {stopped}{options.afterwards}", file=sys.stderr)
        return 143
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        print(
            "face2exp: error: a process that decodes images was killed, most often for want of "
            f"memory: lower data.num_workers{options.afterwards}",
            file=sys.stderr,
        )
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="face2exp", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    added = add_command(commands, "train", _train, "Train one run.")
    added.set_defaults(afterwards=": --resume goes on from the last checkpoint")
    added.add_argument("config", type=Path, metavar="CONFIG.yaml")
    add_changes(added)
    add_data_root(added)
    added.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="default: runs/NAME-METHOD-seedN"
    )
    added.add_argument("--resume", action="store_true", help="go on with the run in the directory")

    add_model_commands(commands)
    add_data_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
