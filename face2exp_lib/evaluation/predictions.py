"""What a network made of every image of an evaluation part, kept beside its evaluation.

Paired tests and figures read this file, so that they need no second reading of the test part.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_bytes


@dataclass(frozen=True)
class Predictions:
    """One network on one labelled part.

    Attributes:
        images: N ids.
        labels: (N,) int64 true class codes.
        probabilities: (N, K) float32, rows sum to 1.
        names: the K class names, in the order of the codes.
        identities: N names of persons, or None.
    """

    images: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    names: tuple[str, ...]
    identities: list[str] | None = None

    @property
    def predicted(self) -> np.ndarray:
        """(N,) int64 codes of the most probable class."""
        return self.probabilities.argmax(1)


def predictions_path(run_dir: Path | str, split: str) -> Path:
    """Where a run keeps its predictions of a part."""
    run_dir = Path(run_dir)
    return run_dir / f"predictions-{split}.parquet"


def write_predictions(path: Path | str, predictions: Predictions) -> None:
    """Write columns image, label, predicted, probabilities and, where known, identity as Parquet.

    Labels are codes; the schema's metadata has `class_names`. An id that is no text (a file's name
    may be any bytes) is written with backslash escapes.

    Raises:
        Face2ExpError: if the folder cannot be written or the disk is full.
    """
    path = Path(path)
    flat = pa.array(predictions.probabilities.ravel(), pa.float32())
    columns = {
        "image": pa.array([as_text(image) for image in predictions.images], pa.string()),
        "label": pa.array(predictions.labels, pa.int8()),
        "predicted": pa.array(predictions.predicted, pa.int8()),
        "probabilities": pa.FixedSizeListArray.from_arrays(flat, len(predictions.names)),
    }
    if predictions.identities is not None:
        columns["identity"] = pa.array([as_text(name) for name in predictions.identities])
    table = pa.table(columns).replace_schema_metadata(
        {"class_names": json.dumps(predictions.names)}
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def read_predictions(path: Path | str) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        Face2ExpError: if the file is missing, cut off or another kind of table.
    """
    path = Path(path)
    try:
        table = pq.read_table(io.BytesIO(path.read_bytes()))
        names = tuple(json.loads(table.schema.metadata[b"class_names"]))
        flat = table["probabilities"].combine_chunks().flatten().to_numpy()
        return Predictions(
            images=table["image"].to_pylist(),
            labels=table["label"].to_numpy().astype(np.int64),
            probabilities=flat.reshape(len(table), len(names)),
            names=names,
            identities=table["identity"].to_pylist() if "identity" in table.column_names else None,
        )
    except FileNotFoundError as error:
        raise Face2ExpError(
            f"{path}: no such file: `face2exp evaluate` writes it beside the evaluation"
        ) from error
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        reason = isinstance(error, OSError) and error.strerror
        raise Face2ExpError(
            f"{path}: no table of predictions, or a damaged one{f' ({reason})' if reason else ''}: "
            "restore it from a copy"
        ) from error


def as_text(name: object) -> str:
    """An id as text that every file can hold, with backslash escapes where it is none."""
    return str(name).encode(errors="backslashreplace").decode()
