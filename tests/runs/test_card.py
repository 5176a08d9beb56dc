"""A card says what the run's files say, and what it must say whatever they say."""

import json
import shutil
from pathlib import Path

import pytest

from face2exp_lib.runs.card import model_card
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.errors import Face2ExpError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path, squares_root: Path) -> Path:
    """An evaluated run of one's own."""
    folder = Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))
    evaluate_run(folder, "test", squares_root)
    return folder


def test_figures_are_those_of_the_evaluation(run: Path) -> None:
    card = model_card(run)
    result = json.loads((run / "evaluation-test.json").read_text())
    low, high = result["intervals"]["bootstrap"]["mean_class_accuracy"]
    mean = result["mean_class_accuracy"]
    assert f"| {mean:.1f} | {low:.1f} to {high:.1f} |" in card
    for name, accuracy in result["per_class_accuracy"].items():
        low, high = result["intervals"]["per_class_accuracy"][name]
        assert f"| {name} | 3 | {accuracy:.1f} | {low:.1f} to {high:.1f} |" in card
    assert "Labels used: 35 (21 to train, 14 to choose the checkpoint)" in card
    assert "The test part was read once" in card
    assert "Fewer than 100 images were there to measure neutral, happy" in card
    assert "Results on the validation part" not in card


def test_data_environment_and_config_are_the_run_s(run: Path) -> None:
    card = model_card(run)
    record = json.loads((run / "data.json").read_text())
    for found in record["sets"].values():
        assert f"| {found['num_images']:,} | `{found['digest']}` |" in card
    assert "- left out of the labelled set: 2 (copies of test images)" in card
    environment = json.loads((run / "environment.json").read_text())
    assert f"torch {environment['packages']['torch']}" in card
    assert (run / "config.yaml").read_text().rstrip() in card
    assert card.count("```") == 2


def test_every_card_warns(run: Path) -> None:
    card = " ".join(model_card(run).split())
    for text in (
        "Regulation (EU) 2024/1689",
        "Article 5(1)(f), prohibits AI systems that infer emotions of people at work and in educ",
        "except for medical or safety reasons",
        "Out of scope: deciding anything about a person",
        "Nothing was measured by age, sex, skin colour",
        "The training began with random weights",
        "LFW: public, for research",
    ):
        assert text in card


def test_validation_figures_are_marked(run: Path, squares_root: Path) -> None:
    evaluate_run(run, "val", squares_root)
    assert "These images chose the checkpoint: the figures flatter it." in model_card(run)


def test_more_than_one_reading_is_told(run: Path, squares_root: Path) -> None:
    (run / "evaluation-test.json").unlink()
    evaluate_run(run, "test", squares_root, flip=True)
    card = model_card(run)
    assert "read **2 times: the last figures were not its first**" in card
    assert "made from the image and its mirror image, averaged" in card


def test_run_of_an_earlier_version(run: Path) -> None:
    """Without a record of its data, and with an evaluation as it was written then."""
    shutil.copy(Path(__file__).parent / "earlier_evaluation.json", run / "evaluation-test.json")
    (run / "data.json").unlink()
    (run / "environment.json").unlink()
    card = model_card(run)
    assert "kept no record of its data" in card
    assert "images within classes anew" in card


def test_mistakes_are_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no run directory: `face2exp train` makes one"):
        model_card(tmp_path)
    (run / "evaluation-test.json").unlink()
    with pytest.raises(Face2ExpError, match="run: not evaluated: run `face2exp evaluate"):
        model_card(run)
    (run / "finished.json").unlink()
    with pytest.raises(Face2ExpError, match="the run has not finished: a card is about a finished"):
        model_card(run)
