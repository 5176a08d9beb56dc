"""Landmarks move with the view, patches lie round them, and a seed says what is drawn."""

import math
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import View, centre_view, draw_extensive
from face2exp_lib.augmentation.patches import AugOptions, draw_aug, move_points, place_patches
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.runtime.seeding import torch_generator

CANONICAL = torch.tensor(CANONICAL_POINTS)


def draw(options: AugOptions, num_images: int = 200, seed: int = 0) -> View:
    """Of canonical faces, 56 of 64 px."""
    landmarks = (CANONICAL * 64).expand(num_images, 5, 2)
    generator = torch_generator(seed, "view")
    return draw_aug(landmarks, generator, options, crop_fraction=0.875, stored_size=64)


def at(*points: tuple[float, float]) -> Tensor:
    """(1, 5, 2) from the first few points."""
    return torch.tensor([[*points, *[(0.5, 0.5)] * (5 - len(points))]])


# Points


def test_a_crop_moves_points_and_enlarges_their_distances() -> None:
    """256 px, a crop of 128 px that starts at 32, 96: 96, 128 is a half and a quarter of it."""
    view = replace(centre_view(1), centre=torch.tensor([[-0.25, 0.25]]))
    moved = move_points(at((96 / 256, 128 / 256), (32 / 256, 96 / 256)), view, 0.5)
    torch.testing.assert_close(moved[0, :2], torch.tensor([[0.5, 0.25], [0.0, 0.0]]))


def test_a_quarter_turn_by_hand() -> None:
    """`rot90` brings what is right of the middle above it."""
    view = replace(centre_view(1), angle=torch.tensor([math.pi / 2]))
    moved = move_points(at((0.9, 0.5), (0.5, 0.2)), view, 1.0)
    torch.testing.assert_close(moved[0, :2], torch.tensor([[0.5, 0.1], [0.2, 0.5]]))


def test_in_a_mirror_image_the_first_eye_still_is_the_one_on_the_left() -> None:
    view = replace(centre_view(2), flip=torch.tensor([-1.0, 1.0]))
    points = torch.tensor([[[0.3, 0.4], [0.6, 0.41], [0.5, 0.6], [0.35, 0.8], [0.55, 0.81]]])
    moved = move_points(points.expand(2, 5, 2), view, 1.0)
    mirrored = torch.tensor([[0.4, 0.41], [0.7, 0.4], [0.5, 0.6], [0.45, 0.81], [0.65, 0.8]])
    torch.testing.assert_close(moved[0], mirrored)
    torch.testing.assert_close(moved[1], points[0])


@pytest.mark.parametrize("seed", range(3))
def test_points_move_as_the_pixels_do(seed: int) -> None:
    """A bright spot at a point of each image is seen where the point is said to be."""
    points = 20 + 24 * torch.rand(40, 5, 2, generator=torch_generator(seed, "points"))
    view = draw_extensive(40, torch_generator(seed, "view"), crop_fraction=0.875)
    geometry = centre_view(40)
    geometry = replace(geometry, centre=view.centre, angle=view.angle, flip=view.flip)
    middles = torch.arange(64) + 0.5
    x, y = points[:, 2, 0, None, None], points[:, 2, 1, None, None]
    spots = torch.exp(-((middles[None, None] - x) ** 2 + (middles[None, :, None] - y) ** 2) / 18)
    marked = (255 * spots).round().to(torch.uint8)[:, None].expand(40, 3, 64, 64)
    seen = apply_view(marked, geometry, 56)[:, 0]
    brightness = (seen - seen.amin((1, 2), keepdim=True)).clamp(min=0)
    weight = brightness / brightness.sum((1, 2), keepdim=True)
    found = torch.stack([(weight.sum(1) * (torch.arange(56) + 0.5)).sum(1),
                         (weight.sum(2) * (torch.arange(56) + 0.5)).sum(1)], 1)  # fmt: skip
    said = 56 * move_points(points / 64, view, 0.875)[:, 2]
    assert (found - said).abs().max() < 0.4  # px


# Patches


def test_patches_have_the_papers_sizes_round_their_points() -> None:
    """In px of a view of 224."""
    points = torch.tensor([[[74.0, 100.0], [150.0, 96.0], [112.0, 140.0], [80.0, 180.0],
                            [140.0, 184.0]]])  # fmt: skip
    patches = 224 * place_patches(points / 224, AugOptions().patch_parts, "corners")[0]
    expected = [
        [49, 90, 99, 110], [125, 86, 175, 106],  # eyes, 50 x 20
        [87, 120, 137, 160],  # nose, 50 x 40
        [55, 160, 105, 200], [115, 164, 165, 204],  # corners of the mouth, 50 x 40
        [0, 0, 224, 50],  # forehead
    ]  # fmt: skip
    torch.testing.assert_close(patches, torch.tensor(expected).float(), atol=1e-3, rtol=0)


def test_one_patch_in_the_middle_of_the_mouth() -> None:
    points = torch.tensor([[[0.0, 0.0]] * 3 + [[80.0, 180.0], [140.0, 184.0]]]) / 224
    patches = 224 * place_patches(points, ("mouth",), "middle")[0]
    torch.testing.assert_close(
        patches, torch.tensor([[85.0, 162.0, 135.0, 202.0]]), atol=1e-3, rtol=0
    )


def test_parts_can_be_left_out() -> None:
    points = CANONICAL[None]
    both = place_patches(points, ("forehead", "nose"), "corners")
    torch.testing.assert_close(both[:, :1], place_patches(points, ("forehead",), "corners"))
    assert both.shape == (1, 2, 4)


def seen(options: AugOptions) -> Tensor:
    """(N, s, s) whether a pixel of a bright face is visible."""
    bright = torch.full((200, 3, 64, 64), 255, dtype=torch.uint8)
    view = replace(
        draw(options), erase=torch.zeros(200, 4), gain=torch.ones(200), contrast=torch.ones(200),
        posterise=torch.zeros(200), solarise=torch.zeros(200),
    )  # fmt: skip
    return (apply_view(bright, view, 56) != 0).all(1)


def test_keep_and_cover_are_each_others_opposite() -> None:
    kept, covered = (seen(AugOptions(patches=mode)) for mode in ("keep", "cover"))
    assert torch.equal(kept, ~covered)
    assert 0.25 < kept.float().mean() < 0.4  # 6 patches less what overlaps or lies beyond
    assert kept[:, :12].all()  # the forehead: 50 of 224 px are 12.5 of 56
    assert seen(AugOptions(patches="none")).all()


def test_the_strip_alone_is_covered() -> None:
    visible = seen(AugOptions(patches="cover", patch_parts=("forehead",)))
    assert not visible[:, :12].any()
    assert visible[:, 13:].all()


# Draws


def test_without_patches_the_view_is_the_extensive_one() -> None:
    extensive = draw_extensive(200, torch_generator(0, "view"), crop_fraction=0.875)
    for mode in ("none", "keep", "cover"):
        view = draw(AugOptions(patches=mode))
        for field in fields(View):
            if field.name not in ("patches", "keep") or mode == "none":
                assert torch.equal(getattr(view, field.name), getattr(extensive, field.name))


def test_draws_are_a_function_of_the_seed() -> None:
    options = AugOptions(patch_probability=0.5, groups="either")
    first, again, other = draw(options), draw(options), draw(options, seed=1)
    for field in fields(View):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    assert not torch.equal(first.patches, other.patches)


def test_patches_come_by_their_probability() -> None:
    view = draw(AugOptions(patch_probability=0.3), 4000)
    assert view.keep.mean() == pytest.approx(0.3, abs=0.03)
    without = view.keep == 0
    assert (view.patches[without] == 0).all()
    assert (view.patches[~without][:, 2] != 0).any(1).all()
    assert (draw(AugOptions()).keep == 1).all()
    cover = draw(AugOptions(patches="cover", patch_probability=0.3), 4000)
    assert (cover.keep == 0).all()
    assert torch.equal(cover.patches, view.patches)


def test_either_group_excludes_the_other() -> None:
    view = draw(AugOptions(groups="either", patch_probability=0.5), 4000)
    patched = view.keep == 1
    assert patched.float().mean() == pytest.approx(0.5, abs=0.03)
    for name in ("gain", "contrast", "saturation"):
        assert (getattr(view, name)[patched] == 1).all()
        assert (getattr(view, name)[~patched] != 1).all()
    assert (view.erase[patched] == 0).all()
    assert view.angle[patched].abs().max() <= math.radians(10)
    assert view.angle[~patched].abs().max() > math.radians(29)


def test_patches_lie_where_the_points_of_the_drawn_view_are() -> None:
    view = draw(AugOptions(patch_parts=("nose",)))
    nose = move_points(CANONICAL.expand(200, 5, 2), view, 0.875)[:, 2]
    middle = (view.patches[:, 0, :2] + view.patches[:, 0, 2:]) / 2
    torch.testing.assert_close(middle, nose, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch_parts": ()}, "patch_parts is empty: set patches to none"),
        ({"groups": "either"}, "set patch_probability below 1"),
    ],
)
def test_options_that_make_no_sense(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugOptions(**options)
