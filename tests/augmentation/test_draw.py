"""Drawn views: bounded, and functions of their generator."""

import math
from dataclasses import fields

import pytest
import torch

from face2exp_lib.augmentation.draw import View, draw_conventional, draw_extensive
from face2exp_lib.runtime.seeding import torch_generator


@pytest.mark.parametrize("draw", [draw_conventional, draw_extensive])
def test_draws_are_a_function_of_the_generator(draw: object) -> None:
    def drawn(seed: int) -> View:
        return draw(50, torch_generator(seed, "view"), crop_fraction=0.75)  # type: ignore[operator]

    before = torch.get_rng_state()
    first, again, other = drawn(0), drawn(0), drawn(1)
    assert torch.equal(torch.get_rng_state(), before)
    for field in fields(View):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.centre, other.centre)


def test_conventional_stays_within_its_bounds() -> None:
    view = draw_conventional(2000, torch_generator(0, "view"), crop_fraction=0.75)
    assert view.centre.abs().max() <= 0.25  # the crop stays inside the image
    assert view.centre.abs().max() > 0.24
    assert view.angle.abs().max() <= math.radians(10)
    assert set(view.flip.tolist()) == {-1.0, 1.0}
    assert 0.45 < (view.flip == 1).float().mean() < 0.55
    for name in ("gain", "contrast", "saturation"):
        assert (getattr(view, name) == 1).all()
    for name in ("grey", "blur", "posterise", "solarise", "erase", "patches", "keep"):
        assert (getattr(view, name) == 0).all()


def test_extensive_stays_within_its_bounds() -> None:
    view = draw_extensive(4000, torch_generator(0, "view"), crop_fraction=0.75)
    assert math.radians(29) < view.angle.abs().max() <= math.radians(30)
    for name, low, high in (
        ("gain", 0.6, 1.4), ("contrast", 0.6, 1.4), ("saturation", 0.4, 1.6)
    ):  # fmt: skip
        values = getattr(view, name)
        assert low <= values.min() < low + 0.02
        assert high - 0.02 < values.max() <= high
    for name, share in (("grey", 0.2), ("blur", 0.2), ("posterise", 0.1), ("solarise", 0.1)):
        assert getattr(view, name).mean() == pytest.approx(share, abs=0.03)
    left, top, right, bottom = view.erase.T
    erased = right > left
    assert erased.float().mean() == pytest.approx(0.5, abs=0.03)
    for low_edge, high_edge in ((left, right), (top, bottom)):
        side = (high_edge - low_edge)[erased]
        assert 0.149 <= side.min() <= side.max() <= 0.451
        assert low_edge.min() >= 0
        assert high_edge.max() <= 1.0001


def test_a_full_crop_is_never_moved() -> None:
    view = draw_conventional(10, torch_generator(0, "view"), crop_fraction=1.0)
    assert (view.centre == 0).all()
