"""Reflectance and gloss of each pixel, built up layer over layer."""

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.geometry import empty_vectors

SKIN_HARDNESS = 18.0  # Blinn-Phong exponent


@compile_loop
def _cover(albedo, mask, colour, per_pixel):  # type: ignore[no-untyped-def]
    one = np.float32(1)
    for channel in range(3):
        for i in range(mask.shape[0]):
            layer = colour[i if per_pixel else 0, channel]
            albedo[i, channel] = albedo[i, channel] * (one - mask[i]) + layer * mask[i]


@compile_loop
def _tint(albedo, mask, factors):  # type: ignore[no-untyped-def]
    one = np.float32(1)
    for channel in range(3):
        change = factors[channel] - one
        for i in range(mask.shape[0]):
            albedo[i, channel] *= one + mask[i] * change


class Paint:
    """What the light falls on.

    Attributes:
        albedo: (n, 3) reflectance in linear light; gloss: (n,) strength of highlights;
        hardness: (n,) their Blinn-Phong exponent. All float32.
    """

    def __init__(self, albedo: np.ndarray, count: int, gloss: float) -> None:
        self.albedo = empty_vectors(count)
        self.albedo[:] = albedo
        self.gloss = np.full(count, gloss, np.float32)
        self.hardness = np.full(count, SKIN_HARDNESS, np.float32)

    def cover(self, mask: np.ndarray, colour: np.ndarray | float) -> None:
        """Lay an opaque colour over the part that `mask` (n,) says.

        Args:
            mask: (n,) 0 to 1.
            colour: one number, (3,), or (n, 3) for a colour of each pixel's own.
        """
        layer = np.asarray(colour, np.float32)
        if layer.ndim < 2:
            layer = np.full((1, 3), layer)
        _cover(self.albedo, self._checked(mask), layer, len(layer) > 1)

    def tint(self, mask: np.ndarray, factors: tuple[float, float, float]) -> None:
        """Multiply by `factors` where `mask` (n,) is 1, less where it is less."""
        _tint(self.albedo, self._checked(mask), np.array(factors, np.float32))

    def _checked(self, mask: np.ndarray) -> np.ndarray:
        """A mask as compiled loops, which look at no shapes, need it."""
        if mask.shape != self.gloss.shape:
            raise ValueError(f"mask of shape {mask.shape} for paint of shape {self.gloss.shape}")
        return np.ascontiguousarray(mask, np.float32)
