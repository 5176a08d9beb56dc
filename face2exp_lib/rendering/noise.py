"""Smooth random texture: trilinear interpolation of a fixed periodic lattice of normal numbers."""

from functools import cache

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop

LATTICE_SIZE = 64  # a power of two, so that wrapping around is one bit mask
LATTICE_SEED = 7


@cache
def lattice() -> np.ndarray:
    """(64, 64, 64) float32 standard normal numbers, the same for every image."""
    generator = np.random.default_rng(LATTICE_SEED)
    return generator.standard_normal((LATTICE_SIZE,) * 3).astype(np.float32)


@compile_loop
def _interpolate(values, x, y, z, scale, offset, out):  # type: ignore[no-untyped-def]
    mask = np.uint32(LATTICE_SIZE - 1)
    one = np.uint32(1)
    for i in range(x.shape[0]):
        place_x = x[i] * scale[0] + offset[0]
        place_y = y[i] * scale[1] + offset[1]
        place_z = z[i] * scale[2] + offset[2]
        floor_x, floor_y, floor_z = np.floor(place_x), np.floor(place_y), np.floor(place_z)
        a, b, c = place_x - floor_x, place_y - floor_y, place_z - floor_z
        x0 = np.uint32(np.int32(floor_x)) & mask
        y0 = np.uint32(np.int32(floor_y)) & mask
        z0 = np.uint32(np.int32(floor_z)) & mask
        x1, y1, z1 = (x0 + one) & mask, (y0 + one) & mask, (z0 + one) & mask
        near = values[x0, y0, z0] + (values[x1, y0, z0] - values[x0, y0, z0]) * a
        near_up = values[x0, y1, z0] + (values[x1, y1, z0] - values[x0, y1, z0]) * a
        far = values[x0, y0, z1] + (values[x1, y0, z1] - values[x0, y0, z1]) * a
        far_up = values[x0, y1, z1] + (values[x1, y1, z1] - values[x0, y1, z1]) * a
        near += (near_up - near) * b
        far += (far_up - far) * b
        out[i] = near + (far - near) * c


def noise(
    points: np.ndarray,
    frequency: float,
    offset: float | np.ndarray = 0.0,
    *,
    stretch: tuple[float, float, float] | None = None,
) -> np.ndarray:
    """Random texture at `points`.

    Args:
        points: (n, 3) float32.
        frequency: lattice cells per unit of `points`.
        offset: shift in lattice cells, so that two uses or two people differ.
        stretch: factors on x, y, z; a small one draws the texture out along that axis.

    Returns:
        (n,) float32 with mean about 0 and standard deviation about 0.5.
    """
    x, y, z = (np.ascontiguousarray(axis, np.float32) for axis in points.T)
    scale = np.array(stretch or (1, 1, 1), np.float32) * np.float32(frequency)
    shift = np.array(np.broadcast_to(offset, 3), np.float32)
    out = np.empty(len(x), np.float32)
    _interpolate(lattice(), x, y, z, scale, shift, out)
    return out
