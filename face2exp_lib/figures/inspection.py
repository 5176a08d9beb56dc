"""What an inspection found, as one html page that needs no network."""

from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch

from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.style import class_counts_figure, face_rows
from face2exp_lib.preparation.inspection import Inspection
from face2exp_lib.runtime.storage import write_text

SAMPLES = 8  # images of each class, or in each of the rows of unlabelled faces
UNLABELLED_ROWS = 4
SIDE = 96  # px
MAX_LISTED = 50  # of the bad images; `--skip-bad` writes all
STYLE = "body{font-family:sans-serif;max-width:60em;margin:2em auto}.warning{color:#a33b00}"


def write_report(found: list[Inspection], title: str, path: Path | str) -> None:
    """Write class bars, sample grids, warnings and what is wrong as a self-contained page.

    Raises:
        Face2ExpError: if the file cannot be written.
    """
    path = Path(path)
    body = [f"<h1>{escape(title)}</h1>"]
    has_script = False
    for part in found:
        body.append(_summary(part))
        for figure in _figures(part):
            body.append(figure.to_html(full_html=False, include_plotlyjs=not has_script))
            has_script = True
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )
    write_text(path, page.encode(errors="backslashreplace").decode())


def _summary(part: Inspection) -> str:
    source = f"format: {part.format}" + (f", part: {part.part}" if part.part else "")
    source += f", codes: {part.faces.codes}" if part.faces.codes else ""
    lines = [
        f"<h2>{escape(part.faces.name)}</h2>",
        f"<p>{len(part.faces):,} images; <code>{{{escape(source)}}}</code></p>",
        *(f'<p class="warning">Warning: {escape(warning)}.</p>' for warning in part.faces.notes),
    ]
    reasons = list(part.left_out().items())[:MAX_LISTED]
    messages = [f"{len(images):,} left out: {reason}" for reason, images in reasons]
    messages += list(part.unreadable.values())[:MAX_LISTED]
    if messages:
        lines.append("<ul>" + "".join(f"<li>{escape(text)}</li>" for text in messages) + "</ul>")
    return "".join(lines)


def _figures(part: Inspection) -> list[go.Figure]:
    figures = []
    if part.counts:
        bars = {part.faces.name: part.counts}
        if part.published:
            published = {name: part.published.counts.get(name, 0) for name in part.counts}
            bars[f"{part.published.title}, published"] = published
        figures.append(class_counts_figure(bars))
    grid = _samples(part)
    if grid:
        figures.append(face_rows(grid))
    return figures


def _samples(part: Inspection) -> dict[str, torch.Tensor]:
    """Row name -> (SAMPLES, 3, SIDE, SIDE) uint8, spread evenly over the readable images."""
    ids, faces = part.faces.images.ids, part.faces
    readable = np.array([ids[int(row)] not in part.unreadable for row in faces.rows], dtype=bool)
    rows = {}
    if faces.labels is not None:
        for code, name in enumerate(class_names(8)):
            rows[name] = np.flatnonzero(readable & (faces.labels == code))
    else:
        for number, members in enumerate(
            np.array_split(np.flatnonzero(readable), UNLABELLED_ROWS), start=1
        ):
            rows[f"faces {number}"] = members
    return {name: _row(part, members) for name, members in rows.items() if len(members)}


def _row(part: Inspection, members: np.ndarray) -> torch.Tensor:
    chosen = np.unique(np.linspace(0, len(members) - 1, SAMPLES).round().astype(int))
    images = torch.full((SAMPLES, 3, SIDE, SIDE), 255, dtype=torch.uint8)
    for place, index in enumerate(members[chosen]):
        images[place] = decode(part.faces.images, int(part.faces.rows[index]), SIDE)
    return images
