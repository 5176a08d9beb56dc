"""Reflectance and gloss of each pixel, built up layer over layer."""

import numpy as np

SKIN_HARDNESS = 18.0  # Blinn-Phong exponent


class Paint:
    """What the light falls on.

    Attributes:
        albedo: (n, 3) reflectance in linear light; gloss: (n,) strength of highlights;
        hardness: (n,) their Blinn-Phong exponent.
    """

    def __init__(self, albedo: np.ndarray, count: int, gloss: float) -> None:
        self.albedo = np.tile(albedo.astype(np.float32), (count, 1))
        self.gloss = np.full(count, gloss, np.float32)
        self.hardness = np.full(count, SKIN_HARDNESS, np.float32)

    def cover(self, mask: np.ndarray, colour: np.ndarray | float) -> None:
        """Lay an opaque colour over the part that `mask` (n,) says."""
        part = mask.astype(np.float32)[:, None]
        self.albedo = self.albedo * (1 - part) + colour * part

    def tint(self, mask: np.ndarray, factors: tuple[float, float, float]) -> None:
        """Multiply by `factors` where `mask` (n,) is 1, less where it is less."""
        change = np.array(factors, np.float32) - 1
        self.albedo *= 1 + mask.astype(np.float32)[:, None] * change
