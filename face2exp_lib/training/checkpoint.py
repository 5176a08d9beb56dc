"""Checkpoints: written whole or not at all, and loaded without running anything in them."""

import io
from pathlib import Path
from typing import Any

import torch

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes


def save_checkpoint(path: Path | str, state: dict[str, Any]) -> None:
    """Write tensors and plain values."""
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path | str, keys: set[str]) -> dict[str, Any]:
    """Read a checkpoint to the CPU; `weights_only`, so a forged file cannot run code.

    Args:
        path: the file.
        keys: entries it must have.

    Raises:
        Face2ExpError: if it is missing, cut off, or no checkpoint of this project.
    """
    path = Path(path)
    way_out = "delete it and train again, or restore it from a copy"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise Face2ExpError(
            f"{path}: no such checkpoint: train first, or resume the run"
        ) from error
    except Exception as error:  # a damaged file makes the reader raise nearly anything
        raise Face2ExpError(f"{path}: cut off or no checkpoint: {way_out}") from error
    if not isinstance(state, dict) or not keys <= state.keys():
        raise Face2ExpError(f"{path}: no checkpoint of face2exp: {way_out}")
    return state
