"""Aug(.): drawing views of faces (paper 3.3, Fig. 3, groups "conventional" and "extensive").

Drawing is apart from applying: the `draw_*` functions turn a generator into plain tensors, which
`face2exp_lib.augmentation.apply.apply_view` applies, so a view can be replayed anywhere. The third
group, patches at the landmarks, is drawn in `face2exp_lib.augmentation.patches`.

Shapes: N images, S side of the stored square image, s side of the view, in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class View:
    """Drawn parameters of one view, a row an image. Pixel values are on the 0..1 scale.

    Attributes:
        centre: (N, 2) x, y of the crop's centre, in -1..1 over the stored image.
        angle: (N,) rotation in radians.
        flip: (N,) -1 mirrored, 1 not.
        gain, contrast, saturation: (N,) factors; 1 changes nothing.
        grey, blur, posterise, solarise: (N,) 0 or 1.
        erase: (N, 4) rectangle left, top, right, bottom in 0..1 of the view; empty if left = right.
        patches: (N, P, 4) rectangles, likewise; they may reach beyond the view.
        keep: (N,) 1 covers all but the patches, 0 covers the patches.
    """

    centre: Tensor
    angle: Tensor
    flip: Tensor
    gain: Tensor
    contrast: Tensor
    saturation: Tensor
    grey: Tensor
    blur: Tensor
    posterise: Tensor
    solarise: Tensor
    erase: Tensor
    patches: Tensor
    keep: Tensor

    def to(self, device: torch.device) -> "View":
        """The same parameters on another device."""
        return View(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def rows(self, part: slice) -> "View":
        """The parameters of some of the images."""
        return View(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


def centre_view(num_images: int) -> View:
    """The view used for evaluation: the centre crop, nothing else."""
    one, zero = torch.ones(num_images), torch.zeros(num_images)
    return View(
        centre=torch.zeros(num_images, 2),
        angle=zero,
        flip=one,
        gain=one,
        contrast=one,
        saturation=one,
        grey=zero,
        blur=zero,
        posterise=zero,
        solarise=zero,
        erase=torch.zeros(num_images, 4),
        patches=torch.zeros(num_images, 0, 4),
        keep=zero,
    )


def draw_conventional(
    num_images: int, generator: torch.Generator, *, crop_fraction: float, max_angle: float = 10.0
) -> View:
    """Random crop, rotation by at most `max_angle` degrees, horizontal flip: for all data.

    Args:
        crop_fraction: s / S, the side of the crop as a part of the stored side (paper: 224 / 256).
    """
    uniform = _uniform(num_images, generator)
    view = centre_view(num_images)
    free = 1 - crop_fraction
    centre = torch.stack([uniform(-free, free), uniform(-free, free)], 1)
    flip = 1 - 2 * (uniform(0, 1) < 0.5).float()
    angle = torch.deg2rad(uniform(-max_angle, max_angle))
    return View(**{**view.__dict__, "centre": centre, "angle": angle, "flip": flip})


def draw_extensive(
    num_images: int, generator: torch.Generator, *, crop_fraction: float, max_angle: float = 30.0
) -> View:
    """Conventional, plus wider rotation, erasing and pixel-wise processing: for FR data.

    The paper names the kinds of transformation but no strengths: these are ours.
    """
    conventional = draw_conventional(
        num_images, generator, crop_fraction=crop_fraction, max_angle=max_angle
    )
    uniform = _uniform(num_images, generator)

    def chance(probability: float) -> Tensor:
        return (uniform(0, 1) < probability).float()

    erased = chance(0.5)
    width, height = uniform(0.15, 0.45) * erased, uniform(0.15, 0.45) * erased
    left, top = uniform(0, 1) * (1 - width), uniform(0, 1) * (1 - height)
    drawn = {
        "gain": uniform(0.6, 1.4),
        "contrast": uniform(0.6, 1.4),
        "saturation": uniform(0.4, 1.6),
        "grey": chance(0.2),
        "blur": chance(0.2),
        "posterise": chance(0.1),
        "solarise": chance(0.1),
        "erase": torch.stack([left, top, left + width, top + height], 1),
    }
    return View(**{**conventional.__dict__, **drawn})


def affine_maps(view: View, crop_fraction: float) -> Tensor:
    """(N, 2, 3): from a point in -1..1 over the view to the point in -1..1 over the stored image.

    Args:
        crop_fraction: s / S.
    """
    cos, sin = torch.cos(view.angle), torch.sin(view.angle)
    return torch.stack(
        [
            torch.stack(
                [crop_fraction * cos * view.flip, -crop_fraction * sin, view.centre[:, 0]], 1
            ),
            torch.stack(
                [crop_fraction * sin * view.flip, crop_fraction * cos, view.centre[:, 1]], 1
            ),
        ],
        1,
    )


def _uniform(num_images: int, generator: torch.Generator) -> Callable[[float, float], Tensor]:
    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num_images, generator=generator)

    return draw
