"""Triangles to pixels: which triangle is nearest at each pixel centre, and where on it.

Two interchangeable ways: compiled loops, and numpy alone, which lists every pixel of every
triangle's bounding box. Images made either way differ by at most one grey level.
"""

from typing import NamedTuple

import numpy as np

from face2exp_lib.faces.compiled import HAVE_NUMBA, compile_loop

EMPTY_DEPTH = -1e9
SMALLEST_AREA = 1e-9
EDGE_TOLERANCE = 1e-7  # neighbours share an edge: better twice than never


class Fragments(NamedTuple):
    """What is seen at each pixel, arrays of (height, width).

    Attributes:
        depth: float32, larger is nearer; `EMPTY_DEPTH` where nothing is.
        triangle: int32 index, -1 where nothing is.
        weight_1, weight_2: float32 barycentric weights of the triangle's second and third corner.
    """

    depth: np.ndarray
    triangle: np.ndarray
    weight_1: np.ndarray
    weight_2: np.ndarray


@compile_loop
def _rasterise_loop(points, triangles, one_sided, depth, triangle, weight_1, weight_2):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for k in range(triangles.shape[0]):
        i, j, m = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        x0, y0, z0 = points[i, 0], points[i, 1], points[i, 2]
        x1, y1, z1 = points[j, 0], points[j, 1], points[j, 2]
        x2, y2, z2 = points[m, 0], points[m, 1], points[m, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if (one_sided[k] and area >= 0) or abs(area) < SMALLEST_AREA:
            continue
        left = max(0, int(np.ceil(min(x0, x1, x2) - 0.5)))
        right = min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        top = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        inverse = 1.0 / area
        for row in range(top, bottom + 1):
            y = row + 0.5
            for column in range(left, right + 1):
                x = column + 0.5
                u = ((x - x0) * (y2 - y0) - (x2 - x0) * (y - y0)) * inverse
                v = ((x1 - x0) * (y - y0) - (x - x0) * (y1 - y0)) * inverse
                if u < -EDGE_TOLERANCE or v < -EDGE_TOLERANCE or u + v > 1 + EDGE_TOLERANCE:
                    continue
                z = z0 + u * (z1 - z0) + v * (z2 - z0)
                if z > depth[row, column]:
                    depth[row, column] = z
                    triangle[row, column] = k
                    weight_1[row, column] = u
                    weight_2[row, column] = v


def _empty(width: int, height: int) -> Fragments:
    return Fragments(
        np.full((height, width), EMPTY_DEPTH, np.float32),
        np.full((height, width), -1, np.int32),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.float32),
    )


def rasterise_compiled(
    points: np.ndarray, triangles: np.ndarray, one_sided: np.ndarray, width: int, height: int
) -> Fragments:
    """`rasterise` by compiled loops."""
    fragments = _empty(width, height)
    _rasterise_loop(points.astype(np.float32), triangles, one_sided, *fragments)
    return fragments


def rasterise_arrays(
    points: np.ndarray, triangles: np.ndarray, one_sided: np.ndarray, width: int, height: int
) -> Fragments:
    """`rasterise` with numpy alone."""
    corner = points.astype(np.float32)[triangles]
    edge_1, edge_2 = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = edge_1[:, 0] * edge_2[:, 1] - edge_2[:, 0] * edge_1[:, 1]
    low, high = corner[..., :2].min(1), corner[..., :2].max(1)
    first = np.maximum(np.ceil(low - 0.5).astype(np.int64), 0)
    last = np.minimum(np.floor(high - 0.5).astype(np.int64), (width - 1, height - 1))
    extent = last - first + 1
    drawn = (extent > 0).all(1) & (np.abs(area) > SMALLEST_AREA) & ~(one_sided & (area >= 0))
    chosen = np.flatnonzero(drawn)
    num_pixels = extent[chosen].prod(1)

    owner = np.repeat(np.arange(len(chosen)), num_pixels)
    k = chosen[owner]
    within = np.arange(num_pixels.sum()) - np.repeat(np.cumsum(num_pixels) - num_pixels, num_pixels)
    column = first[k, 0] + within % extent[k, 0]
    row = first[k, 1] + within // extent[k, 0]
    offset_x = (column + 0.5).astype(np.float32) - corner[k, 0, 0]
    offset_y = (row + 0.5).astype(np.float32) - corner[k, 0, 1]
    inverse = 1 / area[k]
    u = (offset_x * edge_2[k, 1] - edge_2[k, 0] * offset_y) * inverse
    v = (edge_1[k, 0] * offset_y - offset_x * edge_1[k, 1]) * inverse
    inside = (u >= -EDGE_TOLERANCE) & (v >= -EDGE_TOLERANCE) & (u + v <= 1 + EDGE_TOLERANCE)
    k, row, column, u, v = (values[inside] for values in (k, row, column, u, v))
    z = corner[k, 0, 2] + u * edge_1[k, 2] + v * edge_2[k, 2]

    fragments = _empty(width, height)
    # Sorted by depth, and by falling index where depths are equal: the last write to a pixel wins,
    # as in the loop, where a later triangle must be strictly nearer.
    order = np.lexsort((-k, z))
    pixel = (row[order], column[order])
    fragments.depth[pixel] = z[order]
    fragments.triangle[pixel] = k[order]
    fragments.weight_1[pixel] = u[order]
    fragments.weight_2[pixel] = v[order]
    return fragments


def rasterise(
    points: np.ndarray, triangles: np.ndarray, one_sided: np.ndarray, width: int, height: int
) -> Fragments:
    """Nearest triangle at every pixel centre.

    Args:
        points: (V, 3): column and row in pixels (pixel centres at .5), depth (larger is nearer).
        triangles: (T, 3) int32 vertex indices.
        one_sided: (T,) bool: leave the triangle out when it is seen from behind.
        width, height: in pixels.
    """
    chosen = rasterise_compiled if HAVE_NUMBA else rasterise_arrays
    return chosen(points, triangles, one_sided, width, height)
