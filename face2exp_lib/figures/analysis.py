"""Figures of an analysis: pseudo labels over a run, and f_i of right and wrong ones."""

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from face2exp_lib.figures.style import CLASS_COLOURS, LAYOUT, UNDER_TEXT, moving

CURVES = (
    ("accuracy", "right", "#0072b2", "solid"),
    ("accuracy_agreed", "right where the learner agrees", "#0072b2", "dot"),
    ("agreement", "the learner agrees", "#d55e00", "solid"),
    ("confidence", "mean confidence", "#009e73", "dash"),
)


def pseudo_label_figure(result: dict[str, Any]) -> go.Figure:
    """Above, how right, agreed and confident the labels were; below, the share of each class.

    Args:
        result: of `analyse.analyse_run`.
    """
    windows = result["over_time"]
    steps = [window["last_step"] for window in windows]
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08)
    for key, name, colour, dash in CURVES:
        values = [window.get(key) for window in windows]
        if any(value is not None for value in values):
            figure.add_scatter(
                x=steps,
                y=[None if value is None else round(100 * value, 1) for value in values],
                name=name,
                line={"color": colour, "dash": dash},
                row=1,
                col=1,
            )
    for code, name in enumerate(result["classes"]):
        figure.add_scatter(
            x=steps,
            y=[round(100 * window["pseudo_labels"][code], 1) for window in windows],
            name=name,
            line={"color": CLASS_COLOURS[name]},
            stackgroup="classes",
            row=2,
            col=1,
        )
    figure.update_yaxes(title="%", range=[0, 100])
    figure.update_yaxes(title="share of the labels, %", row=2, col=1)
    figure.update_xaxes(title="step", row=2, col=1)
    return figure.update_layout(**{**LAYOUT, "height": 620})


def image_feedback_figure(result: dict[str, Any]) -> go.Figure:
    """Mean f_i of each pseudo class, with those of all right and wrong labels where known.

    Args:
        result: of `analyse.analyse_run`, with f_i.
    """
    found = result["image_feedback"]
    bars = {name: one["mean"] for name, one in found["by_pseudo_class"].items() if one["images"]}
    figure = go.Figure(
        go.Bar(
            x=list(bars),
            y=[float(f"{value:.3g}") for value in bars.values()],
            marker_color=[CLASS_COLOURS[name] for name in bars],
            showlegend=False,
        )
    )
    for key, dash in (("right", "solid"), ("wrong", "dot")):
        if key in found:
            figure.add_scatter(
                x=list(bars),
                y=[float(f"{found[key]:.3g}")] * len(bars),
                mode="lines",
                line={"color": "#000000", "dash": dash, "width": 1},
                name=f"all labels that are {key}",
            )
    figure.update_yaxes(title="mean f<sub>i</sub>")
    figure.update_xaxes(title="pseudo label")
    return figure.update_layout(**LAYOUT)


def pseudo_confusions(analysis: dict[str, Any]) -> go.Figure:
    """What the pseudo labels of a stretch of steps took for what, in percent of each true class.

    Args:
        analysis: of `analyse.analyse_run`, with the truth.
    """
    names, states, titles = analysis["classes"], {}, {}
    for window in analysis["over_time"]:
        counts = np.array(window["confusion"], dtype=float)
        shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        label = f"{window['first_step']} to {window['last_step']}"
        states[label] = [
            go.Heatmap(
                z=shares.round(1).tolist(),
                x=names,
                y=names,
                zmin=0,
                zmax=100,
                colorscale=UNDER_TEXT,
                texttemplate="%{z:.0f}",
                textfont_color="black",
                hovertemplate="true %{y}, named %{x}: %{z:.1f} %<extra></extra>",
                colorbar={"title": {"text": "%"}},
            )
        ]
        titles[label] = f"{100 * window['accuracy']:.0f} % of the pseudo labels are right"
    figure = moving(states, prefix="steps ", titles=titles, height=560)
    figure.update_xaxes(title={"text": "pseudo label"})
    return figure.update_yaxes(title={"text": "truth"}, autorange="reversed")
