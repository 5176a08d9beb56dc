"""Checkpoints that do not fit are named and kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from face2exp_lib.training.checkpoint import checkpoints
from face2exp_lib.training.loop import train
from tests.training.runs import Contents, Killed, Tiny, refused


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cut off or no checkpoint"),
        (lambda path: path.write_bytes(b"garbage"), "cut off or no checkpoint"),
        (lambda path: torch.save({"step": 1}, path), "no checkpoint of face2exp"),
        (lambda path: rewrite(path, networks={}), "does not fit this run's config"),
        (lambda path: rewrite(path, networks=[]), "does not fit this run's config"),
        (lambda path: rewrite(path, networks={"base": {}, "adaptation": {}}), "does not fit"),
        (lambda path: rewrite(path, phase=7), "does not fit this run's config"),
        (lambda path: rewrite(path, state={}), "does not fit this run's config"),
        (lambda path: rewrite_optimisers(path, {"base": {}}), "does not fit this run's config"),
    ],
)
def test_broken_last_checkpoint_is_named_and_kept(
    tiny: Tiny,
    squares_root: Path,
    broken_off: Path,
    contents: Contents,
    damage: Callable[[Path], Any],
    message: str,
) -> None:
    (newest,) = checkpoints(broken_off)
    damage(newest)
    before = contents(broken_off)
    refused(tiny(), broken_off, squares_root, rf"{newest.name}: .*{message}", resume=True)
    assert contents(broken_off) == before


def rewrite(path: Path, **changes: Any) -> None:
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


def rewrite_optimisers(path: Path, optimisers: dict[str, Any]) -> None:
    state = torch.load(path, weights_only=True)["state"]
    rewrite(path, state={**state, "optimisers": optimisers})


def test_the_checkpoint_before_a_damaged_one_serves(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    config, run = tiny("training.keep_checkpoints=2"), tmp_path / "run"
    kill_at(7)
    with pytest.raises(Killed):
        train(config, run, squares_root)
    older, newest = checkpoints(run)
    assert [older.name, newest.name] == ["step-00000004.pt", "step-00000006.pt"]
    newest.write_bytes(newest.read_bytes()[:5000])
    message = "delete it, and --resume goes on from step-00000004"
    refused(config, run, squares_root, message, resume=True)
    newest.unlink()
    train(config, run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()
    assert [path.name for path in checkpoints(run)] == ["step-00000008.pt", "step-00000010.pt"]
