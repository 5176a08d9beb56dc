"""Smooth random texture: trilinear interpolation of a fixed periodic lattice of normal numbers."""

from functools import cache

import numpy as np

from face2exp_lib.faces.compiled import HAVE_NUMBA, compile_loop

LATTICE_SIZE = 64  # a power of two, so that wrapping around is one bit mask
LATTICE_SEED = 7


@cache
def lattice() -> np.ndarray:
    """(64, 64, 64) float32 standard normal numbers, the same for every image."""
    generator = np.random.default_rng(LATTICE_SEED)
    return generator.standard_normal((LATTICE_SIZE,) * 3).astype(np.float32)


@compile_loop
def _interpolate_loop(values, points, out):  # type: ignore[no-untyped-def]
    mask = values.shape[0] - 1
    for i in range(points.shape[0]):
        floor_x, floor_y, floor_z = (
            np.floor(points[i, 0]),
            np.floor(points[i, 1]),
            np.floor(points[i, 2]),
        )
        a, b, c = points[i, 0] - floor_x, points[i, 1] - floor_y, points[i, 2] - floor_z
        x0, y0, z0 = int(floor_x) & mask, int(floor_y) & mask, int(floor_z) & mask
        x1, y1, z1 = (x0 + 1) & mask, (y0 + 1) & mask, (z0 + 1) & mask
        near = (values[x0, y0, z0] * (1 - a) + values[x1, y0, z0] * a) * (1 - b)
        near += (values[x0, y1, z0] * (1 - a) + values[x1, y1, z0] * a) * b
        far = (values[x0, y0, z1] * (1 - a) + values[x1, y0, z1] * a) * (1 - b)
        far += (values[x0, y1, z1] * (1 - a) + values[x1, y1, z1] * a) * b
        out[i] = near * (1 - c) + far * c


def _interpolate_array(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    mask = values.shape[0] - 1
    floor = np.floor(points)
    a, b, c = (points - floor).T
    x0, y0, z0 = (floor.astype(np.int64) & mask).T
    x1, y1, z1 = (x0 + 1) & mask, (y0 + 1) & mask, (z0 + 1) & mask
    near = (values[x0, y0, z0] * (1 - a) + values[x1, y0, z0] * a) * (1 - b)
    near += (values[x0, y1, z0] * (1 - a) + values[x1, y1, z0] * a) * b
    far = (values[x0, y0, z1] * (1 - a) + values[x1, y0, z1] * a) * (1 - b)
    far += (values[x0, y1, z1] * (1 - a) + values[x1, y1, z1] * a) * b
    return near * (1 - c) + far * c


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
    if stretch is not None:
        points = points * np.array(stretch, np.float32)
    cells = np.ascontiguousarray(
        points * np.float32(frequency) + np.asarray(offset, np.float32), np.float32
    )
    if not HAVE_NUMBA:
        return _interpolate_array(lattice(), cells).astype(np.float32)
    out = np.empty(len(cells), np.float32)
    _interpolate_loop(lattice(), cells, out)
    return out
