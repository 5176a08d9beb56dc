"""Lenses laid over a finished picture, since what lies behind them stays visible."""

import numpy as np

from face2exp_lib.rendering.geometry import normalise
from face2exp_lib.rendering.glasses import Glasses
from face2exp_lib.rendering.posing import PosedHead
from face2exp_lib.rendering.raster import Fragments, rasterise
from face2exp_lib.rendering.scene import Scene


def draw_lenses(
    picture: np.ndarray,
    head: PosedHead,
    fragments: Fragments,
    glasses: Glasses,
    scene: Scene,
    exposure: float,
) -> None:
    """Change `picture` (H, W, 3), linear light, where a lens is nearer than anything else.

    Args:
        picture: with everything but the lenses.
        head: wears the glasses.
        fragments: what `picture` shows.
        glasses: whose lenses they are.
        scene: what is mirrored.
        exposure: factor from light to picture.
    """
    height, width = fragments.depth.shape
    both_sided = np.zeros(len(head.lenses), np.bool_)
    glass = rasterise(head.projected, head.lenses, both_sided, width, height)
    seen = glass.depth > fragments.depth
    first, second, third = head.lenses[glass.triangle[seen]].T
    weight_1, weight_2 = glass.weight_1[seen][:, None], glass.weight_2[seen][:, None]

    def at_pixels(values: np.ndarray) -> np.ndarray:
        """(n, 3) interpolated between the (V, 3) values of the vertices."""
        return (
            values[first] * (1 - weight_1 - weight_2)
            + values[second] * weight_1
            + values[third] * weight_2
        )

    camera = np.array([0, 0, scene.distance], np.float32)
    picture[seen] = glasses.through_lenses(
        picture[seen],
        normalise(at_pixels(head.normals)),
        normalise(camera - at_pixels(head.vertices)),
        at_pixels(head.template)[:, 1],
        scene,
        exposure,
    )
