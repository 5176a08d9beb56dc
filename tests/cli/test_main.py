"""The command itself: its arguments, its errors and its exit status."""

import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from face2exp_lib import __version__
from face2exp_lib.cli.main import _keep_freed_memory, main
from tests.cli.commands import MARKS, Capture, fail

pytestmark = MARKS


def test_version_and_help(capsys: Capture) -> None:
    for arguments, text in ((["--version"], __version__), (["train", "--help"], "--resume")):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["evaluate", "run", "--split", "train"], ["predict", "run"]],
)
def test_arguments_that_are_none(capsys: Capture, arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("face2exp")
    assert "error:" in err


def test_interrupt(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, config_path: Path, tmp_path: Path
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("face2exp_lib.training.loop.train", interrupt)
    assert main(["train", str(config_path), "--run-dir", str(tmp_path / "run")]) == 130
    assert "--resume goes on from the last checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory."),
            "out of memory: set or lower compute.micro",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            "compute.micro_batch_size",
        ),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal"), "lower data.num_workers"),
    ],
)
def test_want_of_memory(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    config_path: Path,
    tmp_path: Path,
    error: Exception,
    advice: str,
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("face2exp_lib.training.loop.train", fall)
    found = fail(capsys, "train", config_path, "--run-dir", tmp_path / "run")
    assert advice in found
    assert found.endswith(": --resume goes on from the last checkpoint")


def test_other_errors_of_torch_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, config_path: Path, tmp_path: Path
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("face2exp_lib.training.loop.train", fall)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        main(["train", str(config_path), "--run-dir", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("system", "libc", "takes", "called"),
    [
        ("linux", "glibc", 1, [(-3, 2**25), (-1, 2**31 - 1)]),
        ("linux", "glibc", 0, [(-3, 2**25)]),
        ("linux", "musl", 1, []),
        ("darwin", "", 1, []),
    ],
)
def test_freed_memory_is_kept_where_glibc_allocates_it(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    libc: str,
    takes: int,
    called: list[tuple[int, int]],
) -> None:
    seen = []

    class Library:
        def __init__(self, name: None) -> None: ...

        def mallopt(self, option: int, value: int) -> int:
            seen.append((option, value))
            return takes

    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.libc_ver", lambda: (libc, ""))
    monkeypatch.setattr("ctypes.CDLL", Library)
    _keep_freed_memory()
    assert seen == called


# Names that are no text, output that nobody reads


def test_name_with_a_line_break_gives_one_line(
    capsys: Capture, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "two\nlines.png"
    path.write_bytes(b"broken")
    assert "two lines.png: not a readable" in fail(capsys, "predict", finished_runs["meta"], path)


def test_name_that_is_no_text_is_printed(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    try:
        shutil.copyfile(good, path)
    except OSError:
        pytest.skip("this file system takes no such name")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["predict", str(finished_runs["meta"]), os.fsdecode(path)]) == 0
    stdout.seek(0)
    assert "\\udcff.png: " in stdout.read()


def test_error_of_the_system_is_one_line_too(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, config_path: Path
) -> None:
    line = fail(capsys, "train", config_path, "--run-dir", "x" * 5000, "--data-root", "/")
    assert "file name too long" in line
    line = fail(capsys, "train", "x" * 5000)
    assert "file name too long" in line


def test_reader_that_goes_away_is_no_error(
    capsys: Capture, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `face2exp data inspect PATH | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["data", "inspect", str(squares_root / "squares")]) == 1
        print("more")  # what is left goes nowhere, also when the interpreter ends
    assert capsys.readouterr().err == ""
