"""Honest evaluation: the validation part chooses the checkpoint, the test part is read once."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from torch import nn

from face2exp_lib import __version__
from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_test, read_validation
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.evaluation.metrics import evaluate_predictions, evaluation_path, read_evaluation
from face2exp_lib.evaluation.predictions import Predictions, predictions_path, write_predictions
from face2exp_lib.methods.passes import threads
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl, write_json, write_text

READINGS = "test-readings.jsonl"  # in a run directory: when its test part was read, and how


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
        data = config.data
        part = (
            read_test(data, root) if split == "test" else read_validation(data, config.seed, root)
        )
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
        "list_digest": part.digest,
        **reading,
        **evaluate_predictions(predictions),
        **finished,
    }
    write_predictions(predictions_path(run_dir, name), predictions)
    write_json(evaluation_path(run_dir, name), result)
    return result


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
