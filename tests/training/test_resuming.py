"""Runs that end the same however often they are killed."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from face2exp_lib.config import dump_config
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training.loop import train
from tests.training.runs import Contents, Killed, Tiny, assert_same_run


# 3 warm-start steps, 4 of Algorithm 1, 3 of the fine-tune; checkpoints after 2, 4, 6, 8 and 10.
@pytest.mark.parametrize(
    "steps",
    [(1,), (2,), (3,), (5,), (7,), (9,), (2, 5, 8)],
    ids=[
        "before any checkpoint",
        "in the warm start",
        "at the phase change",
        "in the meta phase",
        "at the second change",
        "in the fine-tune",
        "thrice",
    ],
)
def test_killed_and_resumed_run_equals_an_unbroken_one(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
    steps: tuple[int, ...],
) -> None:
    run = tmp_path / "run"
    for step in steps:
        kill_at(step)
        with pytest.raises(Killed):
            train(tiny(), run, squares_root, resume=True)
        torch.rand(3)  # another process would not have the same global state either
    train(tiny(), run, squares_root, resume=True)
    assert_same_run(run, finished_runs["meta"])
    assert [record["step"] for record in read_jsonl(run / "metrics.jsonl")] == list(range(10))


@pytest.mark.parametrize("norm", ["running_std", "minus_average"])
def test_a_resumed_run_remembers_the_feedback_so_far(
    tiny: Tiny, squares_root: Path, kill_at: Callable[[int], None], tmp_path: Path, norm: str
) -> None:
    config = tiny(f"meta.feedback_norm={norm}", "training.checkpoint_every_steps=1")
    train(config, tmp_path / "whole", squares_root)
    kill_at(6)  # the fourth step of Algorithm 1, three steps' feedback in the checkpoint
    with pytest.raises(Killed):
        train(config, tmp_path / "run", squares_root)
    train(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    records = [r for r in read_jsonl(tmp_path / "run" / "metrics.jsonl") if r["phase"] == "meta"]
    assert records[0]["feedback_used"] == 0
    assert records[-1]["feedback_used"] != records[-1]["feedback"]


@pytest.mark.parametrize(
    "changes",
    [
        ("feedback_unit=image", "feedback_norm=standard", "feedback_batch=shuffled"),
        ("balance=pseudo", "reweight=image", "feedback=trapezoid", "adaptation_labels=steps"),
        ("balance=align", "pseudo_labels=drawn", "pseudo_label_threshold=0.2"),
    ],
    ids=["images", "weights", "names"],
)
def test_a_resumed_run_remembers_images_and_names(
    tiny: Tiny,
    squares_root: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
    changes: tuple[str, ...],
) -> None:
    config = tiny("training.checkpoint_every_steps=1", *(f"meta.{change}" for change in changes))
    train(config, tmp_path / "whole", squares_root)
    kill_at(6)
    with pytest.raises(Killed):
        train(config, tmp_path / "run", squares_root)
    train(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize(("name", "occurrence"), [("step-", 1), ("step-", 3), ("best.pt", 1)])
def test_kill_while_a_checkpoint_is_written(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    occurrence: int,
) -> None:
    """The data are on the disk under their temporary name, and then the process dies."""
    replace, seen = os.replace, []

    def dying(source: str, target: Path) -> None:
        if Path(target).name.startswith(name):
            seen.append(target)
            if len(seen) == occurrence:
                raise Killed
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            train(tiny(), tmp_path / "run", squares_root)
    train(tiny(), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["meta"])


def test_a_process_that_really_dies(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    """Buffers are lost and no `finally` runs."""
    (tmp_path / "c.yaml").write_text(dump_config(tiny()))
    program = f"""
import os, sys, torch
from pathlib import Path
from face2exp_lib.training import loop as training
from face2exp_lib.config import load_config
torch.set_num_threads(1)
finite = training._finite
training._finite = lambda *a: os._exit(9) if a[3].step == 5 else finite(*a)
training.train(load_config(Path("c.yaml")), Path("run"), Path({str(squares_root)!r}))
"""
    root = Path(__file__).parents[2]
    died = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
    )
    assert died.returncode == 9, died.stderr
    assert not (tmp_path / "run" / "finished.json").exists()
    train(tiny(), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["meta"])


def test_supervised_run_resumes_too(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    kill_at(3)
    with pytest.raises(Killed):
        train(tiny("method=supervised"), tmp_path / "run", squares_root)
    train(tiny("method=supervised"), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["supervised"])


def test_finished_run_is_left_as_it_is(
    tiny: Tiny, finished_runs: dict[str, Path], contents: Contents
) -> None:
    """Nothing is written, and its data may be gone."""

    def changed() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in run.rglob("*.*")}

    run = finished_runs["meta"]
    before, times = contents(run), changed()
    train(tiny(), run, None, resume=True)
    assert contents(run) == before
    assert {**changed(), str(run / ".lock"): 0} == {**times, str(run / ".lock"): 0}
