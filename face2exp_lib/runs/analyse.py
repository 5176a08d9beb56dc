"""After a run: were its pseudo labels right, and did f know?

Training never sees the truth about the FR faces. Where there is one, as for rendered faces, it is
joined here to the table of pseudo labels that the run wrote (`telemetry`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.formats.tables import BadRows, read_table
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.sources import below_data_root
from face2exp_lib.evaluation.metrics import count_confusions
from face2exp_lib.evaluation.predictions import as_text
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.training.telemetry import SCHEMA, parts

WINDOWS = 20  # stretches of a run, as many steps each
CONFIDENCE_BINS = 10
RESAMPLES = 1000
LEVEL = 0.95
UNKNOWN = -1  # truth of an image that has none


@dataclass(frozen=True)
class PseudoLabels:
    """A run's table, row by row; R rows.

    Attributes:
        step, pseudo_label: (R,) int64.
        confidence, learner, feedback, image_feedback: (R,) float64, NaN where there is none.
        images: R ids.
        truth: (R,) int64 codes, -1 where unknown; None if nothing is known of any image.
    """

    step: np.ndarray
    pseudo_label: np.ndarray
    confidence: np.ndarray
    learner: np.ndarray
    feedback: np.ndarray
    image_feedback: np.ndarray
    images: list[str]
    truth: np.ndarray | None


def analyse_run(
    run_dir: Path | str, data_root: Path | str | None = None, *, truth: Path | str | None = None
) -> dict[str, Any]:
    """What a run's pseudo labels were worth.

    Args:
        run_dir: its folder.
        data_root: where the config's data lie.
        truth: a csv of image,expression, or image,label as `data draw` writes it; None takes what a
            rendered set keeps beside its images.

    Returns:
        Ready for JSON: `num_rows`, `classes`, `over_time` (a record a window, see `_window`),
        and where the truth is known `per_class` (precision, recall), `confusion` (rows are true
        classes) and `calibration` (accuracy by confidence); where f_i were measured,
        `image_feedback`, see `_image_feedback`.

    Raises:
        Face2ExpError: if the run wrote no such table, or the truth cannot be read.
    """
    run_dir, root = Path(run_dir), Path(data_root) if data_root else None
    if not (run_dir / "config.yaml").is_file():
        raise Face2ExpError(f"{run_dir}: no run directory: `face2exp train` makes one")
    config = load_config(run_dir / "config.yaml")
    names = class_names(config.data.num_classes)
    table = read_pseudo_labels(run_dir, config, root, Path(truth) if truth else None)
    bounds = np.linspace(table.step.min(), table.step.max() + 1, WINDOWS + 1)
    windows = np.digitize(table.step, bounds[1:])
    result: dict[str, Any] = {
        "method": config.method,
        "seed": config.seed,
        "num_rows": len(table.step),
        "num_images": len(set(table.images)),
        "classes": list(names),
        "truth_known": None if table.truth is None else int((table.truth != UNKNOWN).sum()),
        "over_time": [
            _window(table, windows == number, len(names)) for number in np.unique(windows)
        ],
    }
    if table.truth is not None:
        known = table.truth != UNKNOWN
        confusion = count_confusions(table.truth[known], table.pseudo_label[known], len(names))
        right = np.diag(confusion)
        result["per_class"] = {
            name: {
                "precision": _share(right[code], confusion[:, code].sum()),
                "recall": _share(right[code], confusion[code].sum()),
            }
            for code, name in enumerate(names)
        }
        result["confusion"] = confusion.tolist()
        result["calibration"] = _calibration(table, known)
    if not np.isnan(table.image_feedback).all():
        result["image_feedback"] = _image_feedback(table, names)
    return result


def read_pseudo_labels(
    run_dir: Path | str,
    config: RunConfig,
    data_root: Path | str | None,
    truth: Path | str | None = None,
) -> PseudoLabels:
    """A run's table with the truth joined to it.

    Raises:
        Face2ExpError: as `analyse_run`.
    """
    run_dir = Path(run_dir)
    data_root = Path(data_root) if data_root else None
    truth = Path(truth) if truth else None
    files = parts(run_dir)
    if not files:
        raise Face2ExpError(
            f"{run_dir}: no table of pseudo labels: method {config.method} makes none, or "
            "telemetry.pseudo_labels was off, or no checkpoint was reached"
        )
    try:
        table = pa.concat_tables(pq.read_table(path, schema=SCHEMA) for path in files)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise Face2ExpError(
            f"{files[0].parent}: a file of it is not readable as a table of pseudo labels: restore "
            "it from a copy, or train again"
        ) from error
    images = table["image"].to_pylist()
    known = _truth(config, data_root, truth)
    codes = None
    if known is not None:
        codes = np.array([known.get(image, UNKNOWN) for image in images], dtype=np.int64)
        if (codes == UNKNOWN).all():
            raise Face2ExpError(f"{truth or 'the truth'}: names none of the run's images")

    def column(name: str) -> np.ndarray:
        return table[name].cast(pa.float64()).to_numpy(zero_copy_only=False)

    return PseudoLabels(
        step=column("step").astype(np.int64),
        pseudo_label=column("pseudo_label").astype(np.int64),
        confidence=column("confidence"),
        learner=column("learner"),
        feedback=column("feedback"),
        image_feedback=column("image_feedback"),
        images=images,
        truth=codes,
    )


def _truth(config: RunConfig, data_root: Path | None, path: Path | None) -> dict[str, int] | None:
    """Image to true class code, or None where nothing is known."""
    if path is None:
        source = config.data.unlabelled
        if source is None or source.format != "rendered":
            return None
        folder = below_data_root(source.path, data_root) if source.path else None
        path = (folder or shipped("data/rendered")) / f"{source.part}_truth.csv"
        if not path.exists():
            return None
    found: dict[str, int] = {}
    bad = BadRows(skip_bad=False)
    columns, also = {"image", "expression"}, {"label": "expression"}  # as `data draw` calls it
    for line, row in read_table(path, columns, bad, also=also, remarks=True):
        image, where = as_text(row["image"]), f"{path}, line {line}"
        label = bad.label(row["expression"], "names", image, where)
        if label is None:
            continue
        if found.setdefault(image, label) != label:
            raise Face2ExpError(f"{where}: {image} has another label further up: delete one row")
    return found


def _window(table: PseudoLabels, rows: np.ndarray, num_classes: int) -> dict[str, Any]:
    """A stretch of steps: `pseudo_labels` (share of each class), means of `confidence`,
    `agreement` (of the network that learns the labels) and `feedback` (f), the share of steps
    where f is negative; with the truth `confusion`, `accuracy`, `mean_class_accuracy` (recall) and
    `accuracy_agreed`, of the labels that both networks gave."""
    step, labels = table.step[rows], table.pseudo_label[rows]
    agreed = table.learner[rows] == labels
    _, first = np.unique(step, return_index=True)
    f = table.feedback[rows][first]
    found: dict[str, Any] = {
        "first_step": int(step.min()),
        "last_step": int(step.max()),
        "pseudo_labels": (np.bincount(labels, minlength=num_classes) / len(labels)).tolist(),
        "confidence": _mean(table.confidence[rows]),
        "agreement": None if np.isnan(table.learner[rows]).all() else float(agreed.mean()),
        "feedback": _mean(f),
        "feedback_negative_share": None if np.isnan(f).any() else float((f < 0).mean()),
    }
    if table.truth is not None:
        truth = table.truth[rows]
        known = truth != UNKNOWN
        right = truth == labels
        recalls = [_mean(right[truth == code]) for code in range(num_classes)]
        measured = [recall for recall in recalls if recall is not None]
        found["confusion"] = count_confusions(truth[known], labels[known], num_classes).tolist()
        found["accuracy"] = _mean(right[known])
        found["mean_class_accuracy"] = float(np.mean(measured)) if measured else None
        found["accuracy_agreed"] = _mean(right[known & agreed])
    return found


def _calibration(table: PseudoLabels, known: np.ndarray) -> list[dict[str, Any]]:
    """Bins of confidence: how many labels, how confident, how many of them right."""
    assert table.truth is not None
    right = (table.truth == table.pseudo_label)[known]
    confidence = table.confidence[known]
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(np.int64), CONFIDENCE_BINS - 1)
    return [
        {
            "labels": int((bins == number).sum()),
            "confidence": _mean(confidence[bins == number]),
            "accuracy": _mean(right[bins == number]),
        }
        for number in range(CONFIDENCE_BINS)
        if (bins == number).any()
    ]


def _image_feedback(table: PseudoLabels, names: tuple[str, ...]) -> dict[str, Any]:
    """f_i of the measured steps: `largest_error` between their mean and f, means by pseudo class,
    and with the truth the means of right and wrong labels, their difference with an interval
    (bootstrap over steps), and `auc`, how often a right label has the larger f_i of a pair."""
    rows = ~np.isnan(table.image_feedback)
    step, label, f_i = table.step[rows], table.pseudo_label[rows], table.image_feedback[rows]
    _, first, number = np.unique(step, return_index=True, return_inverse=True)
    means = np.bincount(number, f_i) / np.bincount(number)
    found: dict[str, Any] = {
        "num_steps": len(first),
        "num_images": int(rows.sum()),
        "largest_error": float(np.abs(means - table.feedback[rows][first]).max()),
        "negative_share": float((f_i < 0).mean()),
        "by_pseudo_class": {
            name: {"images": int((label == code).sum()), "mean": _mean(f_i[label == code])}
            for code, name in enumerate(names)
        },
    }
    if table.truth is None:
        return found
    truth = table.truth[rows]
    known = truth != UNKNOWN
    right = (truth == label)[known]
    if right.all() or not right.any():
        return found
    number, f_i = number[known], f_i[known]
    sums = np.stack(  # (4, steps): of f_i and of ones, right and wrong
        [
            np.bincount(number, weights, minlength=len(first))
            for weights in (right * f_i, right * 1.0, ~right * f_i, ~right * 1.0)
        ]
    )
    drawn = np.random.default_rng(0).integers(len(first), size=(RESAMPLES, len(first)))
    differences = _difference(sums[:, drawn].sum(2))
    tail = (1 - LEVEL) / 2
    found |= {
        "right": _mean(f_i[right]),
        "wrong": _mean(f_i[~right]),
        "difference": float(_difference(sums.sum(1))),
        "difference_interval": np.nanquantile(differences, [tail, 1 - tail]).tolist(),
        "auc": float(roc_auc_score(right, f_i)),
        "right_share": float(right.mean()),
    }
    return found


def _difference(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # a draw without a wrong label has no difference
        difference: np.ndarray = sums[0] / sums[1] - sums[2] / sums[3]
    return difference


def _mean(values: np.ndarray) -> float | None:
    return None if len(values) == 0 or np.isnan(values).any() else float(values.mean())


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
