"""What an evaluation file holds: the measures of a network's predictions, with intervals."""

from pathlib import Path
from typing import Any

import numpy as np

from face2exp_lib.evaluation.intervals import (
    LEVEL,
    bootstrap_intervals,
    clustered_intervals,
    wilson_intervals,
)
from face2exp_lib.evaluation.metrics import accuracies, count_confusions, measures
from face2exp_lib.evaluation.predictions import Predictions
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json

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
    "flip",
    "intervals",
    "macro_f1",
)


def evaluate_predictions(predictions: Predictions) -> dict[str, Any]:
    """The measures of one network on one labelled set, with their intervals.

    The bootstrap draws persons where the set names them and they suffice, else images.
    """
    num_classes = len(predictions.names)
    confusion = count_confusions(predictions.labels, predictions.predicted, num_classes)
    result = accuracies(confusion, predictions.names)
    bootstrap = None
    if predictions.identities is not None:
        bootstrap = clustered_intervals(
            predictions.labels,
            predictions.predicted,
            np.array(predictions.identities),
            num_classes,
        )
    return _completed(result, bootstrap)


def evaluation_path(run_dir: Path | str, name: str) -> Path:
    """Where a run keeps its evaluation on a part, `val` or `test`, or on another set."""
    run_dir = Path(run_dir)
    return run_dir / f"evaluation-{name}.json"


def read_evaluation(path: Path | str) -> dict[str, Any]:
    """Read an evaluation.

    Raises:
        Face2ExpError: if the file is missing, broken or no evaluation.
    """
    path = Path(path)
    result = read_json(path, *EVALUATION_KEYS)
    try:
        number = len(result["class_names"])
        if np.array(result["confusion_matrix"], dtype=np.int64).shape != (number, number):
            raise ValueError
        return completed(result)
    except (KeyError, TypeError, ValueError) as error:
        raise Face2ExpError(f"{path}: no evaluation, or damaged: delete it and redo") from error


def completed(result: dict[str, Any]) -> dict[str, Any]:
    """An evaluation with `missing_classes`, which names those without images, that no measure
    covers. Its `intervals` have the `level`, Wilson's for each `per_class_accuracy`, and the
    `bootstrap`."""
    return {"missing_classes": _missing(result), **result}


def _completed(result: dict[str, Any], bootstrap: dict[str, Any] | None) -> dict[str, Any]:
    confusion = np.array(result["confusion_matrix"])
    return {
        **result,
        "macro_f1": float(measures(confusion)["macro_f1"]),
        "missing_classes": _missing(result),
        "intervals": {
            "level": LEVEL,
            "per_class_accuracy": wilson_intervals(confusion, result["class_names"]),
            "bootstrap": bootstrap or bootstrap_intervals(confusion),
        },
    }


def _missing(result: dict[str, Any]) -> list[str]:
    return [name for name in result["class_names"] if name not in result["per_class_accuracy"]]
