# ruff: noqa: RUF001 (the symbols of the papers are Greek)
"""One small picture of each method, all from one template: what goes in, through which network, and
what is made of what comes out.

SVG that takes the colour of the text around it, so that it can be read on a light page and on a
dark one, and at the width of a phone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from face2exp_lib.figures.style import BLUE, GREEN, GREY, ORANGE
from face2exp_lib.methods import METHODS

LEFTS, BOX, ROW, GAP, WIDTH = (2, 127, 252), 106, 44, 18, 360
LINE = 15  # px between two lines of text
TIP = (
    '<marker id="{id}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
    'markerUnits="userSpaceOnUse" orient="auto">'
    '<path d="M0 0 10 5 0 10z" fill="{fill}" stroke="none"/></marker>'
)
COLOURS = {"network": BLUE, "second": GREEN, "loss": ORANGE, "other": GREY}


@dataclass(frozen=True)
class Diagram:
    """A method in boxes.

    Attributes:
        rows: of each what is seen, the network that sees it, and what is made of that, `*` before a
            loss. Networks of the same name in rows that follow each other are one box, as are
            results. The first network that is named is blue, another green; `/` breaks a line.
        links: (from, to) of results, by their rows: what is made in one is the target of the other.
        beside: (from, to, words) of networks, by their rows: what one gets of the other.
    """

    rows: tuple[tuple[str, str, str], ...]
    links: tuple[tuple[int, int], ...] = ()
    beside: tuple[tuple[int, int, str], ...] = ()


DIAGRAMS = {
    "supervised": Diagram((("labelled", "network", "*CE to label"),)),
    "class_balanced": Diagram(
        (("labelled", "network", "*weighted CE"), ("class counts", "", "weights w_y")),
        links=((1, 0),),
    ),
    "scn": Diagram(
        (
            ("labelled", "network", "*CE of α · logits"),
            ("labelled", "network", "importance α"),
            ("labelled", "network", "*ranks: high and/low α apart"),
        ),
        links=((1, 0), (1, 2)),
    ),
    "cake": Diagram((("labelled", "network/to 3 numbers", "*CE to label"),)),
    "dmue": Diagram(
        (
            ("labelled", "network", "*CE of α · logits"),
            ("labelled", "network", "*near the latent/distribution"),
            ("labelled", "K branches, each/without a class", "latent/distribution"),
        ),
        links=((2, 1),),
    ),
    "ran": Diagram(
        (
            ("whole face", "network", "their mean, by/weights μ and ν"),
            ("5 crops", "network", "*CE to label"),
            ("5 crops", "network", "*one crop above/the whole face"),
        ),
        links=((0, 1),),
    ),
    "gacnn": Diagram(
        (
            ("whole face", "network", "vector × gate"),
            ("24 patches of/its maps", "patch unit", "vectors × gates"),
            ("", "last layer", "*CE to label"),
        ),
        links=((1, 2), (0, 2)),
    ),
    "ldl_alsg": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("labelled", "network", "*KL from/neighbours"),
            ("its neighbours/by landmarks", "what it said/of them last", "distributions"),
        ),
        links=((2, 1),),
    ),
    "ipa2lt": Diagram(
        (
            ("labelled", "network:/latent truth p", "*CE of p·T₁ to/annotator 1"),
            ("labelled", "network:/latent truth p", "*CE of p·T₂ to/annotator 2"),
        ),
    ),
    "pseudo_label": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("unlabelled", "network", "most probable/class"),
            ("unlabelled", "network", "*CE to it, at a/growing weight"),
        ),
        links=((1, 2),),
    ),
    "noisy_student": Diagram(
        (
            ("plain view", "teacher, fixed", "its probabilities"),
            ("Aug", "student,/with dropout", "*CE to them"),
            ("labelled", "student,/with dropout", "*CE to label"),
        ),
        links=((0, 1),),
        beside=((1, 0, "next round"),),
    ),
    "mean_teacher": Diagram(
        (
            ("labelled", "student", "*CE to label"),
            ("Aug", "student", "*squared/distance"),
            ("plain view", "teacher", "its probabilities"),
        ),
        links=((2, 1),),
        beside=((1, 2, "average"),),
    ),
    "uda": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("plain view", "network", "sharpened,/if p ≥ τ"),
            ("Aug", "network", "*CE to it"),
        ),
        links=((1, 2),),
    ),
    "fixmatch": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("plain view", "network", "class, if p ≥ τ"),
            ("Aug", "network", "*CE to it"),
        ),
        links=((1, 2),),
    ),
    "freematch": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("plain view", "network", "class, if over/a learnt τ(c)"),
            ("Aug", "network", "*CE to it"),
            ("Aug", "network", "*fairness"),
        ),
        links=((1, 2),),
    ),
    "remixmatch": Diagram(
        (
            ("plain view", "network", "aligned and/sharpened"),
            ("all, mixed", "network", "*CE to mixed/targets"),
            ("Aug", "network", "*CE to it"),
            ("Aug, turned", "network", "*CE to the turn"),
        ),
        links=((0, 1),),
    ),
    "ada_cm": Diagram(
        (
            ("labelled", "network", "*CE to label"),
            ("labelled", "network", "margin of/each class"),
            ("plain view", "network", "above it: class;/below: features"),
            ("Aug", "network", "*CE to the class"),
            ("Aug", "network", "*features near/its own"),
        ),
        links=((1, 2), (2, 3)),
    ),
    "meta_pseudo_labels": Diagram(
        (
            ("Aug", "teacher", "drawn classes"),
            ("Aug", "student", "*CE to them"),
            ("labelled", "student", "h: loss fell by"),
            ("labelled", "teacher again", "*CE + UDA"),
            ("Aug", "teacher again", "*h · CE to drawn"),
        ),
        links=((0, 1), (2, 4)),
    ),
    "meta": Diagram(
        (
            ("plain view", "B", "classes ŷ"),
            ("plain view", "A", "*CE to ŷ"),
            ("labelled", "A", "f: loss fell by"),
            ("labelled", "B again", "*CE to label"),
            ("plain and Aug", "B again", "*consistency +/f · CE to ŷ"),
        ),
        links=((0, 1), (2, 4)),
    ),
}


class Drawn:
    """The diagram of a method, by its name, in a cell's output."""

    def __init__(self, name: str) -> None:
        self.name, self.title = name, METHODS[name].title

    def __repr__(self) -> str:
        return f"<diagram of {self.title}>"

    def _repr_html_(self) -> str:
        return svg(DIAGRAMS[self.name], self.title)


def svg(diagram: Diagram, title: str) -> str:
    """The picture.

    Args:
        diagram: in boxes.
        title: of the method, for people who do not see it.
    """
    ident = "tip-" + re.sub(r"\W+", "-", title.lower())
    network_names = list(dict.fromkeys(name for _, name, _ in diagram.rows if name))
    parts = []
    for column, left in enumerate(LEFTS):
        for text, first, last in _boxes([row[column] for row in diagram.rows]):
            if text:
                kind = _kind(text, column, network_names)
                parts.append(_box(text.removeprefix("*"), left, first, last, kind))
    tip, tip_loss = (f'marker-end="url(#{ident}{end})"' for end in ("", "-target"))
    for row, (seen, network, made) in enumerate(diagram.rows):
        y = _middle(row)
        first_seen = row == 0 or diagram.rows[row - 1][0] != seen or not seen
        if seen and (first_seen or network != diagram.rows[row - 1][1]):
            end = LEFTS[1] if network else LEFTS[2]
            parts.append(f'<path d="M{LEFTS[0] + BOX} {y}H{end}" {tip}/>')
        if network and made:
            parts.append(f'<path d="M{LEFTS[1] + BOX} {y}H{LEFTS[2]}" {tip}/>')
    for number, (start, end) in enumerate(diagram.links):
        parts.append(_link(start, end, number, tip_loss))
    for start, end, words in diagram.beside:
        parts.append(_between(start, end, words, tip))
    height = len(diagram.rows) * (ROW + GAP) - GAP + 4
    told = "; ".join(
        f"{seen or 'all of it'} through {network or 'nothing'}: {made.removeprefix('*')}"
        for seen, network, made in diagram.rows
    ).replace("/", " ")
    tips = TIP.format(id=ident, fill="currentColor") + TIP.format(id=f"{ident}-target", fill=ORANGE)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}: {told}")}" font-family="sans-serif" font-size="13" '
        'style="width: 100%; max-width: 460px; display: block; margin: auto" fill="none" '
        f'stroke="currentColor"><defs>{tips}</defs>{"".join(parts)}</svg>'
    )


def _boxes(texts: Sequence[str]) -> list[tuple[str, int, int]]:
    """Equal texts that follow each other are one box: text, first and last row."""
    found, row = [], 0
    for text, same in groupby(texts):
        length = len(list(same))
        found.append((text, row, row + length - 1))
        row += length
    return found


def _kind(text: str, column: int, network_names: Sequence[str]) -> str:
    if column == 1:
        return "network" if text.split(" again")[0] == network_names[0] else "second"
    return "loss" if text.startswith("*") else "other"


def _top(row: int) -> int:
    return 2 + row * (ROW + GAP)


def _middle(row: int) -> int:
    return _top(row) + ROW // 2


def _box(text: str, left: int, first: int, last: int, kind: str) -> str:
    height = _top(last) + ROW - _top(first)
    colour = COLOURS[kind]
    lines = text.split("/")
    y = _top(first) + height / 2 + 4.5 - LINE * (len(lines) - 1) / 2
    written = "".join(
        f'<text x="{left + BOX / 2}" y="{y + LINE * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<rect x="{left}" y="{_top(first)}" width="{BOX}" height="{height}" rx="5" '
        f'fill="{colour}" fill-opacity="0.16" stroke="{colour}" stroke-width="1.5"/>'
        f'<g fill="currentColor" stroke="none" text-anchor="middle" font-size="12">{written}</g>'
    )


def _link(start: int, end: int, number: int, tip: str) -> str:
    """An arrow from result to result: straight to the next one, around those between."""
    left = LEFTS[2]
    down = end > start
    if abs(end - start) == 1:
        x = left + BOX * (0.35 + 0.3 * (number % 2))
        ends = (_top(start) + ROW, _top(end)) if down else (_top(start), _top(end) + ROW)
        path = f"M{x:g} {ends[0]}V{ends[1]}"
    else:
        x = left - 8
        path = f"M{left} {_middle(start) + 10}H{x}V{_middle(end) - 10}H{left}"
    return f'<path d="{path}" stroke="{ORANGE}" stroke-width="2" {tip}/>'


def _between(start: int, end: int, words: str, tip: str) -> str:
    """An arrow from network to network, one below the other, with words in the gap."""
    x = LEFTS[1] + 16
    down = end > start
    ends = (_top(start) + ROW, _top(end)) if down else (_top(start), _top(end) + ROW)
    y = max(_top(start), _top(end)) - 3
    return (
        f'<path d="M{x} {ends[0]}V{ends[1]}" {tip}/><text x="{x + 8}" y="{y}" '
        f'fill="currentColor" stroke="none" font-size="11">{escape(words)}</text>'
    )
