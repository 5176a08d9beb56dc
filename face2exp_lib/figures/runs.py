"""Figures of one run: what its `metrics.jsonl` tells, step by step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.style import (
    BLUE,
    CLASS_COLOURS,
    GREEN,
    GREY,
    LAYOUT,
    UNDER_TEXT,
    moving,
)


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


def class_curves(arms: Mapping[str, Sequence[Sequence[dict[str, Any]]]]) -> go.Figure:
    """Accuracy of each class on validation by how much of a run is done (paper, Fig. 6); a slider
    goes from method to method. Means over seeds.

    Args:
        arms: name -> the records of each seed's validations, each as `validation_curve` has them.

    Raises:
        ValueError: if the seeds of an arm were validated at different steps.
    """
    states, titles = {}, {}
    for arm, seeds in arms.items():
        steps = [[record["step"] + 1 for record in records] for records in seeds]
        if any(other != steps[0] for other in steps):
            raise ValueError(f"class_curves: the seeds of {arm} were validated at different steps")
        names = list(seeds[0][0]["per_class_accuracy"])
        by_class = np.array(
            [
                [list(record["per_class_accuracy"].values()) for record in records]
                for records in seeds
            ]
        ).mean(0)
        done = np.round(100 * np.array(steps[0]) / steps[0][-1], 1).tolist()
        states[arm] = [
            go.Scatter(
                x=done,
                y=np.round(by_class[:, k], 1).tolist(),
                name=name,
                line={"color": CLASS_COLOURS[name]},
            )
            for k, name in enumerate(names)
        ] + [
            go.Scatter(
                x=done,
                y=np.round(by_class.mean(1), 1).tolist(),
                name="class mean",
                line={"color": "#7f7f7f", "dash": "dot", "width": 4},
            )
        ]
        spread = by_class[-1].std()
        titles[arm] = f"at the end: mean {by_class[-1].mean():.1f}, std over classes {spread:.1f}"
    return moving(
        states,
        prefix="",
        titles=titles,
        xaxis={"title": "share of the run, %", "range": [0, 102]},
        yaxis={"title": "validation accuracy, %", "range": [0, 100]},
        height=480,
    )


def validation_curve(records: Sequence[dict[str, Any]], network: str) -> list[dict[str, Any]]:
    """What a run's `metrics.jsonl` tells of one network at its validations: `step`, and the
    measures of `evaluation.metrics.accuracies`."""
    return [
        {"step": record["step"], **record["validation"][network]}
        for record in records
        if "validation" in record
    ]


def confusions_by_step(runs: Mapping[str, Sequence[tuple[int, np.ndarray]]]) -> go.Figure:
    """What runs take for what as training goes on, one below the other; a slider goes through it.

    Args:
        runs: two, name -> (step, counts (K, K) with a row a true class), as many states
            each, at the same shares of the runs.

    Raises:
        ValueError: if the runs have different numbers of states.
    """
    if len({len(states) for states in runs.values()}) != 1:
        raise ValueError("confusions_by_step: the runs have different numbers of states")
    first, second = runs
    number = len(runs[first])
    states, titles = {}, {}
    for i in range(number):
        maps, told = [], []
        for place, (run, of_run) in enumerate(runs.items(), start=1):
            step, counts = of_run[i]
            names = class_names(len(counts))
            shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
            maps.append(
                go.Heatmap(
                    x=list(names),
                    y=list(names),
                    z=np.round(shares).tolist(),
                    texttemplate="%{z}",
                    textfont_color="black",
                    zmin=0,
                    zmax=100,
                    colorscale=UNDER_TEXT,
                    showscale=False,
                    xaxis=f"x{place}",
                    yaxis=f"y{place}",
                    name=f"{run}, step {step}",
                    hovertemplate="%{y} taken for %{x}: %{z} %",
                )
            )
            told.append(f"{run} {np.mean(np.diag(shares)):.0f} %")
        share = f"{100 * of_run[i][0] / of_run[-1][0]:.0f} %"
        states[share] = maps
        titles[share] = "class mean: " + ", ".join(told)
    return moving(
        states,
        prefix="share of the run ",
        titles=titles,
        active=number - 1,
        xaxis={"anchor": "y", "showticklabels": False},
        xaxis2={"anchor": "y2"},
        yaxis={"autorange": "reversed", "domain": [0.53, 1], "title": first},
        yaxis2={"autorange": "reversed", "domain": [0, 0.47], "title": second},
        height=720,
    )


def _per_class(record: dict[str, Any], network: str, names: Sequence[str]) -> list[float]:
    """NaN for a class that validation has no image of."""
    per_class = record["validation"][network]["per_class_accuracy"]
    return [per_class.get(name, np.nan) for name in names]


def _significant(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
