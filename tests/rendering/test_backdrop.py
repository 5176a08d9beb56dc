"""Backdrops: light that a camera could see, the same at every size."""

import numpy as np
import pytest

from face2exp_lib.rendering.backdrop import KINDS, draw_backdrop

COLOURS = np.random.default_rng(0).uniform(0.1, 0.6, (5, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_is_light_and_depends_on_the_seed_alone(kind: int) -> None:
    picture = draw_backdrop(kind, COLOURS, 5, 64)
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert 0.01 < picture.mean() < 2
    assert np.array_equal(picture, draw_backdrop(kind, COLOURS, 5, 64))
    assert np.abs(picture - draw_backdrop(kind, COLOURS, 6, 64)).mean() > 0.01


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_another_size_shows_the_same_place(kind: int) -> None:
    small, large = (draw_backdrop(kind, COLOURS, 5, width) for width in (96, 192))
    shrunk = large.reshape(96, 2, 96, 2, 3).mean((1, 3))
    assert np.abs(small - shrunk).mean() < 0.01
