"""Triangles to pixels: which triangle is nearest at each pixel centre, and where on it."""

from typing import NamedTuple

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop

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
def _clip_span(value, slope, first, last):  # type: ignore[no-untyped-def]
    """The part of the columns `first` to `last` where value + slope * column is not below 0."""
    value += EDGE_TOLERANCE
    if slope > 0:
        first = max(first, np.ceil(-value / slope))
    elif slope < 0:
        last = min(last, np.floor(-value / slope))
    # else the edge runs along the rows, and the triangle has none beyond it
    return first, last


@compile_loop
def _rasterise(points, triangles, one_sided, depth, triangle, weight_1, weight_2):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for k in range(triangles.shape[0]):
        i, j, m = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        x0, x1, x2 = points[i, 0], points[j, 0], points[m, 0]
        left = max(0.0, np.ceil(min(x0, x1, x2) - 0.5))
        right = min(width - 1.0, np.floor(max(x0, x1, x2) - 0.5))
        if left > right:  # most triangles of a coarse map lie between two pixel centres
            continue
        y0, y1, y2 = points[i, 1], points[j, 1], points[m, 1]
        top = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
        bottom = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if top > bottom or (one_sided[k] and area >= 0) or abs(area) < SMALLEST_AREA:
            continue
        z0, z1, z2 = points[i, 2], points[j, 2], points[m, 2]
        # The weights u and v of the second and third corner grow evenly along rows and columns.
        u_by_x, u_by_y = (y2 - y0) / area, (x0 - x2) / area
        v_by_x, v_by_y = (y0 - y1) / area, (x1 - x0) / area
        for row in range(top, bottom + 1):
            x, y = 0.5 - x0, row + 0.5 - y0
            u_start, v_start = x * u_by_x + y * u_by_y, x * v_by_x + y * v_by_y
            first, last = _clip_span(u_start, u_by_x, left, right)
            first, last = _clip_span(v_start, v_by_x, first, last)
            first, last = _clip_span(1 - u_start - v_start, -u_by_x - v_by_x, first, last)
            if first > last:
                continue
            for column in range(int(first), int(last) + 1):
                u, v = u_start + column * u_by_x, v_start + column * v_by_x
                z = z0 + u * (z1 - z0) + v * (z2 - z0)
                if z > depth[row, column]:
                    depth[row, column] = z
                    triangle[row, column] = k
                    weight_1[row, column] = u
                    weight_2[row, column] = v


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
    fragments = Fragments(
        np.full((height, width), EMPTY_DEPTH, np.float32),
        np.full((height, width), -1, np.int32),
        np.zeros((height, width), np.float32),
        np.zeros((height, width), np.float32),
    )
    _rasterise(np.ascontiguousarray(points, np.float32), triangles, one_sided, *fragments)
    return fragments
