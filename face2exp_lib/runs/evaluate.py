"""Honest evaluation: the validation part chooses the checkpoint, the test part is read once."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib import __version__
from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.batches import DecodedFaces, ordered_batches
from face2exp_lib.data.lists import list_digest
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import Images, decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_test, read_validation
from face2exp_lib.evaluation.metrics import accuracies, count_confusions
from face2exp_lib.evaluation.predictions import Predictions, predictions_path, write_predictions
from face2exp_lib.evaluation.scores import evaluate_predictions, evaluation_path, read_evaluation
from face2exp_lib.methods.passes import threads
from face2exp_lib.networks import build_network, choose_device
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl, write_json, write_text
from face2exp_lib.training.checkpoint import load_checkpoint

EVALUATION_BATCH = 256
READINGS = "test-readings.jsonl"  # in a run directory: when its test part was read, and how


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
            "the network's outputs are not finite, its weights have diverged: lower training.eta_a "
            "or eta_b, and --resume --changed goes on from the last checkpoint"
        )
    return logits


def predict_probabilities(
    network: nn.Module, images: Tensor, view_size: int, *, flip: bool = False
) -> Tensor:
    """Class probabilities of the centre crops; with `flip` the mean of each and its mirror image.

    Args:
        images: (N, 3, S, S) uint8 on the network's device.

    Returns:
        (N, K) float32 on the CPU, rows sum to 1.

    Raises:
        Face2ExpError: if an output is not finite.
    """
    probabilities = predict_logits(network, images, view_size).softmax(1)
    if flip:
        mirrored = predict_logits(network, images.flip(-1), view_size).softmax(1)
        probabilities = (probabilities + mirrored) / 2
    return probabilities.cpu()


def predict_faces(
    network: nn.Module,
    faces: DecodedFaces,
    *,
    view_size: int,
    workers: int,
    flip: bool = False,
    title: str = "evaluate",
) -> np.ndarray:
    """`predict_probabilities` of a whole set, in its order: (N, K) float32.

    `title` is that of the bar that tells how far it is.
    """
    device = next(network.parameters()).device
    rows = []
    with tqdm(total=len(faces), desc=title, unit="image", leave=False, delay=2) as bar:
        for batch in ordered_batches(faces, EVALUATION_BATCH, workers):
            rows.append(predict_probabilities(network, batch[0].to(device), view_size, flip=flip))
            bar.update(len(batch[0]))
    return torch.cat(rows).numpy()


def evaluate_network(
    network: nn.Module,
    faces: DecodedFaces,
    *,
    view_size: int,
    num_classes: int,
    workers: int,
    title: str = "evaluate",
) -> dict[str, Any]:
    """The paper's measures of one network on one labelled set, see `metrics.accuracies`."""
    predicted = predict_faces(
        network, faces, view_size=view_size, workers=workers, title=title
    ).argmax(1)
    confusion = count_confusions(faces.faces.known_labels(), predicted, num_classes)
    return accuracies(confusion, class_names(num_classes))


def load_trained(run_dir: Path | str) -> tuple[RunConfig, nn.Module, dict[str, Any]]:
    """A run's configuration, its network for inference (A, a student, or the only one) and the
    entries of its best checkpoint.

    Raises:
        Face2ExpError: if the folder is no run directory or the checkpoint is broken.
    """
    run_dir = Path(run_dir)
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
    run_dir: Path | str,
    split: Literal["val", "test"],
    data_root: Path | str | None,
    *,
    flip: bool = False,
) -> tuple[dict[str, Any], bool]:
    """Evaluate a finished run's best checkpoint; write `evaluation-<split>.json` and
    `predictions-<split>.parquet`.

    The test part is read once: a second call gives back what the first one wrote, and is refused
    if it asks for other options, since the better of two readings would be chosen by the test part.
    Every reading is noted in `test-readings.jsonl` before it begins; where somebody deletes the
    evaluation and reads again, `test_readings` of the new one says so.

    Args:
        flip: average the probabilities of each image and its mirror image.

    Returns:
        The content of the file, see `scores.read_evaluation`, and whether it was computed now.

    Raises:
        Face2ExpError: if the run is broken or has not finished, data are missing, or the test part
            was read with other options.
    """
    run_dir, root = Path(run_dir), Path(data_root) if data_root else None
    path = evaluation_path(run_dir, split)
    if path.exists():
        stored = read_evaluation(path)
        if stored["flip"] == flip:
            return stored, False
        if split == "test":
            raise Face2ExpError(
                f"{run_dir}: its test part was read {'with' if stored['flip'] else 'without'} flip "
                "averaging, and a second reading would let the test part choose: decide by "
                "`--split val`, then read the test part of another run"
            )

    def read(config: RunConfig) -> tuple[FaceSet, dict[str, Any]]:
        part = (read_test if split == "test" else read_validation)(config, root)
        return part, {"split": split}

    readings = READINGS if split == "test" else None
    return evaluate_part(run_dir, split, read, readings, flip=flip), True


def evaluate_part(
    run_dir: Path | str,
    name: str,
    read: Callable[[RunConfig], tuple[FaceSet, dict[str, Any]]],
    readings: str | None,
    *,
    flip: bool,
) -> dict[str, Any]:
    """Write `evaluation-<name>.json` and `predictions-<name>.parquet` of a finished run.

    Args:
        read: gives a labelled set for the run's config, and what the evaluation says of it.
        readings: the run's file that notes the reading before it begins and so counts it; None for
            a set that may be read as often as one likes.

    Returns:
        The evaluation.

    Raises:
        Face2ExpError: if the run is broken or has not finished.
    """
    run_dir = Path(run_dir)
    config, network, state = load_trained(run_dir)
    if not (run_dir / "finished.json").exists():
        raise Face2ExpError(
            f"{run_dir}: the run has not finished: go on with `face2exp train CONFIG --run-dir "
            f"{run_dir} --resume`"
        )
    finished = read_json(run_dir / "finished.json", "label_budget")
    part, about = read(config)
    reading = {
        "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "flip": flip,
        "checkpoint_step": state["step"],
        "face2exp_lib": __version__,
    }
    if readings:
        reading["test_readings"] = _note_reading(run_dir / readings, reading)
    predictions = _predictions(config, network, part, flip)
    result = {
        **about,
        "method": config.method,
        "seed": config.seed,
        "num_images": len(part),
        "list_digest": list_digest(part),
        **reading,
        **evaluate_predictions(predictions),
        **finished,
    }
    write_predictions(predictions_path(run_dir, name), predictions)
    write_json(evaluation_path(run_dir, name), result)
    return result


def class_probabilities(
    config: RunConfig, network: nn.Module, images: Images, *, flip: bool = False
) -> Tensor:
    """What a trained network makes of face images that are already cropped to the face.

    Args:
        config, network: as `load_trained` gives them.
        images: N of them, of any size, in one batch; an array in memory is a `PixelImages`.

    Returns:
        (N, K) float32 on the CPU, rows sum to 1.

    Raises:
        Face2ExpError: naming the image that cannot be read.
    """
    if len(images.ids) == 0:
        return torch.empty(0, config.data.num_classes)
    device = next(network.parameters()).device
    decoded = [decode(images, i, config.data.stored_size) for i in range(len(images.ids))]
    pixels = torch.stack(decoded).to(device)
    with threads(config.compute, config.network.backbone, device):
        return predict_probabilities(network, pixels, config.data.view_size, flip=flip)


def _predictions(config: RunConfig, network: nn.Module, part: FaceSet, flip: bool) -> Predictions:
    faces = DecodedFaces(part, config.data.stored_size, in_memory=False)
    view_size, workers = config.data.view_size, config.data.num_workers
    device = next(network.parameters()).device
    with threads(config.compute, config.network.backbone, device):
        found = predict_faces(network, faces, view_size=view_size, workers=workers, flip=flip)
    return Predictions(
        part.ids,
        part.known_labels(),
        found,
        class_names(config.data.num_classes),
        None if part.identities is None else [str(name) for name in part.identities],
    )


def _note_reading(path: Path, reading: dict[str, Any]) -> int:
    """Add a line to a run's readings of a set; returns how many there are."""
    readings = [*read_jsonl(path), reading]
    write_text(path, "".join(json.dumps(line) + "\n" for line in readings))
    return len(readings)
