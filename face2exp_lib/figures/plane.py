"""Maps of what networks have learnt on points of a plane (`methods.plane`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from face2exp_lib.figures.style import CLASS_COLOURS, moving
from face2exp_lib.methods.plane import CLASSES, Points, accuracy, probabilities
from face2exp_lib.networks import FaceNetwork

LIGHT, EXPRESSION = (-4.0, 4.0), (-2.0, 2.0)
CELLS = (81, 41)  # of the map, across and up
SHADES = 80  # of a class's colour, from a guess to a certainty; three times that fit into a byte


def region_map(network: FaceNetwork) -> np.ndarray:
    """(41, 81) uint8 over expression and light: 80 times the class, and how sure it is, 0 to 79."""
    across, up = (
        torch.linspace(*span, cells) for span, cells in zip((LIGHT, EXPRESSION), CELLS, strict=True)
    )
    grid = torch.cartesian_prod(up, across).flip(1)
    sure, named = probabilities(network, grid).max(1)
    chance = 1 / len(CLASSES)
    shade = ((sure - chance) / (1 - chance) * (SHADES - 1)).round()
    return (SHADES * named + shade).to(torch.uint8).reshape(*reversed(CELLS)).numpy()


def maps(networks: Mapping[str, FaceNetwork], points: Points) -> go.Figure:
    """One map after the other, with the points that all networks were given, and above it how many
    of the test points, of which there are as many of each class, the network names rightly.

    Args:
        networks: label of a state -> what a method deploys.
        points: labelled ones are large and in the colour of their label, with a cross where
            that is wrong; those without a label small.
    """
    states = {name: [_regions(network), *_given(points)] for name, network in networks.items()}
    titles = {
        name: f"{name}: {accuracy(network, points):.0f} % right"
        for name, network in networks.items()
    }
    figure = moving(
        states,
        prefix="",
        titles=titles,
        height=480,
        xaxis={"title": {"text": "light"}, "range": LIGHT, "zeroline": False, "showgrid": False},
        yaxis={
            "title": {"text": "expression"},
            "range": EXPRESSION,
            "tickvals": [-1, 0, 1],
            "ticktext": list(CLASSES),
            "tickangle": -90,
            "zeroline": False,
            "showgrid": False,
        },
    )
    for frame in figure.frames:  # the points stay where they are
        frame.data, frame.traces = frame.data[:1], [0]
    return figure


def _regions(network: FaceNetwork) -> go.Heatmap:
    colours = [CLASS_COLOURS[name] for name in CLASSES]
    scale: list[tuple[float, str]] = []
    for code, colour in enumerate(colours):
        first, last = (
            (SHADES * code + shade) / (SHADES * len(colours)) for shade in (0, SHADES - 1)
        )
        scale += [(first, "#ffffff"), (last, colour)]
    return go.Heatmap(
        z=region_map(network),
        x0=LIGHT[0],
        dx=(LIGHT[1] - LIGHT[0]) / (CELLS[0] - 1),
        y0=EXPRESSION[0],
        dy=(EXPRESSION[1] - EXPRESSION[0]) / (CELLS[1] - 1),
        zmin=0,
        zmax=len(CLASSES) * SHADES,
        colorscale=[*scale, (1.0, colours[-1])],
        opacity=0.7,
        showscale=False,
        hoverinfo="skip",
    )


def _given(points: Points) -> list[go.Scatter]:
    """Points without a label, and those of each label."""
    small = {"size": 3, "color": "black", "opacity": 0.35}
    traces = [_dots(points.x_fr, "no label", small)]
    for code, name in enumerate(CLASSES):
        rows = points.y_fer == code
        marker = {
            "size": 11,
            "color": CLASS_COLOURS[name],
            "line": {"width": 1.5, "color": "black"},
        }
        traces.append(_dots(points.x_fer[rows], f"labelled {name}", marker))
    wrong = points.y_fer != points.truth_fer
    cross = {"size": 9, "symbol": "x-thin", "line": {"width": 2.5, "color": "black"}}
    return [*traces, _dots(points.x_fer[wrong], "wrongly so", cross)]


def _dots(x: Tensor, name: str, marker: dict[str, Any]) -> go.Scatter:
    across, up = x.double().round(decimals=2).T.tolist()
    return go.Scatter(x=across, y=up, mode="markers", marker=marker, name=name, hoverinfo="skip")
