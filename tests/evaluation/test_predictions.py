"""Predictions go into a file and come back; damaged files are named."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from face2exp_lib.evaluation.predictions import (
    Predictions,
    predictions_path,
    read_predictions,
    write_predictions,
)
from face2exp_lib.runtime.errors import Face2ExpError

PROBABILITIES = np.array([[0.25, 0.5, 0.25], [0.75, 0.125, 0.125]], np.float32)


def predictions(identities: list[str] | None = None) -> Predictions:
    images = ["a/0.png", "b/1.png"]
    return Predictions(images, np.array([1, 2]), PROBABILITIES, ("x", "y", "z"), identities)


@pytest.mark.parametrize("identities", [None, ["anna", "bert"]])
def test_what_is_written_is_read(tmp_path: Path, identities: list[str] | None) -> None:
    path = predictions_path(tmp_path, "test")
    assert path.name == "predictions-test.parquet"
    write_predictions(path, predictions(identities))
    read = read_predictions(path)
    assert read.images == ["a/0.png", "b/1.png"]
    assert read.labels.tolist() == [1, 2]
    assert read.predicted.tolist() == [1, 0]
    assert np.array_equal(read.probabilities, PROBABILITIES)
    assert read.names == ("x", "y", "z")
    assert read.identities == identities


def test_other_tools_find_plain_columns(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.parquet", predictions())
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["image", "label", "predicted", "probabilities"]
    assert table["predicted"].to_pylist() == [1, 0]
    assert table["probabilities"].to_pylist()[0] == [0.25, 0.5, 0.25]
    assert json.loads(table.schema.metadata[b"class_names"]) == ["x", "y", "z"]


def test_id_that_is_no_text(tmp_path: Path) -> None:
    odd = Predictions(["odd\udcff.png"], np.array([0]), PROBABILITIES[:1], ("x", "y", "z"))
    write_predictions(tmp_path / "p.parquet", odd)
    assert read_predictions(tmp_path / "p.parquet").images == ["odd\\udcff.png"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"p\.parquet: no such file: `face2exp evaluate` wr"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize("damage", ["text", "half", "empty", "columns", "metadata"])
def test_damaged_file(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions())
    if damage in ("columns", "metadata"):
        table = pq.read_table(path)
        table = (
            table.drop_columns("label")
            if damage == "columns"
            else table.replace_schema_metadata(None)
        )
        pq.write_table(table, path)
    else:
        whole = path.read_bytes()
        path.write_bytes({"text": b"text", "half": whole[: len(whole) // 2], "empty": b""}[damage])
    with pytest.raises(
        Face2ExpError,
        match=r"p\.parquet: no table of predictions, or a damaged one: restore it from a copy$",
    ):
        read_predictions(path)
