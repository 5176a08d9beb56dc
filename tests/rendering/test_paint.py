"""Layers of paint."""

import numpy as np
import pytest

from face2exp_lib.rendering.paint import Paint

GREY = np.array([0.5, 0.5, 0.5])


def test_cover_with_a_number_a_colour_and_a_colour_of_each_pixels_own() -> None:
    mask = np.array([0, 0.25, 1])
    own = np.arange(9).reshape(3, 3) / 10
    for colour in (0.9, np.array([0.1, 0.2, 0.3]), own):
        paint = Paint(GREY, 3, 0.2)
        paint.cover(mask, colour)
        expected = 0.5 * (1 - mask[:, None]) + np.full((3, 3), colour) * mask[:, None]
        assert paint.albedo == pytest.approx(expected)
        assert paint.albedo.dtype == np.float32


def test_tint_multiplies_as_far_as_the_mask_says() -> None:
    paint = Paint(GREY, 3, 0.2)
    paint.tint(np.array([0, 0.5, 1]), (0.5, 1.0, 2.0))
    expected = [[0.5, 0.5, 0.5], [0.375, 0.5, 0.75], [0.25, 0.5, 1.0]]
    assert paint.albedo == pytest.approx(np.array(expected))


def test_a_mask_of_another_length_is_refused() -> None:
    paint = Paint(GREY, 3, 0.2)
    with pytest.raises(ValueError, match="mask of shape"):
        paint.cover(np.ones(4), 0.9)
    with pytest.raises(ValueError, match="mask of shape"):
        paint.tint(np.ones((3, 1)), (1, 1, 1))
