"""What a training step costs: images that go forward and backward through a network.

Counted to compare methods at equal compute. Networks of one run share an architecture, so an image
costs the same in each of them. What is not counted costs little beside it: losses, dot products,
optimisers.
"""

from dataclasses import dataclass
from typing import Literal

from face2exp_lib.methods.feedback import FeedbackWay

Method = Literal[
    "supervised",
    "class_balanced",
    "scn",
    "pseudo_label",
    "noisy_student",
    "uda",
    "fixmatch",
    "meta_pseudo_labels",
    "meta",
]

LABELS_ALONE: tuple[Method, ...] = ("supervised", "class_balanced", "scn")

# In forward passes: the gradient by a layer's weights and the one by its inputs take one
# multiplication of the forward pass's size each.
BACKWARD_COST = 2.0


@dataclass(frozen=True)
class Passes:
    """Image passes through a network.

    Attributes:
        forward: images that go forward, with or without a graph. A forward-mode derivative counts
            as one more: its tangents take a second multiplication of each layer.
        backward: images that go backward.
    """

    forward: int
    backward: int

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, steps: int) -> "Passes":
        return Passes(self.forward * steps, self.backward * steps)

    @property
    def cost(self) -> float:
        """Compute, in forward passes of one image."""
        return self.forward + BACKWARD_COST * self.backward


def looking(images: int) -> Passes:
    """Forward, without a gradient."""
    return Passes(images, 0)


def learning(images: int) -> Passes:
    """Forward and backward."""
    return Passes(images, images)


def feedback_passes(way: FeedbackWay, n: int) -> Passes:
    """Of f: n labelled images through the adaptation network (the student)."""
    if way == "none":
        return looking(0)
    return learning(n) if way == "exact" else looking(2 * n)


def step_passes(
    method: Method,
    n: int,
    m: int,
    *,
    feedback: FeedbackWay = "exact",
    moving_target: bool = False,
    together: bool = False,
) -> Passes:
    """Passes of one step.

    Args:
        method: whose step.
        n: labelled (FER) images in a batch.
        m: unlabelled (FR) images in a batch.
        feedback: how it is measured, in the two methods that have it.
        moving_target: of Meta-Face2Exp, where `consistency_target` is `moving`.
        together: of Meta-Face2Exp, where `batch_norm` is: every pass takes both kinds of images.
    """
    match method:
        case "supervised" | "class_balanced" | "scn":
            return learning(n)
        case "pseudo_label":  # labels and learns in one pass
            return learning(n + m)
        case "noisy_student" | "uda" | "fixmatch":
            return learning(n + m) + looking(m)
        case "meta_pseudo_labels":
            student = learning(m) + feedback_passes(feedback, n)
            # looks at Aug(x_FR) to label it and at x_FR for UDA's target
            teacher = learning(n + m) + looking(2 * m)
            return student + teacher
        case "meta":
            if together:
                n = m = n + m
            adaptation = learning(m) + feedback_passes(feedback, n)
            # x_FR for the labels and for line 15's gradient, if there is f; x_FER; Aug(x_FR)
            base = (looking(m) if feedback == "none" else learning(m)) + learning(n + m)
            return adaptation + base + learning(m if moving_target else 0)
