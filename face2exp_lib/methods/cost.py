"""What a training step costs: images that go forward and backward through a network.

Counted to compare methods at equal compute. Networks of one run share an architecture, so an image
costs the same in each of them. What is not counted costs little beside it: losses, dot products,
optimisers.
"""

from dataclasses import dataclass

from face2exp_lib.methods.feedback import FeedbackWay

# In forward passes: the gradient by a layer's weights and the one by its inputs take one
# multiplication of the forward pass's size each.
BACKWARD_COST = 2.0


@dataclass(frozen=True)
class Passes:
    """Image passes through a network.

    Attributes:
        forward: images that go forward, with or without a graph. A forward-mode derivative counts
            as two more: the tangents of a layer's inputs and of its weights take one multiplication
            of the forward pass's size each, as in a backward pass.
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


def sloping(images: int) -> Passes:
    """Forward, with the derivative along a direction."""
    return looking(3 * images)


def feedback_passes(way: FeedbackWay, n: int) -> Passes:
    """Of f: n labelled images through the adaptation network (the student)."""
    return {
        "exact": learning(n),
        "trapezoid": learning(2 * n),
        "jvp": sloping(n),
        "finite_difference": looking(2 * n),
        "none": looking(0),
    }[way]
