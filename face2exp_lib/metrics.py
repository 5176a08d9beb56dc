"""Accuracies and F1 from a confusion matrix (paper 4.1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from face2exp_lib.errors import Face2ExpError


def count_confusions(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix as counts: rows are true classes, columns are predictions. (K, K) int64."""
    return confusion_matrix(y_true, y_pred, labels=np.arange(num_classes)).astype(np.int64)


def accuracies(confusion: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What the paper measures, in percent, from counts.

    `mean_class_accuracy` weighs every class alike; `std_class_accuracy` is the population standard
    deviation over the classes, the paper's measure of bias; `overall_accuracy` weighs every image
    alike and so hides a collapsed rare class.

    Args:
        confusion: (K, K) counts, rows are true classes.
        names: the K class names.

    Raises:
        Face2ExpError: if a class has no image, for then its accuracy does not exist.
    """
    totals = confusion.sum(1)
    if (totals == 0).any():
        empty = ", ".join(name for name, n in zip(names, totals, strict=True) if n == 0)
        raise Face2ExpError(f"no image of class {empty} to evaluate: the class mean is undefined")
    of_paper = {key: float(value) for key, value in measures(confusion).items()}
    del of_paper["macro_f1"]
    per_class = 100 * np.diag(confusion) / totals
    return {
        **of_paper,
        "per_class_accuracy": dict(zip(names, per_class.tolist(), strict=True)),
        "confusion_matrix": confusion.tolist(),
        "class_names": list(names),
    }


def measures(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """The measures that sum up one confusion matrix or many, in percent.

    `macro_f1` is the mean over the classes of 2 hits / (images + predictions) of the class.

    Args:
        confusion: (..., K, K) counts, rows are true classes; no row is empty.

    Returns:
        measure -> (...) values.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    images, predictions = confusion.sum(-1), confusion.sum(-2)
    per_class = 100 * hits / images
    return {
        "overall_accuracy": 100 * hits.sum(-1) / images.sum(-1),
        "mean_class_accuracy": per_class.mean(-1),
        "std_class_accuracy": per_class.std(-1),
        "macro_f1": (100 * 2 * hits / (images + predictions)).mean(-1),
    }
