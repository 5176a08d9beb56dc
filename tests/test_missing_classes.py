"""Sets without one class: every method trains on them, and all that is told names the class."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.cli.main import main
from face2exp_lib.comparison.summary import compare_runs
from face2exp_lib.config import RunConfig
from face2exp_lib.figures.runs import run_replay
from face2exp_lib.figures.style import class_accuracies
from face2exp_lib.methods import METHODS
from face2exp_lib.runs.card import model_card
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training.loop import train

Tiny = Callable[..., RunConfig]


@pytest.fixture
def root(squares_root: Path, tmp_path: Path) -> Path:
    """A data root of one's own."""
    return Path(shutil.copytree(squares_root, tmp_path / "root"))


def without_fear(root: Path, *parts: str) -> None:
    for part in parts:
        shutil.rmtree(root / "squares" / part / "fear")


def strict(path: Path) -> dict[str, Any]:
    """A JSON file that must not hold NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{path}: {name}")

    content: dict[str, Any] = json.loads(path.read_text(), parse_constant=refuse)
    return content


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_without_a_class(
    tiny: Tiny, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    without_fear(root, "train", "test")
    run = tmp_path / "run"
    batches = ("training.batches_fer=class_balanced",) if method != "scn" else ()
    options = ("scn.high_share=0.5", "noisy_student.threshold=0")
    train(tiny(f"method={method}", *options, *batches), run, root)
    told = capsys.readouterr().err
    assert "squares/train (Smp) shows no fear: nothing teaches the network to name it" in told
    assert "squares/test shows no fear: its accuracy is not measured" in told
    evaluate_run(run, "test", root)
    result = strict(run / "evaluation-test.json")
    assert result["missing_classes"] == ["fear"]
    assert len(result["per_class_accuracy"]) == 6
    assert "fear" not in result["intervals"]["per_class_accuracy"]
    assert len(result["confusion_matrix"]) == len(result["class_names"]) == 7
    for record in read_jsonl(run / "metrics.jsonl"):
        for found in record.get("validation", {}).values():
            assert len(found["per_class_accuracy"]) == 6


@pytest.fixture
def run(tiny: Tiny, root: Path, tmp_path: Path) -> Path:
    """A run of Algorithm 1 whose sets show no fear, evaluated."""
    without_fear(root, "train", "test")
    train(tiny(), tmp_path / "run", root)
    evaluate_run(tmp_path / "run", "test", root)
    return tmp_path / "run"


def test_command_line_and_card_name_the_class(
    run: Path, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), "--split", "test", "--data-root", str(root)]) == 0
    out = capsys.readouterr().out
    assert "    fear               no image: not measured, and in no mean\n" in out
    assert "nan" not in out.lower()
    card = model_card(run)
    assert "| fear | 0 | not measured | |" in card
    assert "No image shows fear: the measures are over the other classes." in card
    assert "- **the labelled set shows no fear**: nothing teaches the network to name it" in card
    assert "How well it names fear is unknown" in card
    assert "to measure neutral, happy, surprise, sad, anger, disgust: see" in card  # few images


def test_figures_name_the_class(run: Path) -> None:
    result = strict(run / "evaluation-test.json")
    bar, line = class_accuracies({"meta": result}).data
    assert bar.name == "meta (no image of fear)"
    assert list(bar.x) == list(line.x) == result["class_names"][:-1]
    a, b, shares = run_replay(read_jsonl(run / "metrics.jsonl")).data
    assert list(a.x) == list(shares.x) == result["class_names"]
    assert a.y[-1] is b.y[-1] is None
    assert sum(shares.y) == pytest.approx(100, abs=0.5)


def test_a_comparison_names_the_class(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    found = compare_runs({"meta": [run], "again": [other]}, "meta")
    assert found["missing_classes"] == ["fear"]
    assert (
        list(found["arms"]["meta"]["per_class_accuracy"])
        == strict(run / "evaluation-test.json")["class_names"][:-1]
    )
    assert found["arms"]["again"]["mcnemar"][0]["p"] == 1
