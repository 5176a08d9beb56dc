"""Figures of features: FER and FR faces on a plane."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from face2exp_lib.evaluation.features import on_a_plane
from face2exp_lib.figures.style import CLASS_COLOURS, LAYOUT, moving
from face2exp_lib.runs.mismatch import Seen

# kind of faces -> class -> its points (x, y) on a plane whose largest coordinate is 1
Plane = Mapping[str, Mapping[str, Sequence[Sequence[float]]]]
SYMBOLS = {"FR": "circle-open", "FER": "circle"}


def plane(seen: Seen, seed: int = 0) -> Plane:
    """The faces of both sets on the plane of `features.on_a_plane`, as a network sees them.

    Its axes and its scale mean nothing, so it is scaled to 1; three decimals are more than a
    picture shows.
    """
    points = on_a_plane(seen.samples.features, seed)
    points = (points / np.abs(points).max()).round(3)
    kinds = np.where(seen.samples.second, "FR", "FER")
    classes = np.array(seen.classes)
    return {
        kind: {
            name: points[(kinds == kind) & (classes == name)].tolist()
            for name in CLASS_COLOURS
            if ((kinds == kind) & (classes == name)).any()
        }
        for kind in SYMBOLS
    }


def planes_figure(seen: Sequence[Seen], seed: int = 0) -> go.Figure:
    """Networks side by side, each with its faces on a plane of its own.

    FER faces are dots in the colour of their class, FR faces rings in the colour of the class that
    the network gives them.
    """
    figure = make_subplots(1, len(seen), subplot_titles=[escape(one.network) for one in seen])
    planes = [plane(one, seed) for one in seen]
    for column, points in enumerate(planes, 1):
        for trace in _traces(points, _classes(planes)):
            figure.add_trace(trace.update(showlegend=column == 1), row=1, col=column)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure.update_layout(**{**LAYOUT, "height": 520})


def moving_plane(planes: Mapping[str, Plane]) -> go.Figure:
    """One plane after the other, the last one shown first: FER faces as dots in the colour of their
    class, FR faces as rings in the colour of the class that the network gives them.

    Args:
        planes: label of a state -> its plane.
    """
    classes = _classes(planes.values())
    states = {label: _traces(one, classes) for label, one in planes.items()}
    bare = {"visible": False, "range": [-1.05, 1.05]}
    return moving(
        states,
        prefix="network: ",
        active=len(states) - 1,
        height=560,
        margin={"l": 10, "r": 10, "t": 10, "b": 50},
        xaxis=bare,
        yaxis=bare,
    )


def _classes(planes: Iterable[Plane]) -> list[str]:
    """The classes of any of them, in their order."""
    named = {name for one in planes for kind in one.values() for name in kind}
    return [name for name in CLASS_COLOURS if name in named]


def _traces(points: Plane, classes: Sequence[str]) -> list[go.Scatter]:
    """A trace for each class and kind of faces, also where there is no such face."""
    return [
        go.Scatter(
            x=[x for x, _ in points[kind].get(name, [])],
            y=[y for _, y in points[kind].get(name, [])],
            mode="markers",
            marker={"color": CLASS_COLOURS[name], "symbol": symbol, "size": 5},
            name=f"{kind}: {name}",
            legendgroup=f"{kind}: {name}",
            hovertemplate=f"{kind}, {name}<extra></extra>",
        )
        for name in classes
        for kind, symbol in SYMBOLS.items()
    ]
