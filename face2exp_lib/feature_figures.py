"""Figures of features: FER and FR faces on a plane."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from face2exp_lib.features import on_a_plane
from face2exp_lib.figures import CLASS_COLOURS, LAYOUT
from face2exp_lib.mismatch import Seen


def planes_figure(seen: Sequence[Seen], seed: int = 0) -> go.Figure:
    """Networks side by side, each with its faces on a plane of its own (`features.on_a_plane`).

    FER faces are dots in the colour of their class, FR faces rings in the colour of the class that
    the network gives them.
    """
    figure = make_subplots(1, len(seen), subplot_titles=[escape(one.network) for one in seen])
    for column, one in enumerate(seen, 1):
        points = on_a_plane(one.samples.features, seed)
        faces = list(zip(one.samples.second, one.classes, strict=True))
        for label, colour in CLASS_COLOURS.items():
            for is_fr, kind, symbol in ((True, "FR", "circle-open"), (False, "FER", "circle")):
                rows = [row for row, face in enumerate(faces) if face == (is_fr, label)]
                if not rows:
                    continue
                figure.add_scatter(
                    x=points[rows, 0].round(2),
                    y=points[rows, 1].round(2),
                    mode="markers",
                    marker={"color": colour, "symbol": symbol, "size": 5},
                    name=f"{kind}: {label}",
                    legendgroup=f"{kind}: {label}",
                    showlegend=column == 1,
                    hovertemplate=f"{kind}, {label}<extra></extra>",
                    row=1,
                    col=column,
                )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure.update_layout(**{**LAYOUT, "height": 520})
