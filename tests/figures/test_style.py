"""Figures show the numbers of the results they are given."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image

from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.style import (
    CLASS_COLOURS,
    class_accuracies,
    class_counts_figure,
    expression_sheet,
    face_rows,
)


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
