"""Accuracies from a confusion matrix (paper 4.1)."""

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
    per_class = 100 * np.diag(confusion) / totals
    return {
        "overall_accuracy": float(100 * np.trace(confusion) / totals.sum()),
        "mean_class_accuracy": float(per_class.mean()),
        "std_class_accuracy": float(per_class.std()),
        "per_class_accuracy": dict(zip(names, per_class.tolist(), strict=True)),
        "confusion_matrix": confusion.tolist(),
        "class_names": list(names),
    }
