"""A few hundred damaged trees; `benchmarks/fuzz_readers.py` goes on for minutes."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz_readers import TREES, damage, fuzz
from face2exp_lib.data.formats import affectnet, recordio


@pytest.mark.parametrize("kind", TREES)
@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd metadata
def test_damage_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    ends = fuzz(kind, tmp_path, seed=3, until=lambda number: number >= 150)
    assert sum(ends.values()) == 150
    assert ends["refused"] > 10
    assert ends["read"] + ends["read, some images broken"] > 10


def test_the_check_would_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(*_: object) -> str:
        raise KeyError("x")

    monkeypatch.setattr(affectnet.AnnotationReader, "__call__", careless)
    with pytest.raises(KeyError):
        fuzz("npy", tmp_path / "a", seed=3, until=lambda number: number >= 5)
    monkeypatch.setattr(recordio, "_read_index", careless)
    with pytest.raises(KeyError):
        fuzz("recordio", tmp_path / "b", seed=3, until=lambda number: number >= 5)


def test_damage_changes_something() -> None:
    generator = np.random.default_rng(0)
    assert sum(damage(b"abc,def\n" * 20, generator) != b"abc,def\n" * 20 for _ in range(50)) > 40
