"""Weights in files, written whole or not at all, and read without running anything in them:
checkpoints of torch, and safetensors for weights that go from one run to another."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
import yaml
from safetensors import SafetensorError, safe_open
from torch import Tensor

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.runtime.storage import write_bytes

SUFFIX = ".safetensors"
HEAD = "fc."  # of `FaceNetwork`: what the names of its last layer's weights begin with
INSIDE = "backbone."  # the same of a backbone's own weights in a network that a method built of it


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


class BackboneWeights(NamedTuple):
    """A network's weights without its last layer.

    Attributes:
        file: that holds them.
        backbone: whose they are.
        tensors: by name.
        about: what else is known of them: of a run, its `config` as text and the `step`.
    """

    file: Path
    backbone: str
    tensors: dict[str, Tensor]
    about: dict[str, Any]


def weights_file(place: Path | str) -> Path:
    """The file that holds the weights of a run's folder, or the safetensors file itself; a bare
    name that is no file is looked up among those that come with the package.

    Raises:
        Face2ExpError: if it is neither.
    """
    place = Path(place).expanduser()
    packaged = shipped("data") / "pretrained" / place.name
    if not place.exists() and place.parent == Path() and packaged.is_file():
        place = packaged
    if not place.exists():
        raise Face2ExpError(f"{place}: no such file or folder: give a run's folder or a {SUFFIX}")
    if place.is_dir():
        if not (place / "config.yaml").is_file():
            raise Face2ExpError(
                f"{place}: no run directory: `face2exp train` and `pretrain` make them"
            )
        best = place / "checkpoints" / "best.pt"
        if not best.is_file():
            raise Face2ExpError(f"{place}: no best checkpoint yet: go on with that run first")
        return best
    if place.suffix != SUFFIX:
        raise Face2ExpError(f"{place}: no weights: give a run's folder or a {SUFFIX} file")
    return place


def read_backbone(place: Path | str) -> BackboneWeights:
    """The weights that a run's folder or a safetensors file holds: of a run those of its best
    checkpoint.

    Raises:
        Face2ExpError: if there are none, they are damaged, or do not say of which backbone.
    """
    file = weights_file(place)
    return _of_file(file) if file.suffix == SUFFIX else _of_run(file)


def _of_run(file: Path) -> BackboneWeights:
    path = file.parents[1] / "config.yaml"
    state = load_checkpoint(file, {"network", "step"})
    try:
        text = path.read_text(encoding="utf-8")
        backbone = str(yaml.safe_load(text)["network"]["backbone"])
        weights = state["network"]
        inside = {n.removeprefix(INSIDE): t for n, t in weights.items() if n.startswith(INSIDE)}
        tensors = {n: t for n, t in (inside or weights).items() if not n.startswith(HEAD)}
    except (OSError, UnicodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise Face2ExpError(f"{path.parent}: no run directory that can be read: {error}") from error
    return BackboneWeights(file, backbone, tensors, {"config": text, "step": state["step"]})


def _of_file(file: Path) -> BackboneWeights:
    try:
        with safe_open(file, framework="pt") as opened:
            about = dict(opened.metadata() or {})
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise Face2ExpError(
            f"{file}: cut off or no {SUFFIX} file: fetch or export it again"
        ) from error
    if "backbone" not in about:
        raise Face2ExpError(
            f"{file}: does not say whose weights it holds: `face2exp export` writes such files"
        )
    return BackboneWeights(file, about["backbone"], tensors, about)


def write_backbone(
    path: Path | str, weights: BackboneWeights, about: dict[str, str], *, half: bool = False
) -> None:
    """Write a network's weights without its last layer as safetensors, which any framework reads.

    Args:
        path: the file.
        weights: of `read_backbone`.
        about: what the file says of itself; `backbone` is added.
        half: round them to float16, half the bytes.
    """
    tensors = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in weights.tensors.items()
    }
    content = safetensors.torch.save(tensors, {**about, "backbone": weights.backbone})
    write_bytes(Path(path), content)
