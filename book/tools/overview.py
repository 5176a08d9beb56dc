"""The picture of the method that opens the README and the book, with rendered faces in it."""

import base64
import csv
import zipfile
from pathlib import Path

from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.style import CLASS_COLOURS
from face2exp_lib.runtime.resources import shipped

FACE = 44  # px
BESIDE = 7  # faces in a row
CLEAR = 12.0  # degrees that a labelled face may be turned
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 400" font-family="sans-serif" font-size="15" role="img" aria-label="{alt}">
<rect width="1000" height="400" rx="8" fill="#ffffff"/>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#333333"/></marker>
<marker id="tipf" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#d55e00"/></marker></defs>
<g fill="#f4f4f4" stroke="#7f7f7f"><rect x="15" y="40" width="350" height="106" rx="6"/><rect x="15" y="218" width="350" height="142" rx="6"/></g>
<g text-anchor="middle"><text x="190" y="62"><tspan font-weight="bold">few labelled faces</tspan>, each class alike</text>
<text x="190" y="240"><tspan font-weight="bold">many unlabelled faces</tspan>, mostly neutral</text></g>
{labelled}
{unlabelled}
<g stroke-width="2"><rect x="455" y="140" width="190" height="110" rx="6" fill="#e5f1f8" stroke="#0072b2"/><rect x="775" y="140" width="205" height="110" rx="6" fill="#e5f5f0" stroke="#009e73"/></g>
<g text-anchor="middle"><text x="550" y="182" font-weight="bold">base network B</text><text x="550" y="207">learns the labels,</text><text x="550" y="227">names expressions</text>
<text x="877" y="182" font-weight="bold">adaptation network A</text><text x="877" y="207">learns the names,</text><text x="877" y="227">is used in the end</text></g>
<g stroke="#333333" stroke-width="2" fill="none" marker-end="url(#tip)"><path d="M365 110 C410 110 410 180 453 180"/><path d="M365 290 C410 290 410 215 453 215"/><path d="M645 195 H773"/></g>
<text x="708" y="184" text-anchor="middle">pseudo labels</text>
<path d="M877 250 C877 345 550 345 550 253" stroke="#d55e00" stroke-width="3" fill="none" marker-end="url(#tipf)"/>
<text x="714" y="350" text-anchor="middle" fill="#b34a00" font-weight="bold">f: did learning these names lower</text>
<text x="714" y="370" text-anchor="middle" fill="#b34a00" font-weight="bold">A's loss on labelled faces?</text>
<path d="M365 70 C520 40 800 40 877 137" stroke="#7f7f7f" stroke-width="2" stroke-dasharray="5 5" fill="none" marker-end="url(#tip)"/>
<text x="660" y="34" text-anchor="middle" fill="#555555">to measure f, and to fine-tune</text>
</svg>
"""
ALT = (
    "Few labelled faces teach a base network. It names the expressions of many unlabelled faces, "
    "an adaptation network learns from these names, and a feedback coefficient f goes back to the "
    "base network."
)


def picture() -> str:
    """The picture as SVG, its faces inside."""
    return SVG.format(
        alt=ALT,
        labelled=_faces("fer_train", _clear_faces(), 72),
        unlabelled=_faces("fr", _first_faces(2 * BESIDE), 252),
    )


def _clear_faces() -> list[tuple[str, str]]:
    """Of each class the strongest expression of an uncovered face that looks ahead."""
    best: dict[str, dict[str, str]] = {}
    for row in _rows("fer_train"):
        ahead = max(abs(float(row[angle])) for angle in ("yaw", "pitch"))
        if row["occluder"] or ahead > CLEAR:
            continue
        known = best.get(row["expression"])
        if known is None or float(row["intensity"]) > float(known["intensity"]):
            best[row["expression"]] = row
    return [(best[name]["image"], name) for name in class_names(7)]


def _first_faces(count: int) -> list[tuple[str, str]]:
    return [(row["image"], "") for row in _rows("fr")[:count]]


def _rows(part: str) -> list[dict[str, str]]:
    table: Path = shipped("data/rendered") / f"{part}.csv"
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _faces(part: str, faces: list[tuple[str, str]], top: int) -> str:
    """Faces in rows, each with the name of its class below, if it has one."""
    drawn = []
    with zipfile.ZipFile(shipped("data/rendered") / f"{part}.zip") as archive:
        for number, (image, name) in enumerate(faces):
            x = 23 + number % BESIDE * (FACE + 4)
            y = top + number // BESIDE * (FACE + 8)
            content = base64.b64encode(archive.read(image)).decode()
            drawn.append(
                f'<image x="{x}" y="{y}" width="{FACE}" height="{FACE}" '
                f'href="data:image/webp;base64,{content}"/>'
            )
            if name:
                drawn.append(
                    f'<rect x="{x}" y="{y + FACE}" width="{FACE}" height="4" '
                    f'fill="{CLASS_COLOURS[name]}"/><text x="{x + FACE // 2}" '
                    f'y="{y + FACE + 17}" font-size="10" text-anchor="middle">'
                    f"{name}</text>"
                )
    return "\n".join(drawn)
