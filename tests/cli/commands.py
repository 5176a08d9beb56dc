"""Commands as a user types them, and what they print."""

from collections.abc import Callable
from typing import Any

import pytest

from face2exp_lib.cli.main import main

Capture = pytest.CaptureFixture[str]
Typed = Callable[..., str]  # the words of a command to what it prints
MARKS = [
    pytest.mark.usefixtures("no_real_faces"),
    # of workers: on a single core, and of any fork beside threads
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def succeed(capsys: Capture, *arguments: Any) -> str:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "error" not in err
    return out


def fail(capsys: Capture, *arguments: Any) -> str:
    """The one line of the error, without its head."""
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 1
    assert "Traceback" not in err
    lines = err.replace("\r", "\n").splitlines()  # a progress bar rewrites its line
    (line,) = (line for line in lines if "face2exp: error:" in line)
    assert line.startswith("face2exp: error: ")
    assert lines[-1] == line
    return line.removeprefix("face2exp: error: ")
