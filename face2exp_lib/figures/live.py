"""Figures that a page computes itself while they are moved: no kernel, no network, in the built
book as in Jupyter.

Each is a small script in `live_scripts/` and the data it begins with. Inputs are the browser's own,
so that a keyboard, a screen reader and a thumb can move them. On paper a figure stands as it
begins.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

PAGE = """\
<style>{style}</style>
<div id="{id}" class="live-figure" role="group" aria-label="{alt}"><noscript>{alt}</noscript></div>
<script>
(() => {{
  const begin = (root) => {{
    const data = {data};
    {script}
  }};
  // A notebook may run the script before its cell is in the page.
  const look = () => {{
    const root = document.getElementById("{id}");
    if (root) begin(root); else requestAnimationFrame(look);
  }};
  look();
}})();
</script>
"""


class LiveFigure:
    """A figure in a cell's output.

    Args:
        script: a file of `live_scripts/`, without its ending.
        data: what the script finds as `data`; JSON.
        alt: what one would see, for people who do not.
    """

    def __init__(self, script: str, data: Mapping[str, Any], alt: str) -> None:
        self.script, self.data, self.alt = script, data, alt

    def __repr__(self) -> str:
        return f"<live figure {self.script}: {self.alt}>"

    def _repr_html_(self) -> str:
        return self.html

    @property
    def html(self) -> str:
        """For a page: the style, the place, and the script."""
        scripts = files("face2exp_lib.figures") / "live_scripts"
        style, *parts = (
            (scripts / name).read_text() for name in ("live.css", "parts.js", f"{self.script}.js")
        )
        data = json.dumps(self.data).replace("<", "\\u003c")
        # Two figures of one page differ in what they begin with.
        name = hashlib.sha256(f"{self.script}{data}".encode()).hexdigest()[:12]
        return PAGE.format(
            style=style,
            id=f"live-{name}",
            alt=escape(self.alt),
            data=data,
            script="\n".join(parts),
        )


def quiz(question: str, answers: Mapping[str, str], *, right: str) -> LiveFigure:
    """A question with answers to choose from, which the page marks.

    Args:
        question: in words.
        answers: each with what to tell whoever chooses it.
        right: one of them.

    Raises:
        ValueError: if it is none of them.
    """
    if right not in answers:
        raise ValueError(f"quiz: the right answer {right!r} is none of the answers")
    data = {"question": question, "answers": list(answers.items()), "right": right}
    return LiveFigure("quiz", data, f"A question with {len(answers)} answers: {question}")


def skewed_test(
    accuracies: Mapping[str, Mapping[str, float]], tests: Mapping[str, Mapping[str, int]]
) -> LiveFigure:
    """Overall accuracy and class mean of networks on a test part whose classes one makes rare or
    frequent.

    Args:
        accuracies: network -> class -> percent, the same classes for all.
        tests: parts to begin with, name -> class -> images, 0 to 1,500; the first is shown.

    Raises:
        ValueError: if classes differ.
    """
    classes = list(next(iter(tests.values())))
    for of_class in (*accuracies.values(), *tests.values()):
        if set(of_class) != set(classes):
            raise ValueError("skewed_test: all networks and test parts need the same classes")
    data = {
        "classes": classes,
        "networks": {name: [found[c] for c in classes] for name, found in accuracies.items()},
        "tests": {name: [counts[c] for c in classes] for name, counts in tests.items()},
    }
    alt = (
        "Bars of the overall accuracy and the class mean of each network, and a slider for the "
        "images of each class in the test part: overall accuracy moves with them, the class mean "
        "does not."
    )
    return LiveFigure("skewed_test", data, alt)


def loss_surface(
    faces: Sequence[Sequence[float]],
    labels: Sequence[int],
    unlabelled: Sequence[float],
    name: int,
    *,
    start: Sequence[float] = (0.0, 0.0),
    eta_a: float = 0.5,
    span: float = 2.0,
) -> LiveFigure:
    """The labelled loss over the two weights of an A that scores a face x with (w_0 x_0, w_1 x_1).

    A takes a step along a pseudo label: by how much the loss falls, what Eq. 6, the gradient before
    the step and the trapezoid say of it, and, shaded, where one of them has the wrong sign.

    Args:
        faces, labels: labelled faces, two numbers and class 0 or 1 each.
        unlabelled, name: the unlabelled face and its pseudo label.
        start: A's weights.
        eta_a: its learning rate, 0.01 to 4.
        span: weights go from -span to span.
    """
    data = {
        "faces": [list(face) for face in faces],
        "labels": list(labels),
        "unlabelled": list(unlabelled),
        "name": name,
        "start": list(start),
        "eta": eta_a,
        "span": span,
    }
    alt = (
        "A map of the labelled loss over A's two weights with an arrow, A's step. Sliders move "
        "the weights and the learning rate; numbers and bars beside it compare the fall of the "
        "loss with what three ways to measure it say."
    )
    return LiveFigure("loss_surface", data, alt)
