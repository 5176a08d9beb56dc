"""Accuracies and F1 from a confusion matrix (paper 4.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from face2exp_lib.runtime.errors import Face2ExpError


def count_confusions(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix as counts: rows are true classes, columns are predictions. (K, K) int64.

    Images of other classes are in no cell.
    """
    if not np.isin(y_true, np.arange(num_classes)).any():  # scikit-learn refuses this
        return np.zeros((num_classes, num_classes), dtype=np.int64)
    return confusion_matrix(y_true, y_pred, labels=np.arange(num_classes)).astype(np.int64)


def accuracies(confusion: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What the paper measures, in percent, from counts.

    `mean_class_accuracy` weighs every class alike; `std_class_accuracy` is the population standard
    deviation over the classes, the paper's measure of bias; `overall_accuracy` weighs every image
    alike and so hides a collapsed rare class. The accuracy of a class without images does not
    exist: `per_class_accuracy` lacks it, and mean and deviation are over the others.

    Args:
        confusion: (K, K) counts, rows are true classes.
        names: the K class names.

    Raises:
        Face2ExpError: if fewer than two classes have images.
    """
    totals = confusion.sum(1)
    there = np.flatnonzero(totals)
    if len(there) < 2:
        shown = " and ".join(names[code] for code in there.tolist()) or "no class"
        raise Face2ExpError(f"all images to evaluate show {shown}: give images of two or more")
    of_paper = {key: float(value) for key, value in measures(confusion).items()}
    del of_paper["macro_f1"]
    per_class = 100 * np.diag(confusion)[there] / totals[there]
    return {
        **of_paper,
        "per_class_accuracy": {
            names[code]: value
            for code, value in zip(there.tolist(), per_class.tolist(), strict=True)
        },
        "confusion_matrix": confusion.tolist(),
        "class_names": list(names),
    }


def measures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The measures that sum up one confusion matrix or many, in percent.

    `macro_f1` is the mean over the classes of 2 hits / (images + predictions) of the class. Means
    are over the classes that have images.

    Args:
        confusion: (..., K, K) counts, rows are true classes; the same ones are empty in all.

    Returns:
        measure -> (...) values.
    """
    there = np.flatnonzero(confusion.sum(-1).reshape(-1, confusion.shape[-1]).any(0))
    hits, images, predictions = (
        counts.take(there, -1)
        for counts in (
            np.diagonal(confusion, axis1=-2, axis2=-1),
            confusion.sum(-1),
            confusion.sum(-2),
        )
    )
    per_class = 100 * hits / images
    return {
        "overall_accuracy": 100 * hits.sum(-1) / images.sum(-1),
        "mean_class_accuracy": per_class.mean(-1),
        "std_class_accuracy": per_class.std(-1),
        "macro_f1": (100 * 2 * hits / (images + predictions)).mean(-1),
    }
