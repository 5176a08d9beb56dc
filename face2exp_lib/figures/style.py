"""Plotly figures of results. They read what runs wrote and never train.

Colours are Okabe and Ito's eight, which people with colour-blindness tell apart; each class keeps
its colour and place in every figure.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from PIL import Image

from face2exp_lib.data.sets.labels import class_names

CLASS_COLOURS = dict(
    zip(
        class_names(8),
        (
            "#7f7f7f",
            "#e69f00",
            "#f0e442",
            "#0072b2",
            "#d55e00",
            "#009e73",
            "#56b4e9",
            "#cc79a7",
        ),
        strict=True,
    )
)
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#7f7f7f"
UNDER_TEXT = [[0, "#ffffff"], [1, "#6baed6"]]  # of heat maps with black numbers in them
LAYOUT: dict[str, Any] = {
    "template": "plotly_white",
    "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
    "height": 420,
    "legend": {"orientation": "h", "y": -0.2},  # beside a figure it takes half of a phone
}


def class_accuracies(evaluations: Mapping[str, dict[str, Any]]) -> go.Figure:
    """Bars of the class accuracies of several runs, with each run's class mean as a line.

    Args:
        evaluations: run name -> content of an `evaluation-*.json`.
    """
    figure = go.Figure()
    for (run, result), colour in zip(
        evaluations.items(), cycle(("#0072b2", "#d55e00", "#009e73", "#cc79a7")), strict=False
    ):
        per_class = result["per_class_accuracy"]
        missing = result.get("missing_classes")
        figure.add_bar(
            name=run + (f" (no image of {', '.join(missing)})" if missing else ""),
            x=list(per_class),
            y=[round(value, 2) for value in per_class.values()],
            marker_color=colour,
            hovertemplate="%{x}: %{y:.1f} %<extra>" + run + "</extra>",
        )
        mean = round(result["mean_class_accuracy"], 2)
        figure.add_scatter(
            name=f"{run}: class mean {mean:.1f}",
            x=list(per_class),
            y=[mean] * len(per_class),
            mode="lines",
            line={"dash": "dot", "color": colour},
            hoverinfo="skip",
        )
    return figure.update_layout(
        **LAYOUT,
        barmode="group",
        yaxis={"title": "accuracy of the class, %", "range": [0, 100]},
    )


def class_counts_figure(parts: Mapping[str, Mapping[str, int]]) -> go.Figure:
    """Share of every class in several sets, as grouped bars.

    Args:
        parts: set name -> class name -> number of images.
    """
    figure = go.Figure()
    for (part, counts), colour in zip(
        parts.items(), cycle(("#0072b2", "#e69f00", "#009e73", "#cc79a7")), strict=False
    ):
        total = sum(counts.values())
        figure.add_bar(
            name=f"{part} ({total:,} images)",
            x=list(counts),
            y=[round(100 * count / total, 2) for count in counts.values()],
            marker_color=colour,
        )
    return figure.update_layout(
        **LAYOUT,
        barmode="group",
        yaxis={"title": "share of the set, %"},
    )


def moving(
    states: Mapping[str, Sequence[Any]],
    *,
    prefix: str,
    active: int = 0,
    titles: Mapping[str, str] | None = None,
    **layout: Any,
) -> go.Figure:
    """A figure with a slider from state to state.

    Args:
        states: label of a step -> its traces, as many and of the same kinds in every state.
        prefix: what stands before the label.
        active: the state that is shown first.
        titles: label -> what is written above the figure in that state.
        layout: of the figure.
    """
    labels = list(states)

    def title(label: str) -> dict[str, Any]:
        return {"title": {"text": titles[label], "font": {"size": 14}}} if titles else {}

    figure = go.Figure(
        data=list(states[labels[active]]),
        frames=[
            go.Frame(name=label, data=list(states[label]), layout=title(label)) for label in labels
        ],
    )
    steps = [
        {
            "label": label,
            "method": "animate",
            "args": [[label], {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}],
        }
        for label in labels
    ]
    slider = {
        "steps": steps,
        "active": active,
        "currentvalue": {"prefix": prefix},
        "pad": {"t": 60},
    }
    base = {**LAYOUT, **title(labels[active]), **layout}
    return figure.update_layout(**base, sliders=[slider])


def face_rows(rows: Mapping[str, torch.Tensor]) -> go.Figure:
    """Faces side by side, a named row for each set.

    Args:
        rows: row name -> (N, 3, S, S) uint8 images; the same N and S in every row.
    """
    sheet = torch.cat([torch.cat(list(images), 2) for images in rows.values()], 1)
    side = next(iter(rows.values())).shape[-1]
    source = picture_source(sheet.permute(1, 2, 0).numpy())
    figure = go.Figure(go.Image(source=source, hoverinfo="skip"))
    figure.update_xaxes(visible=False)
    figure.update_yaxes(
        tickvals=[side * (index + 0.5) for index in range(len(rows))],
        ticktext=list(rows),
        automargin=False,
    )
    height = 70 + 92 * len(rows)
    margin = {"l": 110, "r": 20, "t": 20, "b": 20}
    shape = {"margin": margin, "height": height, "meta": picture_shape(sheet.shape[1:])}
    return figure.update_layout(**{**LAYOUT, **shape})


def expression_sheet(
    sheets: Mapping[str, np.ndarray],
    notes: Mapping[str, Sequence[Sequence[str]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    prefix: str,
) -> go.Figure:
    """Faces in rows and columns, and a slider from sheet to sheet; the last is shown first.

    Args:
        sheets: label of a slider step -> (R, C, S, S, 3) uint8 faces.
        notes: the same label -> R rows of C texts, shown where one points at a face.
        rows, columns: their R and C names.
        prefix: what stands before the label of the step at hand.
    """
    side = next(iter(sheets.values())).shape[2]
    x_ticks, y_ticks = ([side * (i + 0.5) for i in range(len(n))] for n in (columns, rows))
    figure = go.Figure()
    steps: list[dict[str, Any]] = []
    for label, faces in sheets.items():
        shown = len(steps) == len(sheets) - 1
        picture = faces.swapaxes(1, 2).reshape(len(rows) * side, len(columns) * side, 3)
        figure.add_image(source=picture_source(picture), hoverinfo="skip", visible=shown)
        # go.Image knows pixels, not faces: invisible marks over the faces carry the notes.
        figure.add_scatter(
            x=x_ticks * len(rows),
            y=[y for y in y_ticks for _ in columns],
            hovertext=[text for row in notes[label] for text in row],
            hoverinfo="text",
            mode="markers",
            marker={"size": side, "symbol": "square", "opacity": 0},
            hoverlabel={"bgcolor": "white"},
            visible=shown,
        )
        visible = [trace // 2 == len(steps) for trace in range(2 * len(sheets))]
        steps.append({"label": label, "method": "restyle", "args": [{"visible": visible}]})
    bare: dict[str, Any] = {"showgrid": False, "zeroline": False, "automargin": False}
    # Else plotly leaves room around the picture for the marks at its edges.
    across, down = (0, len(columns) * side), (len(rows) * side, 0)
    figure.update_xaxes(bare, tickvals=x_ticks, ticktext=list(columns), side="top", range=across)
    figure.update_yaxes(bare, tickvals=y_ticks, ticktext=list(rows), range=down)
    slider = {"steps": steps, "currentvalue": {"prefix": prefix}, "pad": {"t": 20}}
    shape: dict[str, Any] = {
        "margin": {"l": 80, "r": 20, "t": 60, "b": 20},
        "height": 150 + 96 * len(rows),
        "meta": picture_shape((len(rows), len(columns))),
    }
    return figure.update_layout(
        **{**LAYOUT, **shape}, showlegend=False, sliders=[{**slider, "active": len(steps) - 1}]
    )


def picture_shape(height_and_width: Sequence[int]) -> dict[str, float]:
    """A layout's `meta` of a figure that is one picture: its height by its width."""
    height, width = height_and_width
    return {"picture": height / width}


def picture_source(picture: np.ndarray) -> str:
    """A picture, (H, W, 3) uint8, as the address of an image that lies in the address itself."""
    stored = io.BytesIO()
    Image.fromarray(picture).save(stored, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(stored.getvalue()).decode()
