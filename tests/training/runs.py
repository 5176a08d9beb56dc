"""Runs that are killed or refused, and whether two are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from face2exp_lib.config import RunConfig
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train

Tiny = Callable[..., RunConfig]
Contents = Callable[[Path], dict[str, bytes]]


def equal(first: Any, second: Any) -> bool:
    """Deep equality to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def assert_same_run(run: Path, expected: Path) -> None:
    files = [
        sorted(path.name for path in (r / "checkpoints").glob("*.pt")) for r in (run, expected)
    ]
    assert files[0] == files[1]
    assert "best.pt" in files[0]
    for name in files[0]:
        first, second = (
            torch.load(path / "checkpoints" / name, weights_only=True) for path in (run, expected)
        )
        assert equal(first, second), name
    for name in ("metrics.jsonl", "finished.json", "config.yaml"):
        assert (run / name).read_bytes() == (expected / name).read_bytes(), name


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


def refused(config: RunConfig, run: Path, root: Path, message: str, **options: bool) -> None:
    with pytest.raises(Face2ExpError, match=message):
        train(config, run, root, **options)
