"""Noise is the lattice, interpolated."""

import numpy as np
import pytest

from face2exp_lib.rendering.noise import LATTICE_SIZE, lattice, noise


def test_lattice_points_midpoints_and_wrapping() -> None:
    values = lattice()
    points = np.array([[1, 2, 3], [1.5, 2, 3], [-1, 64, 127], [3, 4.25, 5.5]], np.float32)
    column = values[3, 4:6, 5:7].mean(1)
    expected = [
        values[1, 2, 3],
        values[1:3, 2, 3].mean(),
        values[LATTICE_SIZE - 1, 0, LATTICE_SIZE - 1],
        0.75 * column[0] + 0.25 * column[1],
    ]
    assert noise(points, 1.0) == pytest.approx(np.array(expected), abs=1e-6)


def test_frequency_stretch_and_offset() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (200, 3)).astype(np.float32)
    scale = np.array([2, 1, 0.5], np.float32)
    expected = noise(points * scale * 7 + np.array([1, 2, 3], np.float32), 1.0)
    shifted = noise(points, 7.0, np.array([1, 2, 3]), stretch=(2, 1, 0.5))
    assert shifted == pytest.approx(expected, abs=1e-3)
    assert noise(points, 7.0).std() == pytest.approx(0.5, abs=0.1)
