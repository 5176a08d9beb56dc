"""Runs that the system ends: by a signal, or for want of room on the disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from face2exp_lib.config import RunConfig, dump_config
from face2exp_lib.runtime.errors import Face2ExpError, RunStopped
from face2exp_lib.training import loop as training
from face2exp_lib.training.checkpoint import checkpoints
from face2exp_lib.training.loop import train

Tiny = Callable[..., RunConfig]
resource = pytest.importorskip("resource", reason="signals and limits of Unix")
ROOT = Path(__file__).parents[2]


def test_sigterm_finishes_the_step_saves_and_resumes_to_the_bit(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finite, run = training._finite, tmp_path / "run"

    def terminated(*seen: object) -> object:
        if seen[-1].step == 4:  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGTERM)
        return finite(*seen)  # type: ignore[arg-type]

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        patched.setattr(training, "_finite", terminated)
        with pytest.raises(RunStopped, match="stopped after step 5 of 10"):
            train(tiny(), run, squares_root)
    assert signal.getsignal(signal.SIGTERM) is before
    # The one before it stays until a step has gone well from the last.
    assert [path.name for path in checkpoints(run)] == ["step-00000004.pt", "step-00000005.pt"]
    train(tiny(), run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()


def command(config: Path, run: Path, root: Path) -> list[str]:
    program = "import sys, torch; torch.set_num_threads(1); from face2exp_lib.cli.main import main;"
    arguments = ["train", str(config), "--run-dir", str(run), "--data-root", str(root), "--resume"]
    return [sys.executable, "-c", f"{program} sys.exit(main({arguments!r}))"]


def test_the_command_ends_with_143_and_says_how_to_go_on(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(dump_config(tiny("training.num_steps=100000", "data.num_workers=1")))
    process = subprocess.Popen(
        command(config, run, squares_root),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not checkpoints(run) and process.poll() is None:
        signal.sigtimedwait([], 0.05)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert "--resume goes on from the last checkpoint" in errors


def test_a_killed_run_frees_its_folder_and_a_living_one_does_not(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    config, run = tiny("training.num_steps=100000"), tmp_path / "run"
    (tmp_path / "c.yaml").write_text(dump_config(config))
    process = subprocess.Popen(
        command(tmp_path / "c.yaml", run, squares_root),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    while not checkpoints(run) and process.poll() is None:
        signal.sigtimedwait([], 0.05)
    with pytest.raises(Face2ExpError, match="another process is training this run"):
        train(config, run, squares_root, resume=True)
    process.kill()
    process.wait()
    with pytest.raises(Face2ExpError, match="holds a run already"):  # the lock is free
        train(config, run, squares_root)


def test_no_room_for_a_checkpoint_is_said_and_loses_nothing(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    """The system refuses files over a size, as a full disk does."""
    run, config = tmp_path / "run", tmp_path / "c.yaml"
    config.write_text(dump_config(tiny()))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    failed = subprocess.run(
        command(config, run, squares_root),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert failed.returncode == 1
    assert "cannot write" in failed.stderr
    assert "free some space" in failed.stderr
    assert "Traceback" not in failed.stderr
    left = [p.name for p in run.rglob("*") if p.is_file() and p.name.startswith(".")]
    assert left in ([], [".lock"]), "a temporary file is left"
    train(tiny(), run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()


# A run that dies of SIGKILL, by itself, at a step or before the n-th renaming of a finished file.
DYING = """
import os, signal, sys, torch
from face2exp_lib.runtime import storage
from face2exp_lib.training import loop as training
from face2exp_lib.cli.main import main
torch.set_num_threads(1)
what, number = sys.argv[1], int(sys.argv[2])
finite, replace, renamed = training._finite, os.replace, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def dying_step(*seen):
    if what == "step" and seen[-1].step == number:
        die()
    return finite(*seen)

def dying_replace(source, target):
    renamed.append(target)
    if what == "file" and len(renamed) == number:
        die()
    replace(source, target)

training._finite, os.replace = dying_step, dying_replace
sys.exit(main(sys.argv[3:]))
"""


def test_sigkill_at_random_moments_changes_nothing_and_leaves_nothing(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    """A process writes config, environment, data and log, then checkpoints, the best ones too."""
    run, config = tmp_path / "run", tmp_path / "c.yaml"
    config.write_text(dump_config(tiny()))
    steps = np.random.default_rng(0).permutation(np.arange(2, 9))[:2].tolist()
    moments = [("file", 1), ("file", 5), *(("step", step) for step in sorted(steps)), ("file", 6)]
    arguments = ["train", str(config), "--run-dir", str(run), "--data-root", str(squares_root)]
    for what, number in moments:
        died = subprocess.run(
            [sys.executable, "-c", DYING, what, str(number), *arguments, "--resume"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert any(path.name != ".lock" for path in run.rglob(".*")) == (what == "file")
    train(tiny(), run, squares_root, resume=True)
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    whole = finished_runs["meta"]
    assert names == {p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file()}
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    for path in (whole / "checkpoints").iterdir():
        saved, expected = (
            torch.load(folder / "checkpoints" / path.name, weights_only=True)
            for folder in (run, whole)
        )
        assert str(saved) == str(expected)


@pytest.mark.parametrize(("whole_group", "status"), [(True, 143), (False, 1)])
def test_processes_that_decode_die_without_a_traceback(
    tiny: Tiny, squares_root: Path, tmp_path: Path, whole_group: bool, status: int
) -> None:
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(dump_config(tiny("training.num_steps=100000", "data.num_workers=1")))
    process = subprocess.Popen(
        command(config, run, squares_root),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(checkpoints(run)) == 0 or checkpoints(run)[-1].name < "step-00000006":
        assert process.poll() is None
        signal.sigtimedwait([], 0.05)
    if whole_group:
        os.killpg(process.pid, signal.SIGTERM)
    else:
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
        ).stdout
        os.kill(int(children.split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    # torch itself may print what one of its destructors met, where it was killed.
    assert "Traceback" not in errors or not whole_group
    assert errors.endswith("--resume goes on from the last checkpoint\n")


KILLED = """\
import os, random, signal, sys
import torch
torch.set_num_threads(1)
from face2exp_lib.runtime import storage
from face2exp_lib.training import loop as training
from face2exp_lib.cli.main import main
where, count = sys.argv[1], int(sys.argv[2])
def after(function, name):
    left = [count]
    def counted(*arguments, **options):
        if where == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return counted
os.replace = after(os.replace, "replace")
os.fsync = after(os.fsync, "fsync")
training._finite = after(training._finite, "step")
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize("where", ["step", "fsync", "replace"])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bits(
    where: str,
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    tmp_path: Path,
) -> None:
    """SIGKILL at random steps, or while a file (a checkpoint among them) is half written, or
    written and not yet in its place."""
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(dump_config(tiny()))
    options = ["train", str(config), "--run-dir", str(run), "--data-root", str(squares_root)]
    # After a kill at its first files a run stands where it stood; more of them get it further.
    counts = {"step": [2, 5, 3], "fsync": [5, 9], "replace": [5, 8]}[where]
    generator = np.random.default_rng(7)
    for count in [*counts, int(generator.integers(4, 8)), 10**6]:
        program = [sys.executable, "-c", KILLED, where, str(count), *options, "--resume"]
        done = subprocess.run(
            program, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.returncode == 0
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()
    states = [
        torch.load(folder / "checkpoints" / "step-00000010.pt", weights_only=True)
        for folder in (run, finished_runs["meta"])
    ]
    for name, network in states[0]["networks"].items():
        for key, value in network.items():
            assert torch.equal(value, states[1]["networks"][name][key]), (name, key)
    used = [state["state"]["feedback_history"]["used"] for state in states]
    assert torch.equal(*used)
    assert not list(run.rglob(".*.??????"))
