"""Figures of comparisons: what every run of every arm reached, and what seeds can show."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from face2exp_lib.comparison.summary import power_over_seeds
from face2exp_lib.figures.style import BLUE, GREY, LAYOUT, ORANGE, moving

BUDGET_TITLES = {
    "own": "each at its own length",
    "compute": "at equal compute",
    "updates": "at equal updates",
}


def comparison_figure(result: dict[str, Any], measure: str = "mean_class_accuracy") -> go.Figure:
    """A panel for each budget, below each other, with a row for each arm: a ring for each seed, and
    their mean with its interval.

    Args:
        result: a `comparison.json`.
        measure: one of `metrics.MEASURES`.
    """
    compared = result["compared"]
    panel = 60 + 30 * len(result["comparison"]["arms"])  # px
    figure = make_subplots(
        len(compared),
        1,
        shared_xaxes=True,
        vertical_spacing=40 / (panel * len(compared)),
        subplot_titles=[BUDGET_TITLES[b] for b in compared],
    )
    for row, (budget, found) in enumerate(compared.items(), 1):
        place = {"row": row, "col": 1}
        rows = [(a, run) for a, runs in result["runs"][budget].items() for run in runs]
        figure.add_scatter(
            x=[round(run[measure], 2) for _, run in rows],
            y=[arm for arm, _ in rows],
            mode="markers",
            marker={"symbol": "circle-open", "color": GREY, "size": 7},
            name="one seed",
            customdata=[run["seed"] for _, run in rows],
            hovertemplate="%{y}, seed %{customdata}: %{x:.1f}<extra></extra>",
            showlegend=row == 1,
            **place,
        )
        arms = found["arms"]
        halves = [_half(arm[measure]) for arm in arms.values()]
        one_seed = all(arm[measure]["interval"] is None for arm in arms.values())
        figure.add_scatter(
            x=[round(arm[measure]["mean"], 2) for arm in arms.values()],
            y=list(arms),
            mode="markers",
            marker={"color": BLUE, "size": 9},
            error_x={"type": "data", "array": halves, "color": BLUE},
            name="one seed: no interval" if one_seed else "mean, 95 % interval",
            hovertemplate="%{y}: %{x:.1f}<extra></extra>",
            showlegend=row == 1,
            **place,
        )
        reference = arms[found["reference"]][measure]["mean"]
        figure.add_vline(x=round(reference, 2), line={"dash": "dot", "color": GREY}, **place)
    missing = next(iter(compared.values())).get("missing_classes")
    title = measure.replace("_", " ") + ", %" + (f" (no {', '.join(missing)})" if missing else "")
    figure.update_xaxes(title=title, row=len(compared), col=1)
    figure.update_yaxes(autorange="reversed", automargin=True)
    height = 100 + panel * len(compared)
    return figure.update_layout(
        **{**LAYOUT, "height": height, "margin": {**LAYOUT["margin"], "l": 10}},
        legend_y=-70 / (height - 90),  # below the title of the axis, however few arms there are
    )


def power_curves(
    differences: Sequence[float],
    std: float,
    seeds: Sequence[int],
    *,
    wanted: float = 0.8,
    active: int = 0,
) -> go.Figure:
    """How often a paired t test over so many seeds finds a true difference, one difference a
    state.

    Args:
        differences: in points of accuracy.
        std: of the differences within a seed, over seeds, in points.
        seeds: numbers of seeds, at least 2 each.
        wanted: the share that is asked for, drawn as a line.
        active: the state that is shown first.
    """
    states, titles = {}, {}
    for difference in differences:
        found = [power_over_seeds(difference, std, number) for number in seeds]
        label = f"{difference:g}"
        states[label] = [
            go.Scatter(
                name="found, % of comparisons",
                x=list(seeds),
                y=[round(100 * share, 1) for share in found],
                mode="lines+markers",
                line={"color": BLUE},
            ),
            go.Scatter(
                name="what one would want",
                x=[seeds[0], seeds[-1]],
                y=[100 * wanted] * 2,
                mode="lines",
                line={"color": GREY, "dash": "dot"},
                hoverinfo="skip",
            ),
        ]
        enough = [number for number, share in zip(seeds, found, strict=True) if share >= wanted]
        titles[label] = (
            f"{enough[0]} seeds find it in {100 * wanted:.0f} % of comparisons"
            if enough
            else f"{seeds[-1]} seeds do not find it in {100 * wanted:.0f} % of comparisons"
        )
    return moving(
        states,
        prefix="true difference, points: ",
        active=active,
        titles=titles,
        xaxis={"title": {"text": "seeds a method"}},
        yaxis={"title": {"text": "found, %"}, "range": [0, 102]},
    )


def means_and_stds(
    tables: Mapping[str, Mapping[str, tuple[float, float]]], *, prefix: str = "faces: "
) -> go.Figure:
    """Mean and std over the classes of a few arms, one table a state.

    Args:
        tables: label of a state -> arm -> its mean and its std over the classes, in %.
        prefix: what stands before the label.
    """
    states = {
        label: [
            go.Bar(
                name=name,
                x=list(arms),
                y=[round(pair[i], 2) for pair in arms.values()],
                marker_color=colour,
            )
            for i, (name, colour) in enumerate((("class mean", BLUE), ("class std", ORANGE)))
        ]
        for label, arms in tables.items()
    }
    return moving(
        states,
        prefix=prefix,
        barmode="group",
        yaxis={"title": {"text": "%"}, "range": [0, 100]},
    )


def _half(found: dict[str, Any]) -> float:
    """Half an interval's length; 0 where one seed has none."""
    return 0.0 if found["interval"] is None else round(found["interval"][1] - found["mean"], 2)
