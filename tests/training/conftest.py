"""Runs that die on their way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.training import loop as training
from face2exp_lib.training.loop import train
from tests.training.runs import Killed, Tiny


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next training die after the update of a step and before its record."""
    finite = training._finite

    def arm(at: int) -> None:
        def dying(*seen: Any) -> Any:
            if seen[-1].step == at:
                monkeypatch.setattr(training, "_finite", finite)
                raise Killed
            return finite(*seen)

        monkeypatch.setattr(training, "_finite", dying)

    return arm


@pytest.fixture
def broken_off(
    tiny: Tiny, squares_root: Path, tmp_path: Path, kill_at: Callable[[int], None]
) -> Path:
    """A run with checkpoints that has not finished."""
    kill_at(5)
    with pytest.raises(Killed):
        train(tiny(), tmp_path / "run", squares_root)
    return tmp_path / "run"
