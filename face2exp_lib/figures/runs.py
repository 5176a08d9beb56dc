"""Figures of one run: what its `metrics.jsonl` tells, step by step."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from face2exp_lib.figures.style import BLUE, GREEN, GREY, LAYOUT, moving


def run_replay(records: Sequence[dict[str, Any]], num_states: int = 12) -> go.Figure:
    """A run of Algorithm 1 from validation to validation: class accuracies of A and B, shares of
    the pseudo labels, and above them f since the validation before.

    Args:
        records: the lines of a `metrics.jsonl`.
        num_states: at most; evenly spread.
    """
    states: dict[str, list[go.Bar]] = {}
    titles: dict[str, str] = {}
    pseudo, fs = np.zeros(8), []
    for record in records:
        counted = record.get("pseudo_labels", [])
        pseudo[: len(counted)] += counted
        if "feedback" in record:
            fs.append(record["feedback"])
        if "validation" not in record or not fs:
            continue
        found = record["validation"]["base"]
        names = found.get("class_names", list(found["per_class_accuracy"]))
        label = str(record["step"] + 1)
        states[label] = [
            go.Bar(
                name=title,
                x=names,
                y=[None if np.isnan(value) else value for value in np.round(values, 1).tolist()],
                marker={"color": colour, "pattern": {"shape": shape}},
            )
            for title, values, colour, shape in (
                ("A, validation accuracy", _per_class(record, "adaptation", names), BLUE, ""),
                ("B, validation accuracy", _per_class(record, "base", names), GREEN, ""),
                ("share of pseudo labels", 100 * pseudo[: len(names)] / pseudo.sum(), GREY, "/"),
            )
        ]
        negative = 100 * np.mean(np.array(fs) < 0)
        titles[label] = f"f since then: mean {np.mean(fs):+.3f}, negative in {negative:.0f} %"
        pseudo, fs = np.zeros(8), []
    if not states:
        raise ValueError("no validation with feedback in these records: not a meta run")
    labels = list(states)
    chosen = [labels[i] for i in np.unique(np.linspace(0, len(labels) - 1, num_states).astype(int))]
    return moving(
        {label: states[label] for label in chosen},
        prefix="training step ",
        titles=titles,
        barmode="group",
        yaxis={"title": {"text": "%"}, "range": [0, 100]},
        height=480,
    )


def feedback_history(records: Sequence[dict[str, Any]]) -> go.Figure:
    """f of every step of Algorithm 1, and its running mean over 25 steps."""
    steps = [record["step"] for record in records if "feedback" in record]
    values = np.array([record["feedback"] for record in records if "feedback" in record])
    if not steps:
        raise ValueError("no feedback in these records: not a meta run")
    window = min(25, len(values))
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    figure = go.Figure()
    figure.add_scatter(
        x=steps,
        y=_significant(values),
        mode="markers",
        name="f",
        marker={"size": 3, "color": "#56b4e9"},
    )
    figure.add_scatter(
        x=steps[window - 1 :],
        y=_significant(mean),
        name=f"mean of {window} steps",
        line={"color": "#0072b2"},
    )
    figure.add_hline(y=0, line_color="#7f7f7f")
    return figure.update_layout(
        **LAYOUT, xaxis={"title": "training step"}, yaxis={"title": "feedback coefficient f"}
    )


def _per_class(record: dict[str, Any], network: str, names: Sequence[str]) -> list[float]:
    """NaN for a class that validation has no image of."""
    per_class = record["validation"][network]["per_class_accuracy"]
    return [per_class.get(name, np.nan) for name in names]


def _significant(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
