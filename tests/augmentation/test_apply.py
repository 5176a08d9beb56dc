"""Views: exact where a view is only a crop or a mirror image, near enough elsewhere."""

import math
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from face2exp_lib.augmentation.apply import MEAN, STD, _apply_opencv, _apply_torch, apply_view
from face2exp_lib.augmentation.draw import View, centre_view, draw_extensive
from face2exp_lib.runtime.seeding import torch_generator

Apply = Callable[[Tensor, View, int], Tensor]
WAYS = {"opencv": _apply_opencv, "torch": _apply_torch}


@pytest.fixture(params=WAYS)
def apply(request: pytest.FixtureRequest) -> Apply:
    """Both ways, on the CPU."""
    return WAYS[request.param]


def images(num_images: int = 2, side: int = 8) -> Tensor:
    generator = torch_generator(0, "images")
    return torch.randint(256, (num_images, 3, side, side), generator=generator, dtype=torch.uint8)


def photographs(num_images: int, side: int) -> Tensor:
    """Smooth, as faces are beside noise."""
    coarse = images(num_images, side // 8).float()
    smooth = F.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 255)
    return smooth.round().to(torch.uint8)


def normalised(pixels: Tensor) -> Tensor:
    """0..255 to what a network sees."""
    return (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def shown(view: Tensor) -> Tensor:
    """What a network sees to 0..255."""
    return 255 * (view * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None])


def one_colour(*rgb: int) -> Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)


def test_centre_view_is_the_normalised_centre_crop(apply: Apply) -> None:
    faces = images()
    view = apply(faces, centre_view(2), 4)
    assert view.shape == (2, 3, 4, 4)
    assert view.dtype == torch.float32
    assert view.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(view, normalised(faces[:, :, 2:6, 2:6]), atol=1e-5, rtol=0)


def test_centre_view_of_the_whole_image(apply: Apply) -> None:
    view = apply(images(), centre_view(2), 8)
    torch.testing.assert_close(view, normalised(images()), atol=1e-5, rtol=0)


def test_crop_moves_with_its_centre(apply: Apply) -> None:
    """Side 8, crop 4: x = 0.5 lies 2 px right of the middle."""
    view = replace(centre_view(2), centre=torch.tensor([[0.5, 0.0], [0.0, -0.5]]))
    shifted = apply(images(), view, 4)
    torch.testing.assert_close(shifted[0], normalised(images()[0, :, 2:6, 4:8]), atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[1], normalised(images()[1, :, 0:4, 2:6]), atol=1e-5, rtol=0)


def test_flip_mirrors_the_images_it_is_drawn_for(apply: Apply) -> None:
    view = replace(centre_view(2), flip=torch.tensor([-1.0, 1.0]))
    plain, flipped = apply(images(), centre_view(2), 6), apply(images(), view, 6)
    torch.testing.assert_close(flipped[0], plain[0].flip(2), atol=1e-5, rtol=0)
    assert torch.equal(flipped[1], plain[1])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_rotation_by_quarters(apply: Apply, quarters: int) -> None:
    view = replace(centre_view(2), angle=torch.full((2,), quarters * math.pi / 2))
    expected = apply(images(), centre_view(2), 8).rot90(quarters, (2, 3))
    torch.testing.assert_close(apply(images(), view, 8), expected, atol=1e-4, rtol=0)


def test_beyond_the_image_lies_its_mirror_image(apply: Apply) -> None:
    """Two px to the left of the image's edge: columns 1 and 0, then 0 and on."""
    view = replace(centre_view(1), centre=torch.tensor([[-0.5, 0.0]]))
    faces = images(1)
    expected = torch.cat([faces[..., :2].flip(3), faces[..., :6]], 3)
    torch.testing.assert_close(apply(faces, view, 8), normalised(expected), atol=1e-4, rtol=0)


def test_erase_shows_the_mean_colour_in_its_rectangle_and_changes_nothing_else(
    apply: Apply,
) -> None:
    """Left 1/4, top 1/2, right 3/4, bottom 1 of 8 px: columns 2 to 5, rows 4 to 7."""
    view = replace(
        centre_view(2), erase=torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.3, 0.3, 0.3, 0.9]])
    )
    plain, erased = apply(images(), centre_view(2), 8), apply(images(), view, 8)
    assert (erased[0, :, 4:8, 2:6] == 0).all()
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[4:8, 2:6] = False
    assert torch.equal(erased[0][:, outside], plain[0][:, outside])
    assert torch.equal(erased[1], plain[1])  # left = right: empty


@pytest.mark.parametrize("keep", [False, True])
def test_patches_are_covered_or_kept(apply: Apply, keep: bool) -> None:
    """One patch half beyond the view, one in it that cuts pixels, one nowhere to be seen."""
    patches = torch.tensor([[[-0.25, 0.0, 0.25, 0.5], [0.55, 0.5, 0.8, 1.0], [1.1, 0.0, 2.0, 1.0]]])
    view = replace(
        centre_view(2),
        patches=torch.cat([patches, torch.zeros(1, 3, 4)]),
        keep=torch.tensor([float(keep), 0.0]),
    )
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[0:4, 0:2] = inside[4:8, 4:6] = True
    visible = inside if keep else ~inside
    plain, patched = apply(images(), centre_view(2), 8), apply(images(), view, 8)
    assert (patched[0][:, ~visible] == 0).all()
    assert torch.equal(patched[0][:, visible], plain[0][:, visible])
    assert torch.equal(patched[1], plain[1])
    erased = replace(view, erase=torch.tensor([[0.0, 0.0, 1.0, 0.25], [0.0, 0.0, 0.0, 0.0]]))
    both = apply(images(), erased, 8)
    assert (both[0, :, :2] == 0).all()
    assert torch.equal(both[0, :, 2:], patched[0, :, 2:])


@pytest.mark.parametrize(
    ("changes", "colour", "expected"),
    [
        ({"gain": 0.5}, (200, 100, 50), (100, 50, 25)),
        ({"gain": 1.4}, (200, 100, 50), (255, 140, 70)),  # 280 is clipped
        ({"contrast": 0.5}, (210, 90, 0), (155, 95, 50)),  # halfway to the image's mean, 100
        ({"saturation": 0.0}, (210, 90, 0), (100, 100, 100)),
        ({"saturation": 0.5}, (210, 90, 0), (155, 95, 50)),
        ({"grey": 1.0, "saturation": 1.6}, (210, 90, 0), (100, 100, 100)),
        ({"gain": 0.5, "contrast": 1.2, "saturation": 0.5}, (210, 90, 30), (85, 49, 31)),
        ({"solarise": 1.0}, (255, 200, 50), (0, 55, 50)),
        ({"posterise": 1.0}, (255, 0, 24), (255, 0, 17)),  # 24/255*15.99 = 1.5 -> 1/15 = 17/255
        ({"posterise": 1.0, "solarise": 1.0}, (255, 0, 24), (0, 0, 17)),
        ({"blur": 1.0}, (200, 100, 50), (200, 100, 50)),
    ],
)
def test_pixel_processing_by_hand(
    apply: Apply,
    changes: dict[str, float],
    colour: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    view = replace(centre_view(1), **{key: torch.tensor([v]) for key, v in changes.items()})
    seen = shown(apply(one_colour(*colour), view, 8))[0].mean((1, 2))
    assert seen.tolist() == pytest.approx(expected, abs=0.01)


def test_contrast_is_about_the_mean_of_what_is_seen(apply: Apply) -> None:
    """A view of the dark half alone keeps its level."""
    halves = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    halves[..., :4] = 40
    halves[..., 4:] = 200
    view = replace(centre_view(1), centre=torch.tensor([[-0.5, 0.0]]), contrast=torch.tensor([0.5]))
    assert shown(apply(halves, view, 4)).mean().item() == pytest.approx(40, abs=0.01)


def test_blur_is_the_mean_of_nine_and_for_its_image_only(apply: Apply) -> None:
    view = replace(centre_view(2), blur=torch.tensor([1.0, 0.0]))
    blurred = shown(apply(images(), view, 8))
    nine = images()[0, :, 2:5, 3:6].float().mean((1, 2))
    assert blurred[0, :, 3, 4].tolist() == pytest.approx(nine.tolist(), abs=0.51)
    assert torch.equal(apply(images(), view, 8)[1], apply(images(), centre_view(2), 8)[1])


def test_a_drawn_view_is_replayed_to_the_bit(apply: Apply) -> None:
    view = draw_extensive(20, torch_generator(0, "view"), crop_fraction=0.75)
    first = apply(images(20), view, 6)
    assert torch.equal(apply(images(20), view.to(torch.device("cpu")), 6), first)
    assert not torch.equal(apply(images(20), centre_view(20), 6), first)


def test_a_view_does_not_depend_on_the_other_images_of_its_batch(apply: Apply) -> None:
    view = draw_extensive(20, torch_generator(0, "view"), crop_fraction=0.75)
    rows = torch.tensor([3, 17])
    alone = View(**{name: values[rows] for name, values in view.__dict__.items()})
    whole = apply(images(20), view, 6)[rows]
    torch.testing.assert_close(apply(images(20)[rows], alone, 6), whole, atol=1e-5, rtol=0)


def test_both_ways_show_the_same() -> None:
    """The tolerance that the module states, in levels of 255."""
    faces = photographs(64, 64)
    view = draw_extensive(64, torch_generator(0, "view"), crop_fraction=0.875)
    by_opencv, by_torch = (apply(faces, view, 56) for apply in WAYS.values())
    assert torch.equal((by_opencv == 0).all(1), (by_torch == 0).all(1))
    apart = (by_opencv - by_torch).abs() * torch.tensor(STD)[:, None, None] * 255
    assert apart.mean() < 0.5
    few_levels = view.posterise == 1
    assert apart[~few_levels].max() < 4
    assert (apart[few_levels] > 4).float().mean() < 0.05


def test_the_way_is_chosen_by_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    view = draw_extensive(4, torch_generator(0, "view"), crop_fraction=0.75)
    assert torch.equal(apply_view(images(4), view, 6), _apply_opencv(images(4), view, 6))
    monkeypatch.setattr(
        "face2exp_lib.augmentation.apply._apply_torch", lambda images, *_: images.device.type
    )
    elsewhere = torch.device("meta")  # the one device beside the CPU that any machine has
    assert apply_view(images(4).to(elsewhere), view.to(elsewhere), 6) == "meta"


def test_images_are_left_as_they_are_in_either_layout(apply: Apply) -> None:
    view = draw_extensive(4, torch_generator(0, "view"), crop_fraction=0.75)
    last = images(4).contiguous(memory_format=torch.channels_last)
    assert torch.equal(apply(last, view, 6), apply(images(4), view, 6))
    assert torch.equal(last, images(4))


def test_threads_of_opencv_change_nothing() -> None:
    faces = photographs(2, 512)
    view = draw_extensive(2, torch_generator(0, "view"), crop_fraction=0.875)
    threads = cv2.getNumThreads()
    try:
        seen = []
        for number in (1, 4):
            cv2.setNumThreads(number)
            seen.append(apply_view(faces, view, 448).numpy())
    finally:
        cv2.setNumThreads(threads)
    assert np.array_equal(seen[0], seen[1])
