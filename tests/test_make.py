"""`make book` trains its methods side by side, and stops and fails as one."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile, with what its rules for training need, and no faces."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", "configs/rendered_cpu.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "installed").touch()
    return tmp_path


METHOD = """method=$(echo "$*" | sed "s/.*method=//; s/ .*//")"""


def start(checkout: Path, script: str) -> "subprocess.Popen[str]":
    """`make trained`, as a terminal starts it, with a script in the place of `face2exp`: $method is
    the method that it shall train."""
    command = checkout / ".venv" / "bin" / "face2exp"
    command.write_text(f"#!/bin/sh\n{METHOD}\n{script}")
    command.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    return subprocess.Popen(
        ["make", "trained"],
        cwd=checkout,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell starts what it puts in the background with Ctrl+C ignored, and make inherits it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


# Ends well if the other one comes while it waits.
MEETS = """
touch here-$method
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
do [ -e here-meta ] && [ -e here-supervised ] && echo $TQDM_POSITION > line-$method && exit 0
sleep 0.5; done
exit 1
"""


def test_both_methods_train_at_the_same_time_on_lines_of_their_own(checkout: Path) -> None:
    process = start(checkout, MEETS)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    lines = {path.name: path.read_text().strip() for path in checkout.glob("line-*")}
    assert lines == {"line-meta": "0", "line-supervised": "1"}
    again = start(checkout, "exit 1")  # there is nothing left to train
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 0, out


def test_one_that_fails_fails_make_and_the_other_is_kept(checkout: Path) -> None:
    process = start(checkout, 'sleep 0.2; [ "$method" = supervised ] || exit 3')
    out, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "meta.trained] Error 3" in out
    stamps = {path.name for path in (checkout / "_build" / "stamps").glob("*.trained")}
    assert stamps <= {"supervised.trained"}


def test_ctrl_c_stops_both(checkout: Path) -> None:
    process = start(checkout, "echo $$ > here-$method; exec sleep 50")
    while len(pids := [path.read_text() for path in checkout.glob("here-*")]) < 2 or "" in pids:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode != 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    assert not list((checkout / "_build" / "stamps").glob("*.trained"))
