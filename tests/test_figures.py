"""Figures show the numbers of the results they are given."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from face2exp_lib.figures import (
    CLASS_COLOURS,
    class_accuracies,
    class_counts_figure,
    confusion,
    expression_sheet,
    face_rows,
    feedback_history,
    training_replay,
)
from face2exp_lib.labels import class_names


def evaluation(*values: float) -> dict[str, object]:
    names = class_names(7)[: len(values)]
    return {
        "per_class_accuracy": dict(zip(names, values, strict=True)),
        "mean_class_accuracy": sum(values) / len(values),
    }


def test_class_accuracies() -> None:
    figure = class_accuracies({"meta": evaluation(50, 100), "base": evaluation(25.126, 50)})
    bars = [trace for trace in figure.data if isinstance(trace, go.Bar)]
    lines = [trace for trace in figure.data if isinstance(trace, go.Scatter)]
    assert [bar.name for bar in bars] == ["meta", "base"]
    assert list(bars[0].x) == ["neutral", "happy"]
    assert [list(bar.y) for bar in bars] == [[50, 100], [25.13, 50]]
    assert [line.y[0] for line in lines] == [75, 37.56]
    assert lines[0].name == "meta: class mean 75.0"


def test_no_run_is_dropped_however_many_there_are() -> None:
    figure = class_accuracies({f"run{i}": evaluation(i, i) for i in range(6)})
    bars = [trace.name for trace in figure.data if isinstance(trace, go.Bar)]
    assert bars == [f"run{i}" for i in range(6)]
    parts = class_counts_figure({f"part{i}": {"happy": 1} for i in range(6)})
    assert len(parts.data) == 6


def test_class_counts_are_shares() -> None:
    figure = class_counts_figure({"train": {"happy": 3000, "fear": 1000}})
    (bar,) = figure.data
    assert bar.name == "train (4,000 images)"
    assert list(bar.x) == ["happy", "fear"]
    assert list(bar.y) == [75, 25]


def test_confusion_in_percent_of_each_true_class() -> None:
    figure = confusion(
        {"confusion_matrix": [[3, 1], [0, 8]], "class_names": ["happy", "fear"]}, "Title"
    )
    (heatmap,) = figure.data
    assert [list(row) for row in heatmap.z] == [[75, 25], [0, 100]]
    assert list(heatmap.x) == list(heatmap.y) == ["happy", "fear"]
    assert figure.layout.title.text == "Title"
    assert figure.layout.yaxis.title.text == "true"
    assert figure.layout.yaxis.autorange == "reversed"  # the first class is at the top


def meta_records(num_steps: int, eval_every: int) -> list[dict[str, object]]:
    """Pseudo labels: one neutral and three happy each step. A's accuracy is the step's number."""
    records: list[dict[str, object]] = [{"step": 0, "phase": "warm_start", "loss_s": 1.0}]
    for step in range(1, num_steps + 1):
        record: dict[str, object] = {
            "step": step,
            "phase": "meta",
            "feedback": 0.001 * step,
            "pseudo_labels": [1, 3],
        }
        if step % eval_every == 0:
            per_class = dict.fromkeys(class_names(7), float(step))
            record["validation"] = {"adaptation": {"per_class_accuracy": per_class}}
        records.append(record)
    records.append(
        {"step": num_steps + 1, "validation": {"adaptation": {"per_class_accuracy": {}}}}
    )
    return records


def test_replay_has_a_slider_step_for_each_frame() -> None:
    figure = training_replay(meta_records(20, 5))
    names = ["6", "11", "16", "21"]  # steps done when it was validated
    assert [frame.name for frame in figure.frames] == names
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == names
    assert [list(step.args[0]) for step in slider.steps] == [[name] for name in names]
    assert all(step.method == "animate" for step in slider.steps)


def test_replay_shows_accuracies_and_shares_of_pseudo_labels() -> None:
    figure = training_replay(meta_records(20, 5))
    for traces, accuracy in (
        (figure.data, 5),
        *((frame.data, 5 * (i + 1)) for i, frame in enumerate(figure.frames)),
    ):
        bars, shares = traces
        assert list(bars.x) == list(shares.x) == list(class_names(7))
        assert list(bars.y) == [accuracy] * 7
        assert list(shares.y) == [25, 75, 0, 0, 0, 0, 0]
        assert list(bars.marker.color) == [CLASS_COLOURS[name] for name in class_names(7)]


@pytest.mark.parametrize(("validations", "frames"), [(30, 12), (13, 12), (12, 12), (3, 3), (1, 1)])
def test_replay_thins_out_many_validations_but_keeps_the_ends(
    validations: int, frames: int
) -> None:
    figure = training_replay(meta_records(validations, 1))
    assert len(figure.frames) == frames
    assert figure.frames[0].name == "2"
    assert figure.frames[-1].name == str(validations + 1)
    assert len(figure.layout.sliders[0].steps) == frames


def test_feedback_history_with_its_running_mean() -> None:
    figure = feedback_history(meta_records(30, 100))
    points, mean = figure.data
    assert list(points.x) == list(range(1, 31))
    assert points.y[0] == 0.001
    assert points.y[29] == 0.03
    assert mean.name == "mean of 25 steps"
    assert list(mean.x) == list(range(25, 31))
    assert mean.y[0] == pytest.approx(0.013)  # the mean of 0.001 to 0.025
    assert mean.y[-1] == pytest.approx(0.018)


def test_feedback_history_of_a_short_run() -> None:
    points, mean = feedback_history(meta_records(3, 100)).data
    assert len(points.x) == 3
    assert list(mean.x) == [3]
    assert mean.y[0] == pytest.approx(0.002)


def test_records_of_the_baseline_have_nothing_to_show() -> None:
    records = [{"step": 0, "loss_s": 1.0, "validation": {"base": {"per_class_accuracy": {}}}}]
    with pytest.raises(ValueError, match="no validation with pseudo labels in these records"):
        training_replay(records)
    with pytest.raises(ValueError, match="no feedback in these records: not a meta run"):
        feedback_history(records)


def test_face_rows() -> None:
    """Two rows of three faces of 4 px: 12 px wide, 8 px high, the rows named at their middles."""
    dark, light = torch.zeros(3, 3, 4, 4, dtype=torch.uint8), torch.full((3, 3, 4, 4), 255)
    figure = face_rows({"dark": dark, "light": light.to(torch.uint8)})
    (image,) = figure.data
    head, _, content = image.source.partition(",")
    assert head == "data:image/webp;base64"
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert sheet.shape == (8, 12, 3)
    assert sheet[:3].max() < 20
    assert sheet[5:].min() > 235
    assert list(figure.layout.yaxis.ticktext) == ["dark", "light"]
    assert list(figure.layout.yaxis.tickvals) == [2, 6]


def sheet_figure() -> go.Figure:
    """Three sheets of two rows and three columns of 4 px faces, each sheet of one grey."""
    greys = {"0": 0, "half": 128, "1": 255}
    return expression_sheet(
        {label: np.full((2, 3, 4, 4, 3), grey, np.uint8) for label, grey in greys.items()},
        {
            label: [[f"{label} {row}{column}" for column in "abc"] for row in "xy"]
            for label in greys
        },
        rows=["x", "y"],
        columns=["a", "b", "c"],
        prefix="intensity ",
    )


def test_each_step_of_a_sheet_shows_one_picture_and_its_notes() -> None:
    figure = sheet_figure()
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == ["0", "half", "1"]
    for index, (step, grey) in enumerate(zip(slider.steps, (0, 128, 255), strict=True)):
        assert step.method == "restyle"
        shown = [
            trace for trace, on in zip(figure.data, step.args[0]["visible"], strict=True) if on
        ]
        picture, notes = shown
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.source.split(",")[1]))))
        assert pixels.shape == (8, 12, 3)
        assert abs(int(pixels.mean()) - grey) < 3
        assert notes.hovertext[0] == f"{slider.steps[index].label} xa"
    assert slider.active == 2
    assert [trace.visible for trace in figure.data] == [False] * 4 + [True] * 2


def test_notes_of_a_sheet_lie_over_their_faces() -> None:
    figure = sheet_figure()
    notes = figure.data[1]
    places = dict(zip(notes.hovertext, zip(notes.x, notes.y, strict=True), strict=True))
    assert places["0 xa"] == (2, 2)
    assert places["0 xc"] == (10, 2)
    assert places["0 yb"] == (6, 6)
    assert list(figure.layout.xaxis.ticktext) == ["a", "b", "c"]
    assert list(figure.layout.yaxis.tickvals) == [2, 6]


def test_faces_of_a_sheet_lie_in_their_rows_and_columns() -> None:
    faces = np.zeros((2, 3, 8, 8, 3), np.uint8)
    faces[1, 2] = 255
    figure = expression_sheet(
        {"1": faces}, {"1": [[""] * 3] * 2}, rows=["x", "y"], columns=["a", "b", "c"], prefix=""
    )
    source = figure.data[0].source.split(",")[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    assert pixels[9:, 17:].min() > 235
    assert max(pixels[:7].max(), pixels[:, :15].max()) < 20


def test_each_class_has_a_colour_of_its_own() -> None:
    assert list(CLASS_COLOURS) == list(class_names(8))
    assert len(set(CLASS_COLOURS.values())) == 8
