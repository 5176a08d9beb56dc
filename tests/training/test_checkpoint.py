"""Checkpoints that come back, and files that are none."""

import errno
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.stored_weights import load_checkpoint, save_checkpoint

KEYS = {"step", "network"}


def state() -> dict[str, Any]:
    return {"step": 3, "network": {"w": torch.arange(6.0).reshape(2, 3)}, "best": 12.5}


def test_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "c.pt"
    save_checkpoint(path, state())
    loaded = load_checkpoint(path, KEYS)
    assert loaded["step"] == 3
    assert loaded["best"] == 12.5
    assert torch.equal(loaded["network"]["w"], state()["network"]["w"])


def saved(path: Path) -> bytes:
    save_checkpoint(path, state())
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_cut_off_checkpoint(tmp_path: Path, share: float) -> None:
    path = tmp_path / "c.pt"
    content = saved(path)
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(Face2ExpError, match=r"c\.pt: cut off or no checkpoint: delete it and"):
        load_checkpoint(path, KEYS)


@pytest.mark.parametrize(
    "content",
    [b"text", bytes(range(256)) * 8, pickle.dumps({"step": 1}), b"PK\x03\x04" + bytes(500)],
    ids=["text", "binary", "pickle", "zip"],
)
def test_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.pt"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"c\.pt: (cut off or )?no checkpoint"):
        load_checkpoint(path, KEYS)


@pytest.mark.filterwarnings("ignore")  # torch's, of old formats
def test_no_damage_gets_past_the_one_error(tmp_path: Path) -> None:
    """Random damage gives a state or the one error, never another exception."""
    path = tmp_path / "c.pt"
    old = io.BytesIO()
    torch.save(state(), old, _use_new_zipfile_serialization=False)
    generator = np.random.default_rng(0)
    failed = 0
    for content in (saved(path), old.getvalue()):
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(generator.integers(1, 4)):
                damaged[generator.integers(len(damaged))] = generator.integers(256)
            path.write_bytes(damaged[: generator.integers(1, 2 * len(damaged))])
            try:
                load_checkpoint(path, KEYS)
            except Face2ExpError:
                failed += 1
    assert failed > 100


class Payload:
    """Would make a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_checkpoint_does_not_run(tmp_path: Path, new: bool) -> None:
    path, made = tmp_path / "c.pt", tmp_path / "made"
    torch.save({**state(), "evil": Payload(made)}, path, _use_new_zipfile_serialization=new)
    with pytest.raises(Face2ExpError, match=r"c\.pt: cut off or no checkpoint"):
        load_checkpoint(path, KEYS)
    assert not made.exists()
    torch.load(path, weights_only=False)
    assert made.exists()  # the payload is a live one


@pytest.mark.parametrize("content", [{"step": 1}, [1, 2], torch.zeros(3)])
def test_checkpoint_of_something_else(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "c.pt"
    torch.save(content, path)
    with pytest.raises(Face2ExpError, match=r"c\.pt: no checkpoint of face2exp: delete it"):
        load_checkpoint(path, KEYS)


def test_missing_checkpoint_and_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"c\.pt: no such checkpoint: train first"):
        load_checkpoint(tmp_path / "c.pt", KEYS)
    (tmp_path / "c.pt").mkdir()
    with pytest.raises(Face2ExpError, match=r"c\.pt: cut off or no checkpoint"):
        load_checkpoint(tmp_path / "c.pt", KEYS)


def test_full_disk_keeps_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.pt"
    before = saved(path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Face2ExpError, match=r"c\.pt: cannot write \(No space left on device\)"):
        save_checkpoint(path, {"step": 4})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
