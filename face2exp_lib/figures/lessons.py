"""Figures that answer a question when they are moved; each has a slider.

They are made of what the library computed or a run stored, state by state; nothing here is a model
of its own.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from face2exp_lib.figures.style import (
    BLUE,
    CLASS_COLOURS,
    GREEN,
    GREY,
    LAYOUT,
    ORANGE,
    moving,
    picture_shape,
    picture_source,
)
from face2exp_lib.methods.feedback import feedback_coefficient

SAID = (ORANGE, GREY, GREEN)  # what may be wrong, one colour a way; blue is what is right
OUT_OF_SCALE = 20  # a bar that is so many times the next one is not drawn to its end


def shares_by_set(sets: Mapping[str, Mapping[str, int]]) -> go.Figure:
    """Class shares of one set after the other; above, its largest over its smallest class, and the
    number of equally large classes that would be as unsure (the exponential of the entropy).

    Args:
        sets: name -> class -> number of images.
    """
    states, titles = {}, {}
    for name, counts in sets.items():
        numbers = np.array(list(counts.values()), dtype=float)
        shares = numbers / numbers.sum()
        entropy = -(shares[shares > 0] * np.log(shares[shares > 0])).sum()
        ratio = "infinite" if numbers.min() == 0 else f"{numbers.max() / numbers.min():.1f}"
        titles[name] = (
            f"{int(numbers.sum()):,} images; largest class : smallest {ratio}; "
            f"as unsure as {np.exp(entropy):.1f} equal classes"
        )
        states[name] = [_bars(list(counts), 100 * shares, "share of the set, %")]
    return moving(
        states,
        prefix="set: ",
        titles=titles,
        yaxis={"title": {"text": "share of the set, %"}, "range": [0, 60]},
        showlegend=False,
    )


def class_bars(values: Mapping[str, float], *, title: str, unit: str) -> go.Figure:
    """A number of each class, in the class's colour.

    Args:
        values: class -> number.
        title: above the figure.
        unit: what is counted.
    """
    figure = go.Figure(_bars(list(values), np.array(list(values.values())), unit))
    return figure.update_layout(
        **LAYOUT, title={"text": title, "font": {"size": 14}}, yaxis={"title": {"text": unit}}
    )


def cost_of_balance(counts: Mapping[str, int], percents: Sequence[int]) -> go.Figure:
    """What a draw of so many percent keeps of each class: balanced by Smp, and in proportion.

    A balanced draw takes the same of each class and so ends at the smallest one: what it would
    want beyond is named above the figure.

    Args:
        counts: class -> images of the long-tailed set.
        percents: of the whole set, one a state.
    """
    total, smallest = sum(counts.values()), min(counts.values())
    states, titles = {}, {}
    for percent in percents:
        wanted = total * percent // 100 // len(counts)
        kept = min(wanted, smallest)
        label = f"{percent} %"
        states[label] = [
            go.Bar(name="as collected", x=list(counts), y=list(counts.values()), marker_color=GREY),
            go.Bar(
                name="drawn in proportion",
                x=list(counts),
                y=[count * percent // 100 for count in counts.values()],
                marker_color=ORANGE,
            ),
            go.Bar(name="drawn by Smp", x=list(counts), y=[kept] * len(counts), marker_color=BLUE),
        ]
        cost = f"Smp keeps {kept * len(counts):,} of {total:,} labels, {kept} of each class"
        if wanted > smallest:
            cost += f"; it wants {wanted}, the rarest has {smallest}"
        titles[label] = cost
    return moving(
        states,
        prefix="percent of the labels: ",
        titles=titles,
        barmode="group",
        yaxis={"title": {"text": "images"}},
    )


def pictures(states: Mapping[str, Tensor], *, prefix: str, active: int = 0) -> go.Figure:
    """One row of pictures a state.

    Args:
        states: label -> (N, 3, S, S) uint8.
    """
    drawn = {
        label: [
            go.Image(
                source=picture_source(torch.cat(list(images), 2).permute(1, 2, 0).numpy()),
                hoverinfo="skip",
            )
        ]
        for label, images in states.items()
    }
    number = len(next(iter(states.values())))
    figure = moving(
        drawn,
        prefix=prefix,
        active=active,
        height=40 + 640 // number,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        meta=picture_shape((1, number)),
    )
    figure.update_xaxes(visible=False)
    return figure.update_yaxes(visible=False)


def turned_gradients(degrees: Sequence[int], eta_a: float, *, active: int = 0) -> go.Figure:
    """Two gradients of a network with two weights, one turned against the other; f, and where B's
    feedback step then points.

    The gradient on FR data stays where it is, of length 1. The one on FER data is turned by so
    many degrees. B's feedback step is -f times the gradient of CE(y_hat, B(x_FR)), which is drawn
    as if it pointed along the FR gradient.

    Args:
        degrees: of the turns, one a state.
        eta_a: A's learning rate.
        active: the state that is shown first.
    """
    grad_u = torch.tensor([1.0, 0.0])
    states, titles = {}, {}
    for degree in degrees:
        angle = torch.deg2rad(torch.tensor(float(degree)))
        grad_s = torch.stack([angle.cos(), angle.sin()])
        f = feedback_coefficient((grad_s,), (grad_u,), eta_a).item()
        label = f"{degree}°"
        push = -f / eta_a
        states[label] = [
            _arrow("gradient on FR, before the step", grad_u.tolist(), ORANGE, 0.0),
            _arrow("gradient on FER, after the step", grad_s.tolist(), BLUE, 0.0),
            _arrow("B's feedback step, over eta_A", [push, 0.0], GREEN, -1.3),
        ]
        titles[label] = "f = 0: no feedback"
        if abs(f) > 1e-6 * eta_a:
            titles[label] = (
                f"f = {f:+.4f}: B is made {'surer' if f > 0 else 'less sure'} of its labels"
            )
    bare = {"zeroline": False, "range": [-1.6, 1.6]}
    return moving(
        states,
        prefix="angle between the gradients: ",
        active=active,
        titles=titles,
        xaxis={**bare, "title": {"text": "first weight"}},
        yaxis={**bare, "title": {"text": "second weight"}, "scaleanchor": "x"},
        height=560,
    )


def bars_of_states(
    states: Mapping[str, Mapping[str, float]], *, prefix: str, unit: str, active: int = 0
) -> go.Figure:
    """Bars on one scale from 0 in all states, each with its value.

    Args:
        states: label of a state -> bar -> value, 0 or more.
        unit: of the values.
    """
    drawn = {
        label: [
            go.Bar(
                x=list(values),
                y=[float(f"{value:.3g}") for value in values.values()],
                texttemplate="%{y:,.3~r}",
                textposition="outside",
                marker_color=BLUE,
                name=unit,
            )
        ]
        for label, values in states.items()
    }
    largest = max(max(values.values()) for values in states.values())
    axis = {"title": {"text": unit}, "range": [0, 1.1 * largest]}
    return moving(drawn, prefix=prefix, active=active, showlegend=False, yaxis=axis)


def measured_ways(ways: Mapping[str, Mapping[str, float]], *, prefix: str, unit: str) -> go.Figure:
    """What several ways of measuring say in one state after the other; the first is the right one.

    A bar that is more than `OUT_OF_SCALE` times the next one leaves the picture, so that the
    others can be seen; each says its value.

    Args:
        ways: label of a state -> way -> value.
        unit: what is measured.
    """
    states = {
        label: [
            go.Bar(
                x=list(values),
                y=[float(f"{value:.3g}") for value in values.values()],
                text=[f"{value:+.3g}" for value in values.values()],
                textposition="inside",
                insidetextanchor="start",
                constraintext="none",
                textangle=0,
                textfont_color="black",
                marker_opacity=0.5,  # the text lies on it
                marker_color=[BLUE, *[ORANGE] * (len(values) - 1)],
                name=unit,
            )
        ]
        for label, values in ways.items()
    }
    ranges = [_around(list(values.values())) for values in ways.values()]
    figure = moving(
        states,
        prefix=prefix,
        showlegend=False,
        yaxis={"title": {"text": unit}, "range": ranges[0]},
    )
    for frame, span in zip(figure.frames, ranges, strict=True):
        frame.layout.yaxis = {"range": span}
    return figure


def signs_along(
    rates: Sequence[float],
    right: Mapping[str, Sequence[float]],
    said: Mapping[str, Sequence[float]],
) -> go.Figure:
    """Curves over a learning rate: what is right, and what several ways say of it.

    Where a way has the wrong sign is shaded in its colour.

    Args:
        rates: growing.
        right: one name -> a value at each rate.
        said: way -> a value at each rate; three at most.
    """
    ((what, truth),) = right.items()
    figure = go.Figure(_curve(what, rates, truth, {"color": BLUE, "width": 5}))
    for (way, values), colour in zip(said.items(), SAID, strict=False):
        figure.add_trace(_curve(way, rates, values, {"color": colour, "width": 2}))
        wrong = np.multiply(truth, values) < 0
        for start, stop in _runs(wrong):
            figure.add_vrect(
                x0=_between(rates, start - 1, start),
                x1=_between(rates, stop - 1, stop),
                fillcolor=colour,
                opacity=0.2,
                layer="below",
                line_width=0,
            )
    return figure.update_layout(
        **LAYOUT, xaxis={"title": {"text": "eta_A"}}, yaxis={"title": {"text": what}}
    )


def grouped_bars(bars: Mapping[str, Mapping[str, float]], *, groups: str, unit: str) -> go.Figure:
    """Bars side by side, in the colours of `signs_along`.

    Args:
        bars: way -> group -> value; three ways at most.
        groups: what the groups are.
        unit: of the values.
    """
    figure = go.Figure(
        [
            go.Bar(
                name=way,
                x=list(values),
                y=[round(value, 1) for value in values.values()],
                texttemplate="%{y:.0f}",
                textposition="outside",
                marker_color=colour,
            )
            for (way, values), colour in zip(bars.items(), SAID, strict=False)
        ]
    )
    figure.update_xaxes(type="category")
    return figure.update_layout(
        **LAYOUT,
        barmode="group",
        xaxis={"title": {"text": groups}},
        yaxis={"title": {"text": unit}},
    )


def _curve(
    name: str, rates: Sequence[float], values: Sequence[float], line: Mapping[str, object]
) -> go.Scatter:
    rounded = [float(f"{value:.4g}") for value in values]
    return go.Scatter(name=name, x=list(rates), y=rounded, mode="lines", line=line)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last of each stretch of true ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _between(rates: Sequence[float], before: int, after: int) -> float:
    """Half way between two neighbours, or an end."""
    return (rates[max(before, 0)] + rates[min(after, len(rates) - 1)]) / 2


def _around(values: Sequence[float]) -> list[float]:
    """The range of one state: its own, since f may differ by powers of ten from the next."""
    sizes = sorted(abs(value) for value in values)
    if len(sizes) > 1 and 0 < OUT_OF_SCALE * sizes[-2] < sizes[-1]:
        sizes.pop()
    largest = sizes[-1] or 1.0
    return [-1.2 * largest, 1.2 * largest]


def _bars(names: Sequence[str], values: np.ndarray, title: str) -> go.Bar:
    return go.Bar(
        name=title,
        x=list(names),
        y=np.round(values, 2).tolist(),
        marker_color=[CLASS_COLOURS[name] for name in names],
    )


def _arrow(name: str, tip: Sequence[float], colour: str, y: float) -> go.Scatter:
    x_end, y_end = tip
    return go.Scatter(
        name=name,
        x=[0, round(x_end, 4)],
        y=[y, round(y + y_end, 4)],
        mode="lines+markers",
        line={"color": colour, "width": 3},
        marker={"symbol": ["circle", "arrow"], "angleref": "previous", "size": [6, 16]},
    )
