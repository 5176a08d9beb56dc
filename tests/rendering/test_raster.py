"""Rasteriser: known triangles, and random ones against a direct test of every pixel."""

import numpy as np
import pytest

from face2exp_lib.rendering.raster import EMPTY_DEPTH, rasterise


def test_known_triangles() -> None:
    # A near triangle over the left upper corner, a far one that covers the picture, and one seen
    # from behind in front of all.
    points = np.array(
        [
            *([0, 0, 2], [0, 2, 2], [2, 0, 2]),
            *([0, 0, 1], [0, 8, 1], [8, 0, 1]),
            *([0, 0, 3], [8, 0, 3], [0, 8, 3]),
        ],
        np.float32,
    )
    triangles = np.arange(9, dtype=np.int32).reshape(3, 3)
    fragments = rasterise(points, triangles, np.array([True, True, True]), 3, 3)
    assert fragments.triangle.tolist() == [[0, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert fragments.depth.tolist() == [[2, 2, 1], [2, 1, 1], [1, 1, 1]]
    # pixel centre (0.5, 0.5) of the near triangle: a quarter towards each of the other corners
    assert fragments.weight_1[0, 0] == pytest.approx(0.25)
    assert fragments.weight_2[0, 0] == pytest.approx(0.25)
    both_sides = rasterise(points, triangles, np.array([False, False, False]), 3, 3)
    assert (both_sides.triangle == 2).all()


def test_every_pixel_of_random_triangles() -> None:
    rng = np.random.default_rng(0)
    size = 24
    points = rng.uniform(-10, size + 10, (90, 3)).astype(np.float32)
    points[:12, 1] = np.repeat([3.5, 7.25, 20.0], 4)  # some edges run along rows
    triangles = np.arange(90, dtype=np.int32).reshape(30, 3)
    fragments = rasterise(points, triangles, np.zeros(30, np.bool_), size, size)
    missed = 0
    for row in range(size):
        for column in range(size):
            x, y = column + 0.5, row + 0.5
            depth, nearest = EMPTY_DEPTH, -1
            for k, (a, b, c) in enumerate(points[triangles].astype(float)):
                edges = np.array([[b[0] - a[0], c[0] - a[0]], [b[1] - a[1], c[1] - a[1]]])
                if np.linalg.det(edges) == 0:
                    continue
                u, v = np.linalg.solve(edges, [x - a[0], y - a[1]])
                z = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                if min(u, v, 1 - u - v) >= 0 and z > depth:
                    depth, nearest = z, k
            missed += fragments.triangle[row, column] != nearest
            if nearest >= 0:
                assert fragments.depth[row, column] == pytest.approx(depth, rel=1e-4, abs=1e-3)
    assert missed == 0
    assert (fragments.triangle >= 0).mean() > 0.5
    assert len(np.unique(fragments.triangle)) > 8


def test_triangles_that_share_an_edge_leave_no_gap() -> None:
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1) * 4
    grid[1:-1, 1:-1] += rng.uniform(-1.5, 1.5, (7, 7, 2))
    points = np.concatenate([grid.reshape(-1, 2), np.zeros((81, 1))], 1)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + 9], 1),
            np.stack([corner + 1, corner + 10, corner + 9], 1),
        ]
    ).astype(np.int32)
    fragments = rasterise(points, triangles, np.zeros(128, np.bool_), 32, 32)
    assert (fragments.triangle >= 0).all()
