"""Views: exact where a view is only a crop or a mirror image, bounded and replayable elsewhere."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from face2exp_lib.augmentation import (
    MEAN,
    STD,
    View,
    apply_view,
    centre_view,
    draw_conventional,
    draw_extensive,
)
from face2exp_lib.seeding import torch_generator


def images(num_images: int = 2, side: int = 8) -> Tensor:
    generator = torch_generator(0, "images")
    return torch.randint(256, (num_images, 3, side, side), generator=generator, dtype=torch.uint8)


def normalised(pixels: Tensor) -> Tensor:
    """0..255 to what a network sees."""
    return (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def shown(view: Tensor) -> Tensor:
    """What a network sees to 0..1."""
    return view * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]


def test_centre_view_is_the_normalised_centre_crop() -> None:
    faces = images()
    view = apply_view(faces, centre_view(2), 4)
    assert view.shape == (2, 3, 4, 4)
    assert view.dtype == torch.float32
    torch.testing.assert_close(view, normalised(faces[:, :, 2:6, 2:6]), atol=1e-5, rtol=0)


def test_centre_view_of_the_whole_image() -> None:
    torch.testing.assert_close(
        apply_view(images(), centre_view(2), 8), normalised(images()), atol=1e-5, rtol=0
    )


def test_crop_moves_with_its_centre() -> None:
    """Side 8, crop 4: x = 0.5 lies 2 px right of the middle."""
    view = replace(centre_view(2), centre=torch.tensor([[0.5, 0.0], [0.0, -0.5]]))
    shifted = apply_view(images(), view, 4)
    torch.testing.assert_close(shifted[0], normalised(images()[0, :, 2:6, 4:8]), atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[1], normalised(images()[1, :, 0:4, 2:6]), atol=1e-5, rtol=0)


def test_flip_mirrors_the_images_it_is_drawn_for() -> None:
    view = replace(centre_view(2), flip=torch.tensor([-1.0, 1.0]))
    plain, flipped = apply_view(images(), centre_view(2), 6), apply_view(images(), view, 6)
    torch.testing.assert_close(flipped[0], plain[0].flip(2), atol=1e-5, rtol=0)
    assert torch.equal(flipped[1], plain[1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotation_by_quarters(quarters: int) -> None:
    view = replace(centre_view(2), angle=torch.full((2,), quarters * math.pi / 2))
    expected = apply_view(images(), centre_view(2), 8).rot90(quarters, (2, 3))
    torch.testing.assert_close(apply_view(images(), view, 8), expected, atol=1e-4, rtol=0)


def test_erase_shows_the_mean_colour_in_its_rectangle_and_changes_nothing_else() -> None:
    """Left 1/4, top 1/2, right 3/4, bottom 1 of 8 px: columns 2 to 5, rows 4 to 7."""
    view = replace(
        centre_view(2), erase=torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.3, 0.3, 0.3, 0.9]])
    )
    plain, erased = apply_view(images(), centre_view(2), 8), apply_view(images(), view, 8)
    assert (erased[0, :, 4:8, 2:6] == 0).all()
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[4:8, 2:6] = False
    assert torch.equal(erased[0][:, outside], plain[0][:, outside])
    assert torch.equal(erased[1], plain[1])  # left = right: empty


def one_colour(*rgb: int) -> Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "colour", "expected"),
    [
        ({"gain": 0.5}, (200, 100, 50), (100, 50, 25)),
        ({"gain": 1.4}, (200, 100, 50), (255, 140, 70)),  # 280 is clipped
        ({"contrast": 0.5}, (210, 90, 0), (155, 95, 50)),  # halfway to the image's mean, 100
        ({"saturation": 0.0}, (210, 90, 0), (100, 100, 100)),
        ({"saturation": 0.5}, (210, 90, 0), (155, 95, 50)),
        ({"grey": 1.0, "saturation": 1.6}, (210, 90, 0), (100, 100, 100)),
        ({"solarise": 1.0}, (255, 200, 50), (0, 55, 50)),
        ({"posterise": 1.0}, (255, 0, 24), (255, 0, 17)),  # 24/255*15.99 = 1.5 -> 1/15 = 17/255
        ({"blur": 1.0}, (200, 100, 50), (200, 100, 50)),
    ],
)
def test_pixel_processing_by_hand(
    changes: dict[str, float], colour: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    view = replace(centre_view(1), **{key: torch.tensor([v]) for key, v in changes.items()})
    seen = shown(apply_view(one_colour(*colour), view, 8))[0].mean((1, 2)) * 255
    assert seen.tolist() == pytest.approx(expected, abs=0.01)


def test_blur_is_the_mean_of_nine_and_for_its_image_only() -> None:
    view = replace(centre_view(2), blur=torch.tensor([1.0, 0.0]))
    blurred = shown(apply_view(images(), view, 8))
    nine = images()[0, :, 2:5, 3:6].float().mean((1, 2)) / 255
    assert blurred[0, :, 3, 4].tolist() == pytest.approx(nine.tolist(), abs=1e-5)
    assert torch.equal(apply_view(images(), view, 8)[1], apply_view(images(), centre_view(2), 8)[1])


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


def test_a_drawn_view_is_replayed_to_the_bit() -> None:
    view = draw_extensive(20, torch_generator(0, "view"), crop_fraction=0.75)
    first = apply_view(images(20), view, 6)
    assert torch.equal(apply_view(images(20), view.to(torch.device("cpu")), 6), first)
    assert not torch.equal(apply_view(images(20), centre_view(20), 6), first)


def test_conventional_stays_within_its_bounds() -> None:
    view = draw_conventional(2000, torch_generator(0, "view"), crop_fraction=0.75)
    assert view.centre.abs().max() <= 0.25  # the crop stays inside the image
    assert view.centre.abs().max() > 0.24
    assert view.angle.abs().max() <= math.radians(10)
    assert set(view.flip.tolist()) == {-1.0, 1.0}
    assert 0.45 < (view.flip == 1).float().mean() < 0.55
    for name in ("gain", "contrast", "saturation"):
        assert (getattr(view, name) == 1).all()
    for name in ("grey", "blur", "posterise", "solarise", "erase"):
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
