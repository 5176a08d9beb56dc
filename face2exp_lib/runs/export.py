"""A run's network as one ONNX file that takes raw pixels, and the check that it agrees with torch;
or its weights as they are.

The file takes a batch of uint8 RGB faces at the run's `stored_size` and does the rest itself:
centre crop, scaling, normalisation, network, softmax. What an application still has to do, to
decode, turn upright, crop to the face and resize to a square, needs no number that it could get
wrong but the size, which is the input's shape. uint8 moves a quarter of the bytes of float32.
"""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib import __version__
from face2exp_lib.augmentation.apply import MEAN, STD
from face2exp_lib.config import RunConfig, config_digest
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.inference import predict_logits
from face2exp_lib.runs.card import weights_terms
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes
from face2exp_lib.training.pretrain_config import load_either_config
from face2exp_lib.training.stored_weights import SUFFIX, read_backbone, write_backbone

if TYPE_CHECKING:
    import onnx

OPSET = 18
TOLERANCE = 1e-3  # between ONNX Runtime's logits and torch's, in parts of the largest logit
RANDOM_BATCHES = (1, 3)  # other sizes than the one that is traced
REAL_FACES = 32
INPUT, OUTPUTS = "images", ("logits", "probabilities")


class Deployed(nn.Module):
    """Evaluation's way from a stored image to probabilities, in operations that ONNX has."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, view_size: int) -> None:
        super().__init__()
        self.network, self.view_size = network, view_size
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(STD)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) uint8 to (N, K) logits and (N, K) probabilities."""
        pixels = images.float() / 255
        margin = images.shape[-1] - self.view_size
        if margin % 2:  # the centre lies between pixels: bilinear is the mean of four
            pixels = F.avg_pool2d(pixels, 2, 1)
        left, end = margin // 2, margin // 2 + self.view_size
        view = pixels[:, :, left:end, left:end]
        logits: Tensor = self.network((view - self.mean) / self.std)
        return logits, logits.softmax(1)


@dataclass(frozen=True)
class Agreement:
    """How far ONNX Runtime's logits were from torch's.

    Attributes:
        largest: difference of one, in parts of the largest logit.
        num_random, num_real: images of noise, and faces.
    """

    largest: float
    num_random: int
    num_real: int


def export_run(run_dir: Path | str, out: Path | str, faces: FaceSet | None = None) -> Agreement:
    """Write a run's best checkpoint as ONNX, after its outputs agreed with torch's.

    Args:
        out: the file, named .onnx. Input `images` (N, 3, S, S) uint8 RGB, S = `stored_size`;
            outputs `logits` and `probabilities` (N, K) float32; N is free. The metadata hold the
            classes in their order and where the weights come from.
        faces: real faces for the check, beside noise.

    Raises:
        Face2ExpError: if the packages are missing, the run is broken, or the outputs differ by more
            than `TOLERANCE`; then nothing is written.
    """
    run_dir = Path(run_dir)
    out = Path(out)
    if out.suffix != ".onnx":
        raise Face2ExpError(f"{out}: name the file .onnx")
    _must_have_packages()
    config, network, state = load_trained(run_dir)
    network = network.cpu().eval()
    model = onnx_model(config, network)
    for key, value in metadata(config, state["step"]).items():
        model.metadata_props.add(key=key, value=value)
    stored = model.SerializeToString()
    agreement = check_agreement(stored, config, network, faces)
    write_bytes(out, stored)
    return agreement


def export_weights(run_dir: Path | str, out: Path | str, *, half: bool = False) -> int:
    """Write the weights of a run's or pre-training's best checkpoint without its last layer, for
    `network.pretrained` of other runs and for other programs.

    Args:
        out: the file, named .safetensors. Its metadata say of which backbone they are, which views
            it was made on, and where it comes from.
        half: as float16, half the bytes.

    Returns:
        How many bytes.

    Raises:
        Face2ExpError: if the run is broken.
    """
    out, weights = Path(out), read_backbone(run_dir)
    if out.suffix != SUFFIX:
        raise Face2ExpError(f"{out}: name the file {SUFFIX}")
    config = load_either_config(Path(run_dir) / "config.yaml")
    about = {
        "name": config.name,
        "stored_size": str(config.data.stored_size),
        "view_size": str(config.data.view_size),
        "seed": str(config.seed),
        "config_digest": config_digest(config),
        "checkpoint_step": str(weights.about["step"]),
        "face2exp_lib": __version__,
        "weights_terms": weights_terms(config),
    }
    write_backbone(out, weights, about, half=half)
    return out.stat().st_size


def onnx_model(config: RunConfig, network: nn.Module) -> "onnx.ModelProto":
    """The network with evaluation's preprocessing and a softmax, the batch size left free.

    Args:
        network: on the CPU, in evaluation mode.
    """
    size = config.data.stored_size
    example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, about its own insides
        try:
            program = torch.onnx.export(
                Deployed(network, config.data.view_size).eval(),
                (example,),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # nearly anything, where versions do not fit together
            raise Face2ExpError(
                "torch's exporter fails here: try other versions of torch and onnxscript"
            ) from error
    if program is None:
        raise Face2ExpError("torch's exporter gave no model back: try another version of torch")
    model: onnx.ModelProto = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # where in this machine's files each operation was written
        part.doc_string = ""
    return model


def metadata(config: RunConfig, checkpoint_step: int) -> dict[str, str]:
    """What the file says of itself."""
    size = config.data.stored_size
    return {
        "class_names": json.dumps(class_names(config.data.num_classes)),
        "input": (
            f"(N, 3, {size}, {size}) uint8 RGB faces: upright, cropped to the face, resized to "
            "a square; cropping and normalisation are inside"
        ),
        "face2exp_lib": __version__,
        "method": config.method,
        "seed": str(config.seed),
        "config_digest": config_digest(config),
        "checkpoint_step": str(checkpoint_step),
        "weights_terms": weights_terms(config),
    }


def check_agreement(
    stored: bytes, config: RunConfig, network: nn.Module, faces: FaceSet | None
) -> Agreement:
    """Run a model by ONNX Runtime and by torch, as evaluation runs it, and compare.

    Raises:
        Face2ExpError: if one differs by more than `TOLERANCE`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(stored, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # an older one does not know the form that torch writes
        raise Face2ExpError(
            "onnxruntime cannot read what torch's exporter wrote: try a newer onnxruntime"
        ) from error
    size = config.data.stored_size
    generator = torch.Generator().manual_seed(0)
    batches = [
        torch.randint(256, (number, 3, size, size), generator=generator, dtype=torch.uint8)
        for number in RANDOM_BATCHES
    ]
    num_real = 0 if faces is None else min(len(faces), REAL_FACES)
    if faces is not None:
        chosen = np.linspace(0, len(faces) - 1, num_real).round().astype(int)
        rows = faces.rows[chosen].tolist()
        batches.append(torch.stack([decode(faces.images, row, size) for row in rows]))
    apart = []
    for images in batches:
        found, probabilities = session.run(OUTPUTS, {INPUT: images.numpy()})
        logits = predict_logits(network, images, config.data.view_size)
        scale = max(1.0, float(logits.abs().max()))
        apart.append(np.abs(found - logits.numpy()).max() / scale)
        apart.append(np.abs(probabilities - logits.softmax(1).numpy()).max())
    largest = float(np.max(apart))
    if not largest <= TOLERANCE:  # so that NaN fails, too
        raise Face2ExpError(
            f"the ONNX model's outputs differ from torch's by up to {largest:.2g}, more than "
            f"{TOLERANCE:g}: nothing is written; try other versions of torch and onnxruntime"
        )
    return Agreement(largest, sum(RANDOM_BATCHES), num_real)


def _must_have_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Face2ExpError(
            f"exporting needs {error.name}: pip install 'face2exp-lib[export]'"
        ) from error
