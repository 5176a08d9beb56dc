"""Honest evaluation: the validation part chooses the checkpoint, the test part is read once."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.augmentation import centre_view
from face2exp_lib.batches import DecodedFaces, ordered_batches
from face2exp_lib.checkpoint import load_checkpoint
from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.images import FileImages, Images, decode
from face2exp_lib.labels import class_names
from face2exp_lib.metrics import accuracies, count_confusions
from face2exp_lib.networks import build_network
from face2exp_lib.splits import read_run_data, read_test
from face2exp_lib.storage import read_json, write_json
from face2exp_lib.views import apply_view

EVALUATION_BATCH = 256
EVALUATION_KEYS = (
    "method",
    "num_images",
    "label_budget",
    "overall_accuracy",
    "mean_class_accuracy",
    "std_class_accuracy",
    "per_class_accuracy",
    "confusion_matrix",
    "class_names",
)


def choose_device(name: str) -> torch.device:
    """The device a config names; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        Face2ExpError: if it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((device for device, there in available.items() if there), "cpu")
    if not available.get(name, True):
        raise Face2ExpError(f"device: no {name} on this machine: set device to cpu or auto")
    return torch.device(name)


@torch.no_grad()
def predict_logits(network: nn.Module, images: Tensor, view_size: int) -> Tensor:
    """Logits of the centre crops, with the running batch-norm statistics.

    Args:
        images: (N, 3, S, S) uint8 on the network's device.

    Returns:
        (N, K) float32.

    Raises:
        Face2ExpError: if one is not finite: the largest of NaNs would pass for a prediction.
    """
    was_training = network.training
    network.eval()
    logits = network(apply_view(images, centre_view(len(images)).to(images.device), view_size))
    network.train(was_training)
    if not torch.isfinite(logits).all():
        raise Face2ExpError(
            "the network's outputs are not finite, its weights have diverged: lower eta_a or eta_b"
        )
    return logits


def evaluate_network(
    network: nn.Module, faces: DecodedFaces, *, view_size: int, num_classes: int, workers: int
) -> dict[str, Any]:
    """The paper's measures of one network on one labelled set, see `metrics.accuracies`."""
    device = next(network.parameters()).device
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    batches = ordered_batches(faces, EVALUATION_BATCH, workers)
    total = -(-len(faces) // EVALUATION_BATCH)
    for images, labels, _ in tqdm(batches, desc="evaluate", total=total, leave=False, delay=2):
        predicted = predict_logits(network, images.to(device), view_size).argmax(1).cpu()
        confusion += count_confusions(labels.numpy(), predicted.numpy(), num_classes)
    return accuracies(confusion, class_names(num_classes))


def load_trained(run_dir: Path) -> tuple[RunConfig, nn.Module, dict[str, Any]]:
    """A run's configuration, its network for inference (A; for the baseline, its only one) and the
    entries of its best checkpoint.

    Raises:
        Face2ExpError: if the folder is no run directory or the checkpoint is broken.
    """
    if not (run_dir / "config.yaml").is_file():
        raise Face2ExpError(f"{run_dir}: no run directory: `face2exp train` makes one")
    config = load_config(run_dir / "config.yaml")
    path = run_dir / "checkpoints" / "best.pt"
    state = load_checkpoint(path, {"network", "step"})
    network = build_network(
        config.network.backbone, config.data.num_classes, pretrained=False, seed=config.seed
    )
    try:
        network.load_state_dict(state["network"])
    except (AttributeError, RuntimeError, TypeError) as error:
        raise Face2ExpError(
            f"{path}: its weights do not fit {run_dir / 'config.yaml'}: one of the two belongs to "
            "another run"
        ) from error
    device = choose_device(config.device)
    return config, network.to(device), state


def evaluate_run(
    run_dir: Path, split: Literal["val", "test"], data_root: Path | None
) -> tuple[dict[str, Any], bool]:
    """Evaluate a finished run's best checkpoint and write `evaluation-<split>.json`.

    The test part is read once: a second call gives back what the first one wrote.

    Returns:
        The content of the file, and whether it was computed now.
    """
    path = run_dir / f"evaluation-{split}.json"
    if path.exists():
        return read_json(path, *EVALUATION_KEYS), False
    config, network, state = load_trained(run_dir)
    if not (run_dir / "finished.json").exists():
        raise Face2ExpError(
            f"{run_dir}: the run has not finished: go on with `face2exp train CONFIG --run-dir "
            f"{run_dir} --resume`"
        )
    if split == "test":
        part = read_test(config, data_root)
    else:
        part = read_run_data(config, data_root).validation
    faces = DecodedFaces(part, config.data.stored_size, in_memory=False)
    result = {
        "split": split,
        "method": config.method,
        "seed": config.seed,
        "num_images": len(faces),
        "checkpoint_step": state["step"],
        **evaluate_network(
            network,
            faces,
            view_size=config.data.view_size,
            num_classes=config.data.num_classes,
            workers=config.data.num_workers,
        ),
        **read_json(run_dir / "finished.json", "label_budget"),
    }
    write_json(path, result)
    return result, True


def predict_images(run_dir: Path, paths: list[Path]) -> list[dict[str, Any]]:
    """Label and class probabilities of face images that are already cropped to the face.

    Returns:
        For each image: `image`, `label`, `probabilities` (name -> 0..1).

    Raises:
        Face2ExpError: naming the image that cannot be read.
    """
    config, network, _ = load_trained(run_dir)
    names = class_names(config.data.num_classes)
    files = FileImages(Path(), [str(path) for path in paths])
    results = []
    for path, row in zip(paths, class_probabilities(config, network, files), strict=True):
        results.append(
            {
                "image": str(path),
                "label": names[int(row.argmax())],
                "probabilities": dict(zip(names, row.tolist(), strict=True)),
            }
        )
    return results


def class_probabilities(config: RunConfig, network: nn.Module, images: Images) -> Tensor:
    """What a trained network makes of face images that are already cropped to the face.

    Args:
        config, network: as `load_trained` gives them.
        images: N of them, of any size; an array in memory is a `PixelImages`.

    Returns:
        (N, K) float32 on the CPU, rows sum to 1.

    Raises:
        Face2ExpError: naming the image that cannot be read.
    """
    device = next(network.parameters()).device
    rows = [torch.empty(0, config.data.num_classes)]
    for index in range(len(images.ids)):
        image = decode(images, index, config.data.stored_size)[None].to(device)
        rows.append(predict_logits(network, image, config.data.view_size).softmax(1).cpu())
    return torch.cat(rows)
