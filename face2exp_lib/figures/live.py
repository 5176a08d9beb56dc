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

import numpy as np

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


def collapse(
    classes: Sequence[str],
    colours: Sequence[str],
    *,
    ratio: float = 30.0,
    distance: float = 1.2,
    per_class: int = 120,
    steps: int = 200,
    rate: float = 3.0,
    scale: float = 0.2,
    seed: int = 0,
) -> LiveFigure:
    """A linear network that learns a long tail of points step by step, and what it says meanwhile.

    It begins from weights of 0 and takes whole-batch steps on the cross entropy. Class k of K has
    `per_class * ratio ** (-k / (K - 1))` labels; the test has all points of every class.

    Args:
        classes: K names, the one with most labels first.
        colours: of each, as #rrggbb.
        ratio: of the most labels to the fewest, 1 to 100.
        distance: of the classes from their common centre, in standard deviations, 0.2 to 3.
        per_class: points of a class.
        steps: of the training.
        rate: of a step.
        scale: what the points are multiplied by before the network sees them: as features that have
            still to grow, they are slower to learn than its bias.
        seed: of the points.

    Raises:
        ValueError: if there are not as many colours as classes.
    """
    if len(colours) != len(classes):
        raise ValueError(f"collapse: {len(colours)} colours for {len(classes)} classes")
    points = np.random.default_rng(seed).normal(size=(len(classes), per_class, 2)).round(3)
    data = {
        "classes": list(classes),
        "colours": list(colours),
        "points": points.tolist(),
        "steps": steps,
        "rate": rate,
        "scale": scale,
        "ratio": ratio,
        "distance": distance,
    }
    alt = (
        "Points of several classes on a ground that has the colour of the class that is said "
        "there. Sliders move the step of the training, the imbalance of the labels and the "
        "distance of the classes; a table tells how often each class is said, and how often "
        "rightly."
    )
    return LiveFigure("collapse", data, alt)


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


def smile(
    classes: Sequence[str],
    expressions: Sequence[str],
    strengths: Sequence[float],
    sheet: str,
    side: int,
    percent: Sequence[Sequence[Sequence[float]]],
    *,
    active: int,
) -> LiveFigure:
    """A face whose expression is chosen and made stronger, and what a network makes of it.

    Args:
        classes: K names, of the network's outputs.
        expressions: R names, a row of the sheet each.
        strengths: C, a column of the sheet each; 1 is the prototype in full.
        sheet: address of a picture of R x C faces of `side` px.
        percent: (R, C, K) what the network says.
        active: the strength that is shown first.

    Raises:
        ValueError: if `percent` has another shape.
    """
    shape = (len(expressions), len(strengths), len(classes))
    if np.shape(percent) != shape:
        raise ValueError(f"smile: percent has shape {np.shape(percent)} instead of {shape}")
    data = {
        "classes": list(classes),
        "expressions": list(expressions),
        "strengths": list(strengths),
        "sheet": sheet,
        "side": side,
        "percent": percent,
        "active": active,
    }
    alt = (
        "A rendered face, a choice of its expression and a slider of its strength, and bars of "
        "the probabilities that a network gives to each class."
    )
    return LiveFigure("smile", data, alt)


def you_are_b(
    classes: Sequence[str],
    faces: Sequence[str],
    products: Sequence[Sequence[float]],
    truth: Sequence[int],
    network: Sequence[int],
    *,
    eta_a: float,
) -> LiveFigure:
    """Unlabelled faces that the reader names in B's place, and the f that these names get.

    Args:
        classes: K names.
        faces: addresses of M pictures.
        products: (M, K) of A's gradient from face m named k with its gradient from labelled faces,
            as `image_weights.helpful_weights` has them; f is eta_A times their mean over the faces.
        truth, network: M class indices; what is there, and what a network says.
        eta_a: A's learning rate.

    Raises:
        ValueError: if the numbers of faces or classes differ.
    """
    m, k = len(faces), len(classes)
    if np.shape(products) != (m, k) or len(truth) != m or len(network) != m:
        raise ValueError(f"you_are_b: products, truth and network need {m} faces, {k} classes")
    data = {
        "classes": list(classes),
        "faces": list(faces),
        "products": products,
        "truth": list(truth),
        "network": list(network),
        "eta": eta_a,
    }
    alt = (
        f"{m} rendered faces with a choice of a name each, and the feedback coefficient of these "
        "names beside that of a network's names and of the truth."
    )
    return LiveFigure("you_are_b", data, alt)


def fixed_faces(
    classes: Sequence[str],
    faces: Sequence[str],
    truth: Sequence[int],
    runs: Mapping[str, Sequence[tuple[int, Sequence[Sequence[float]]]]],
) -> LiveFigure:
    """The same faces through training: what each run calls them at each validation.

    Args:
        classes: K names.
        faces: addresses of M pictures.
        truth: their M classes.
        runs: name -> (step, (M, K) percent) of each validation; as many for every run.

    Raises:
        ValueError: if the shapes do not fit.
    """
    shape = (len(faces), len(classes))
    if len({len(states) for states in runs.values()}) != 1:
        raise ValueError("fixed_faces: the runs have different numbers of states")
    for name, states in runs.items():
        for step, percent in states:
            if np.shape(percent) != shape:
                found = np.shape(percent)
                raise ValueError(f"fixed_faces: {name}, step {step}: {found} instead of {shape}")
    told = {
        name: [
            {
                "step": step,
                "best": np.argmax(percent, 1).tolist(),
                "percent": np.max(percent, 1).round().astype(int).tolist(),
            }
            for step, percent in states
        ]
        for name, states in runs.items()
    }
    data = {"classes": list(classes), "faces": list(faces), "truth": list(truth), "runs": told}
    alt = (
        f"{len(faces)} rendered faces and what a network calls each of them; a slider goes through "
        "its training, and a choice from run to run."
    )
    return LiveFigure("fixed_faces", data, alt)
