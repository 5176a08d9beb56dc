"""Figures of comparisons: what every run of every arm reached."""

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from face2exp_lib.figures import LAYOUT

BUDGET_TITLES = {
    "own": "each at its own length",
    "compute": "at equal compute",
    "updates": "at equal updates",
}


def comparison_figure(result: dict[str, Any], measure: str = "mean_class_accuracy") -> go.Figure:
    """One panel a budget, one row an arm: a ring for each seed, and their mean with its interval.

    Args:
        result: a `comparison.json`.
        measure: one of `comparison.MEASURES`.
    """
    compared = result["compared"]
    figure = make_subplots(
        1, len(compared), shared_yaxes=True, subplot_titles=[BUDGET_TITLES[b] for b in compared]
    )
    for column, (budget, found) in enumerate(compared.items(), 1):
        place = {"row": 1, "col": column}
        rows = [(a, run) for a, runs in result["runs"][budget].items() for run in runs]
        figure.add_scatter(
            x=[round(run[measure], 2) for _, run in rows],
            y=[arm for arm, _ in rows],
            mode="markers",
            marker={"symbol": "circle-open", "color": "#7f7f7f", "size": 7},
            name="one seed",
            customdata=[run["seed"] for _, run in rows],
            hovertemplate="%{y}, seed %{customdata}: %{x:.1f}<extra></extra>",
            showlegend=column == 1,
            **place,
        )
        arms = found["arms"]
        halves = [_half(arm[measure]) for arm in arms.values()]
        figure.add_scatter(
            x=[round(arm[measure]["mean"], 2) for arm in arms.values()],
            y=list(arms),
            mode="markers",
            marker={"color": "#0072b2", "size": 9},
            error_x={"type": "data", "array": halves, "color": "#0072b2"},
            name="mean, 95 % interval",
            hovertemplate="%{y}: %{x:.1f}<extra></extra>",
            showlegend=column == 1,
            **place,
        )
        reference = arms[found["reference"]][measure]["mean"]
        figure.add_vline(x=round(reference, 2), line={"dash": "dot", "color": "#7f7f7f"}, **place)
    figure.update_xaxes(title=measure.replace("_", " ") + ", %")
    figure.update_yaxes(autorange="reversed")
    height = 160 + 34 * len(result["comparison"]["arms"])
    return figure.update_layout(
        **{**LAYOUT, "height": height, "margin": {**LAYOUT["margin"], "l": 170}},
        legend={"orientation": "h", "y": -0.25},
    )


def _half(found: dict[str, Any]) -> float:
    """Half an interval's length; 0 where one seed has none."""
    return 0.0 if found["interval"] is None else round(found["interval"][1] - found["mean"], 2)
