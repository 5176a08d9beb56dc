"""Analyses of tables worked out by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from face2exp_lib.cli.main import main
from face2exp_lib.config import RunConfig, dump_config
from face2exp_lib.data.lists import write_draw
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.analysis import (
    image_feedback_figure,
    pseudo_confusions,
    pseudo_label_figure,
)
from face2exp_lib.runs.analyse import analyse_run
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train
from face2exp_lib.training.telemetry import FOLDER, SCHEMA

Tiny = Callable[..., RunConfig]
# Two steps of four images; a and b are happy, c and d sad.
ROWS: dict[str, list[Any]] = {
    "step": [0] * 4 + [1] * 4,
    "phase": ["meta"] * 8,
    "image": ["a", "b", "c", "d", "a", "b", "c", "d"],
    "pseudo_label": [1, 1, 1, 1, 1, 1, 3, 1],
    "confidence": [0.25, 0.75, 0.25, 0.75, 0.95, 0.95, 0.95, 0.95],
    "learner": [1, 1, 1, 3, 1, 1, 3, 1],
    "feedback": [0.1] * 4 + [-0.1] * 4,
    "image_feedback": [0.3, 0.2, 0.1, -0.2, 0.1, -0.1, 0.0, -0.4],
}
EXPRESSIONS = ("happy", "happy", "sad", "sad")
TRUTH = "image,expression\na,happy\nb,happy\nc,sad\nd,sad\n"


@pytest.fixture
def run(tmp_path: Path, tiny: Tiny) -> Path:
    folder = tmp_path / "run"
    (folder / FOLDER).mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(tiny()))
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH)
    return path


def write(run: Path, **columns: list[Any]) -> None:
    rows = ROWS | columns
    arrays = [pa.array(rows[field.name]) for field in SCHEMA]
    cast = [
        (values.dictionary_encode() if field.name == "phase" else values).cast(field.type)
        for values, field in zip(arrays, SCHEMA, strict=True)
    ]
    pq.write_table(pa.table(cast, schema=SCHEMA), run / FOLDER / "before-step-00000002.parquet")


def test_windows_by_hand(run: Path, truth: Path) -> None:
    write(run)
    result = analyse_run(run, truth=truth)
    json.dumps(result, allow_nan=False)
    first, last = result["over_time"]
    assert (first["first_step"], last["last_step"]) == (0, 1)
    assert (first["accuracy"], last["accuracy"]) == (0.5, 0.75)
    # recalls: happy 1, sad 0, then 1 and 1/2; no other class is there
    assert (first["mean_class_accuracy"], last["mean_class_accuracy"]) == (0.5, 0.75)
    assert (first["agreement"], last["agreement"]) == (0.75, 1)
    assert first["accuracy_agreed"] == pytest.approx(2 / 3)  # a and b right, c wrong
    assert first["pseudo_labels"][1] == 1
    assert (first["confidence"], first["feedback"]) == (pytest.approx(0.5), pytest.approx(0.1))
    assert (first["feedback_negative_share"], last["feedback_negative_share"]) == (0, 1)


def test_classes_and_calibration_by_hand(run: Path, truth: Path) -> None:
    write(run)
    result = analyse_run(run, truth=truth)
    happy, sad = result["per_class"]["happy"], result["per_class"]["sad"]
    assert (happy["precision"], happy["recall"]) == (pytest.approx(4 / 7), 1)
    assert (sad["precision"], sad["recall"]) == (1, 0.25)
    assert result["per_class"]["fear"] == {"precision": None, "recall": None}
    assert np.sum(result["confusion"]) == 8
    bins = result["calibration"]
    assert [one["labels"] for one in bins] == [2, 2, 4]
    assert [one["accuracy"] for one in bins] == [0.5, 0.5, 0.75]


def test_image_feedback_by_hand(run: Path, truth: Path) -> None:
    """Right: 0.3, 0.2, 0.1, -0.1, 0.0, mean 0.1; wrong: 0.1, -0.2, -0.4. Of the 15 pairs the right
    one is above in 5 + 5 + 2 (above 0.1) and level with it in 1: 12.5 / 15."""
    write(run)
    found = analyse_run(run, truth=truth)["image_feedback"]
    assert found["largest_error"] == pytest.approx(0, abs=1e-7)
    assert found["right"] == pytest.approx(0.1)
    assert found["wrong"] == pytest.approx(-0.5 / 3)
    assert found["difference"] == pytest.approx(0.1 + 0.5 / 3)
    assert found["auc"] == pytest.approx(12.5 / 15)
    assert found["by_pseudo_class"]["sad"] == {"images": 1, "mean": 0.0}
    # by step: 0.25 - -0.05 and 0 - -0.4, so a draw of one of them alone gives 0.3 or 0.4
    assert found["difference_interval"] == [pytest.approx(0.1 + 0.5 / 3), pytest.approx(0.4)]


def test_without_truth_the_rest_is_told(run: Path) -> None:
    write(run)
    result = analyse_run(run)
    assert result["truth_known"] is None
    assert "accuracy" not in result["over_time"][0]
    assert "auc" not in result["image_feedback"]


@pytest.mark.parametrize(
    "head",
    [
        "image,label", "image,label,part", "Image, Expression", " IMAGE ,Label ",
        "# set: people\n# seed: 3\nimage,label", "\ufeffimage,expression", "image,label,expression",
    ],
)  # fmt: skip
def test_the_truth_as_a_draw_has_it(run: Path, truth: Path, head: str) -> None:
    write(run)
    expected = analyse_run(run, truth=truth)
    last = head.splitlines()[-1].count(",") - 1
    rows = (
        f"{image},{name}{(',' + name) * last}"
        for image, name in zip("abcd", EXPRESSIONS, strict=True)
    )
    truth.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    assert analyse_run(run, truth=truth) == expected


def test_the_truth_that_draw_wrote(run: Path, tmp_path: Path) -> None:
    faces = FaceSet(
        "people", FileImages(tmp_path, list("abcd")), np.arange(4), np.array([1, 1, 3, 3])
    )
    write_draw(tmp_path / "draw.csv", {"train": faces}, {"set": "people"})
    write(run)
    result = analyse_run(run, truth=tmp_path / "draw.csv")
    assert result["truth_known"] == 8
    assert result["over_time"][0]["accuracy"] == 0.5


def test_truth_that_is_none_of_the_classes(run: Path, truth: Path) -> None:
    """All faces show contempt, which a run of seven classes never names."""
    truth.write_text("image,expression\n" + "".join(f"{image},contempt\n" for image in "abcd"))
    write(run)
    result = analyse_run(run, truth=truth)
    assert result["over_time"][0]["accuracy"] == 0
    assert np.sum(result["confusion"]) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,emotion\na,happy\n", "column 'expression' is missing: its first line has to name"),
        ("image,label\na,glee\n", r"truth\.csv, line 2: unknown label 'glee'"),
        ("# x\nimage,label\na,happy\na,sad\n", "line 4: a has another label further up: delete"),
    ],
)
def test_a_truth_that_cannot_be_used(run: Path, truth: Path, content: str, message: str) -> None:
    write(run)
    truth.write_text(content)
    with pytest.raises(Face2ExpError, match=message):
        analyse_run(run, truth=truth)


def test_images_without_truth_do_not_count(run: Path, truth: Path) -> None:
    truth.write_text("image,expression\na,happy\nc,sad\n")
    write(run)
    result = analyse_run(run, truth=truth)
    assert result["truth_known"] == 4
    assert result["over_time"][0]["accuracy"] == 0.5
    assert np.sum(result["confusion"]) == 4


def test_a_method_without_learner_and_feedback(run: Path, truth: Path) -> None:
    nothing = [None] * 8
    floats = pa.array(nothing, pa.float32()).to_pylist()
    write(run, learner=floats, feedback=floats, image_feedback=floats)
    result = analyse_run(run, truth=truth)
    assert "image_feedback" not in result
    assert result["over_time"][0]["agreement"] is None
    assert result["over_time"][0]["feedback"] is None


def test_mistakes_are_named(run: Path, truth: Path, tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no table of pseudo labels: method meta makes none"):
        analyse_run(run)
    with pytest.raises(Face2ExpError, match="no run directory"):
        analyse_run(tmp_path)
    write(run)
    truth.write_text("image,expression\nx,happy\n")
    with pytest.raises(Face2ExpError, match=r"truth.csv: names none of the run's images"):
        analyse_run(run, truth=truth)
    (run / FOLDER / "before-step-00000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(Face2ExpError, match="pseudo_labels: a file of it is not readable") as told:
        analyse_run(run)
    assert "Parquet" not in str(told.value)


def test_figures_show_the_numbers(run: Path, truth: Path) -> None:
    write(run)
    result = analyse_run(run, truth=truth)
    figure = pseudo_label_figure(result)
    assert list(figure.data[0].y) == [50, 75]
    bars = image_feedback_figure(result).data[0]
    assert list(bars.x) == ["happy", "sad"]


def test_rendered_faces_know_their_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command on a run of the embedded faces; its own file of the truth, joined by image."""
    from face2exp_lib.config import load_config

    steps = ["training.num_steps=2", "training.warm_start_steps=1", "training.finetune_steps=1"]
    config = load_config(
        Path("rendered_cpu.yaml"), [*steps, "telemetry.image_feedback_every=1", "data.per_class=4"]
    )
    run = tmp_path / "run"
    train(config, run, None)
    assert main(["analyse", str(run), "--html", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert "64 pseudo labels of 64 images" in out
    assert "f_i of 64 images in 2 steps" in out
    result = json.loads((run / "analysis.json").read_text())
    assert result["truth_known"] == 64
    assert result["image_feedback"]["largest_error"] < 1e-5
    assert "plotly" in (tmp_path / "a.html").read_text()


def test_confusions_of_each_window() -> None:
    window = {"first_step": 3, "last_step": 5, "accuracy": 0.5, "confusion": [[1, 1], [0, 4]]}
    figure = pseudo_confusions({"classes": list(class_names(7)[:2]), "over_time": [window]})
    assert [list(row) for row in figure.data[0].z] == [[50, 50], [0, 100]]
    assert figure.layout.title.text == "50 % of the pseudo labels are right"
    assert figure.frames[0].name == "3 to 5"
