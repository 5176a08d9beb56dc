"""What covers part of a face in some pictures: glasses, a hat, a hand."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from face2exp_lib.rendering.glasses import sample_glasses
from face2exp_lib.rendering.hand import HAND_POSES, sample_hand
from face2exp_lib.rendering.hats import sample_hat
from face2exp_lib.rendering.identity import Identity
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.prop import Wearable
from face2exp_lib.rendering.surface import Surface


class Occluder(Wearable, Protocol):
    """Something worn or held before the face."""

    @property
    def kind(self) -> str:
        """A key of `OCCLUDERS`."""

    def paint(self, paint: Paint, surface: Surface, identity: Identity) -> None:
        """Paint the pixels that show it."""


# Kind -> its share among the pictures that have an occluder, and how one is drawn.
OCCLUDERS: dict[str, tuple[float, Callable[[np.random.Generator, str], Occluder]]] = {
    "glasses": (0.42, sample_glasses),
    "tinted_glasses": (0.06, sample_glasses),
    "sunglasses": (0.07, sample_glasses),
    "cap": (0.10, sample_hat),
    "beanie": (0.09, sample_hat),
    "brimmed_hat": (0.06, sample_hat),
    **dict.fromkeys(HAND_POSES, (0.05, sample_hand)),
}


def make_occluder(kind: str, generator: np.random.Generator) -> Occluder:
    """Draw an occluder of a kind."""
    return OCCLUDERS[kind][1](generator, kind)


def sample_occluder(generator: np.random.Generator, occlusion: float) -> Occluder | None:
    """Draw what covers the face in a picture, if anything.

    Args:
        generator: source of all draws.
        occlusion: probability that something does.
    """
    if generator.random() >= occlusion:
        return None
    shares = np.array([share for share, _ in OCCLUDERS.values()])
    kind = str(generator.choice(list(OCCLUDERS), p=shares / shares.sum()))
    return make_occluder(kind, generator)
