"""Runs that the system ends: by a signal, or for want of room on the disk."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib import training
from face2exp_lib.config import RunConfig, dump_config
from face2exp_lib.errors import Face2ExpError, RunStopped
from face2exp_lib.run_state import checkpoints
from face2exp_lib.training import train

Tiny = Callable[..., RunConfig]
resource = pytest.importorskip("resource", reason="signals and limits of Unix")
ROOT = Path(__file__).parents[1]


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
    assert [path.name for path in checkpoints(run)] == ["step-00000005.pt"]
    train(tiny(), run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()


def command(config: Path, run: Path, root: Path) -> list[str]:
    program = "import sys, torch; torch.set_num_threads(1); from face2exp_lib.cli import main;"
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
