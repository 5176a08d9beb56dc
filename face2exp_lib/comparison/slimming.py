"""What of a finished run a comparison still needs: small enough to keep every run of a study."""

import json
import shutil
from pathlib import Path
from typing import Any

from face2exp_lib.comparison.arms import SIDE_PHASES
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl, write_json, write_text

SIGNALS = "signals.json"
# Of these, tables, curves and the record of where a run comes from are made.
KEPT = (
    "analysis.json",
    "changes.jsonl",
    "config.yaml",
    "environment.json",
    "evaluation-*.json",
    "finished.json",
    "metrics.jsonl",
    "test-readings.jsonl",
    SIGNALS,
)
BULKY = ("confusion_matrix", "class_names")  # of a validation; the classes' accuracies stay


def slim(run_dir: Path) -> None:
    """Delete what only resuming, predicting and looking at single steps take: checkpoints, rows of
    predictions and pseudo labels, and in `metrics.jsonl` the steps without a validation.

    What the steps reported is kept as means, `signals`. A run that is slim already stays as it is.
    """
    checkpoints = run_dir / "checkpoints"
    if not checkpoints.exists():
        return
    write_json(run_dir / SIGNALS, signals(run_dir))  # first: they are of all steps
    validated = [r for r in read_jsonl(run_dir / "metrics.jsonl") if "validation" in r]
    for record in validated:
        for scores in record["validation"].values():
            for key in BULKY:
                scores.pop(key, None)
    write_text(run_dir / "metrics.jsonl", "".join(json.dumps(r) + "\n" for r in validated))
    for path in run_dir.iterdir():
        if path.is_dir() and path != checkpoints:
            shutil.rmtree(path)
        elif path.is_file() and not any(path.match(kept) for kept in KEPT):
            path.unlink()
    shutil.rmtree(checkpoints)  # last: who was killed before this begins again


def signals(run_dir: Path) -> dict[str, float]:
    """Means over the method's own phases of what its steps report, and how often f was negative.

    Raises:
        Face2ExpError: if the run has no step of the method's own.
    """
    if (run_dir / SIGNALS).exists():
        known: dict[str, float] = read_json(run_dir / SIGNALS)
        return known
    path = run_dir / "metrics.jsonl"
    records: list[dict[str, Any]] = [
        r for r in read_jsonl(path) if r.get("phase", "finetune") not in SIDE_PHASES
    ]
    if not records:
        raise Face2ExpError(f"{path}: has no step of the method's own: delete the run and redo it")
    keys = [k for k, v in records[0].items() if isinstance(v, float)]
    found = {key: sum(record[key] for record in records) / len(records) for key in keys}
    if "feedback" in found:
        negative = sum(record["feedback"] < 0 for record in records)
        found["feedback_negative_share"] = negative / len(records)
    return found
