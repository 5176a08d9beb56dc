"""What Aug(.) does to a few faces, as pictures that a person can check.

`face2exp_lib.figures.style.face_rows` shows the rows as a figure.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from face2exp_lib.augmentation.apply import MEAN, STD, apply_view
from face2exp_lib.augmentation.draw import View, centre_view, draw_conventional, draw_extensive
from face2exp_lib.augmentation.patches import AugOptions, draw_aug, move_points, place_patches
from face2exp_lib.runtime.seeding import torch_generator

DOT = 0.012  # radius of a landmark, of the view's side
DOT_COLOUR = (0, 255, 0)  # no skin has it
FRAME = 2  # px, white: a covered strip otherwise runs into the picture above


def augmentation_rows(
    images: Tensor, landmarks: Tensor, *, view_size: int, seed: int = 0
) -> dict[str, Tensor]:
    """Each group of Aug(.), its kinds of patches, and all of it, on the same faces.

    Args:
        images: (N, 3, S, S) uint8.
        landmarks: (N, 5, 2) x, y in px of them.
        view_size: s.

    Returns:
        Row name -> (N, 3, s + 2 FRAME, s + 2 FRAME) uint8. Where one group is shown alone, dots
        mark the landmarks in the view; the rows named Aug are what a network sees.
    """
    num_images, stored_size = len(images), images.shape[-1]
    crop_fraction = view_size / stored_size
    points = landmarks / stored_size

    def generator(purpose: str) -> torch.Generator:
        return torch_generator(seed, f"pictures/{purpose}")

    def marked(view: View) -> Tensor:
        moved = move_points(points, view, crop_fraction)
        return with_dots(as_pictures(apply_view(images, view, view_size)), moved)

    plain = centre_view(num_images)
    parts = AugOptions().patch_parts
    placed = move_points(points, plain, crop_fraction)
    patched = replace(plain, patches=place_patches(placed, parts, AugOptions().mouth))
    views: Mapping[str, View] = {
        "original": plain,
        "conventional": draw_conventional(
            num_images, generator("conventional"), crop_fraction=crop_fraction
        ),
        "extensive": draw_extensive(
            num_images, generator("extensive"), crop_fraction=crop_fraction
        ),
        "patches: keep": replace(patched, keep=torch.ones(num_images)),
        "patches: cover": patched,
    }
    rows = {name: marked(view) for name, view in views.items()}
    for options in (AugOptions(), AugOptions(patches="cover")):
        view = draw_aug(
            landmarks,
            generator("aug"),
            options,
            crop_fraction=crop_fraction,
            stored_size=stored_size,
        )
        rows[f"Aug, {options.patches}"] = as_pictures(apply_view(images, view, view_size))
    return {name: F.pad(pixels, [FRAME] * 4, value=255) for name, pixels in rows.items()}


def as_pictures(pixels: Tensor) -> Tensor:
    """Views as a network sees them, (N, 3, s, s) normalised floats, as uint8 pictures."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (255 * (pixels * std + mean)).round().clamp(0, 255).to(torch.uint8)


def with_dots(pixels: Tensor, points: Tensor) -> Tensor:
    """Pictures, (N, 3, s, s) uint8, with a dot at each of their `points`, (N, 5, 2) in 0..1."""
    size = pixels.shape[-1]
    radius = max(DOT * size, 0.5)
    dotted = []
    for image, of_image in zip(pixels.permute(0, 2, 3, 1).numpy(), points.tolist(), strict=True):
        picture = Image.fromarray(np.ascontiguousarray(image))
        draw = ImageDraw.Draw(picture)
        for x, y in of_image:
            draw.circle((size * x - 0.5, size * y - 0.5), radius, fill=DOT_COLOUR)
        dotted.append(torch.from_numpy(np.array(picture)))
    return torch.stack(dotted).permute(0, 3, 1, 2)
