"""The content of an evaluation file, and of those that earlier versions wrote."""

import json
from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.evaluation.metrics import (
    EVALUATION_KEYS,
    completed,
    evaluate_predictions,
    read_evaluation,
)
from face2exp_lib.evaluation.predictions import Predictions
from face2exp_lib.runtime.errors import Face2ExpError

ROOT = Path(__file__).parents[2]
EARLIER = ROOT / "tests" / "runs" / "earlier_evaluation.json"  # written before there were intervals
RESULTS = [EARLIER, *sorted((ROOT / "results").rglob("evaluation-test.json"))]


def predictions(identities: list[str] | None) -> Predictions:
    """20 persons show 2 classes; every fourth image is wrong."""
    labels = np.tile([0, 1], 20)
    predicted = np.where(np.arange(40) % 4 == 0, 1 - labels, labels)
    images = [str(number) for number in range(40)]
    return Predictions(images, labels, np.eye(2)[predicted], ("a", "b"), identities)


def test_a_set_without_a_class_names_it() -> None:
    found = predictions(None)
    labels = np.where(found.labels == 1, 2, 0)
    probabilities = np.eye(3, dtype=np.float32)[np.where(found.predicted == 1, 2, 0)]
    result = evaluate_predictions(Predictions(found.images, labels, probabilities, ("a", "b", "c")))
    assert result["missing_classes"] == ["b"]
    assert list(result["per_class_accuracy"]) == ["a", "c"]
    assert list(result["intervals"]["per_class_accuracy"]) == ["a", "c"]
    assert result["mean_class_accuracy"] == 75  # as of the two alone
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    "damage",
    [
        {"confusion_matrix": [[1, 2], [3]]},
        {"confusion_matrix": None},
        {"confusion_matrix": [[1]]},
        {"class_names": 3},
        {"per_class_accuracy": None},
    ],
)
def test_a_damaged_evaluation_is_named(tmp_path: Path, damage: dict[str, object]) -> None:
    path = tmp_path / "evaluation-test.json"
    whole = evaluate_predictions(predictions(None))
    of_run = {"method": "meta", "num_images": 40, "label_budget": {}}
    for content in ({**whole, "flip": False},):
        path.write_text(json.dumps({**of_run, **content}))
        assert read_evaluation(path)["intervals"]["level"] == 0.95
        path.write_text(json.dumps({**of_run, **content, **damage}))
        with pytest.raises(Face2ExpError, match=r"json: no evaluation, or damaged: delete it and"):
            read_evaluation(path)


def test_intervals_beside_the_measures() -> None:
    result = evaluate_predictions(predictions(None))
    assert result["mean_class_accuracy"] == 75  # a: 10 of 20, b: all
    assert result["macro_f1"] == pytest.approx(100 * (20 / 30 + 40 / 50) / 2)
    intervals = result["intervals"]
    assert intervals["level"] == 0.95
    for name, accuracy in result["per_class_accuracy"].items():
        low, high = intervals["per_class_accuracy"][name]
        assert low <= accuracy <= high
    assert intervals["bootstrap"]["unit"] == "image"
    low, high = intervals["bootstrap"]["mean_class_accuracy"]
    assert low < 75 < high
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_known_persons_are_drawn_whole() -> None:
    persons = [f"person{number // 2}" for number in range(40)]
    bootstrap = evaluate_predictions(predictions(persons))["intervals"]["bootstrap"]
    assert (bootstrap["unit"], bootstrap["num_units"]) == ("identity", 20)


def test_one_person_is_too_few_to_draw() -> None:
    bootstrap = evaluate_predictions(predictions(["anna"] * 40))["intervals"]["bootstrap"]
    assert bootstrap["unit"] == "image"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_results_read_as_they_are(path: Path) -> None:
    stored = json.loads(path.read_text())
    read = completed(stored)
    assert read.items() >= stored.items()
    low, high = read["intervals"]["bootstrap"]["mean_class_accuracy"]
    assert low < stored["mean_class_accuracy"] < high
    assert 0 < read["macro_f1"] < 100


def test_a_file_that_lacks_an_entry(tmp_path: Path) -> None:
    stored = json.loads(EARLIER.read_text())
    assert stored.keys() >= set(EVALUATION_KEYS)
    path = tmp_path / "evaluation-test.json"
    path.write_text(json.dumps(stored))
    assert read_evaluation(path) == completed(stored)
    del stored["confusion_matrix"]
    path.write_text(json.dumps(stored))
    with pytest.raises(Face2ExpError, match=r"evaluation-test\.json: .*no 'confusion_matrix'"):
        read_evaluation(path)
