"""Pieces of work: each leaves a small JSON file, is made once, and keeps to the time there is."""

import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import read_json, write_json

ROOT = Path(__file__).parents[2]
MOST_SECONDS = 600  # that a piece may take
TO_STOP_SECONDS = 20  # that a run has to write its checkpoint after it was told to stop
ERROR_LINES = 30  # of what failed, in the file


class OutOfTime(Exception):
    """A piece was stopped; what it has done so far is kept where it can go on from it."""


@dataclass(frozen=True)
class Settings:
    """How the kit runs.

    Attributes:
        out: folder of the results.
        device: `cuda`, or `cpu` for a dry run.
        tiny: sizes that say nothing, to see whether all of it works.
        data: archive or folder of `benchmarks.gpu.pack`; None where there is none.
        deadline: on the clock of `time.monotonic`; of a piece, ten minutes after its begin at most.
    """

    out: Path
    device: str
    tiny: bool
    data: Path | None
    deadline: float

    def left(self) -> float:
        """Seconds until the time is up."""
        return self.deadline - time.monotonic()


@dataclass(frozen=True)
class Piece:
    """Some work with a result.

    Attributes:
        part: it belongs to.
        name: of its file.
        least_seconds: with less time left it is not begun.
        make: does it; raises OutOfTime if it was stopped and can go on later.
    """

    part: str
    name: str
    least_seconds: float
    make: Callable[[Settings], dict[str, Any]]

    def path(self, out: Path) -> Path:
        """Of its file."""
        return out / self.part / f"{self.name}.json"

    def failed(self, out: Path) -> bool:
        """Whether it was tried and failed, and is to be tried again."""
        path = self.path(out)
        return path.exists() and "failed" in read_json(path)

    def done(self, out: Path) -> bool:
        """Whether it need not be made again."""
        return self.path(out).exists() and not self.failed(out)


def work(pieces: Iterable[Piece], settings: Settings, tell: Callable[[str], None]) -> list[Piece]:
    """Make the pieces that are not made yet, in their order, as long as there is time; those that
    failed before come last, lest they keep others waiting.

    Returns:
        Those that are left: no time was left for them, or they failed.
    """
    left = []
    for piece in sorted(pieces, key=lambda piece: piece.failed(settings.out)):
        name = f"{piece.part}/{piece.name}"
        if piece.done(settings.out):
            tell(f"{name}: done before")
            continue
        if settings.left() < piece.least_seconds:
            tell(f"{name}: left, needs {piece.least_seconds:.0f} s")
            left.append(piece)
            continue
        begun = time.monotonic()
        deadline = min(settings.deadline, begun + MOST_SECONDS)
        try:
            found = piece.make(replace(settings, deadline=deadline))
        except OutOfTime as stopped:
            tell(f"{name}: left, {stopped}")
            left.append(piece)
            continue
        except Exception as error:  # another piece may do well, and the report says which did not
            found = {"failed": f"{type(error).__name__}: {error}"}
        if "failed" in found:
            left.append(piece)
        result = {
            "piece": name,
            "device": settings.device,
            "tiny": settings.tiny,
            "seconds": round(time.monotonic() - begun, 1),
            **found,
            "environment": environment(),
        }
        write_json(piece.path(settings.out), result)
        tell(f"{name}: " + ("FAILED" if "failed" in found else f"{result['seconds']} s"))
    return left


def run(command: list[str], seconds: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program from the root of the checkout; at the end of the time ask it to stop.

    Raises:
        OutOfTime: if it had to be stopped.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    )
    try:
        output, _ = process.communicate(timeout=max(seconds, 0))
    except BaseException as error:
        process.terminate()
        try:
            process.communicate(timeout=TO_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise OutOfTime(f"stopped after {seconds:.0f} s") from error
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, None)


def last_lines(text: str) -> str:
    """What a message needs of a program's output."""
    return "\n".join(text.strip().splitlines()[-ERROR_LINES:])


def must_be_of_these(settings: Settings) -> None:
    """Make sure that a folder holds results of one device and size.

    Raises:
        Face2ExpError: if it holds others.
    """
    path = settings.out / "kit.json"
    mine = {"device": settings.device, "tiny": settings.tiny}
    if path.exists() and (there := read_json(path)) != mine:
        raise Face2ExpError(
            f"{settings.out}: holds results of {there}, and now it would be {mine}: choose another "
            "--out"
        )
    write_json(path, mine)
