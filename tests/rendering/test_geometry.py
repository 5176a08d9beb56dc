"""Vector geometry against plain numpy."""

import numpy as np
import pytest

from face2exp_lib.rendering.geometry import (
    gaussian,
    normalise,
    rotation,
    smoothstep,
    transform,
    vertex_normals,
)


def test_smoothstep_of_numbers_arrays_and_moving_ends() -> None:
    values = np.array([-1, 0, 0.25, 0.5, 1, 2], np.float32)
    expected = [0, 0, 0.15625, 0.5, 1, 1]
    assert smoothstep(values, 0, 1) == pytest.approx(expected)
    assert smoothstep(-values, -1, 0) == pytest.approx(1 - np.array(expected))
    assert smoothstep(values + values, values * 0, values * 0 + 2) == pytest.approx(expected)
    assert smoothstep(np.array(0.25), 0, 1) == pytest.approx(0.15625)
    columns = np.array([values, values]).T  # not contiguous
    assert smoothstep(columns, 0, 1) == pytest.approx(np.array([expected, expected]).T)
    assert smoothstep(values, 0, 1).dtype == np.float32
    assert values.tolist() == [-1, 0, 0.25, 0.5, 1, 2]


def test_gaussian() -> None:
    assert gaussian(np.array([0, 2, -2]), 2.0) == pytest.approx([1, np.exp(-1), np.exp(-1)])


def test_transform_is_the_matrix_product() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    turn = rotation(0.3, -0.2, 0.1)
    assert transform(points, turn) == pytest.approx(points @ turn.T, abs=1e-5)
    assert transform(np.asfortranarray(points), turn) == pytest.approx(points @ turn.T, abs=1e-5)


def test_normalise_takes_any_shape_and_keeps_zero() -> None:
    vectors = np.array([[[3, 0, 4], [0, 0, 0]], [[0, -2, 0], [1, 1, 1]]], float)
    third = 1 / np.sqrt(3)
    expected = np.array([[[0.6, 0, 0.8], [0, 0, 0]], [[0, -1, 0], [third] * 3]])
    assert normalise(vectors) == pytest.approx(expected)
    assert normalise(vectors[0, 0]) == pytest.approx(expected[0, 0])
    assert vectors[0, 0].tolist() == [3, 0, 4]


def test_vertex_normals_weigh_triangles_by_area() -> None:
    # Two triangles at a right angle share an edge along x; the one facing z is twice as large.
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, -1], [9, 9, 9]], float)
    triangles = np.array([[0, 1, 2], [1, 0, 3]], np.int32)
    normals = vertex_normals(vertices, triangles)
    assert normals[2] == pytest.approx([0, 0, 1])
    assert normals[3] == pytest.approx([0, -1, 0])
    assert normals[0] == pytest.approx(np.array([0, -1, 2]) / np.sqrt(5))
    assert normals[4] == pytest.approx([0, 0, 0])
