"""Aug(.): views of a batch of faces (paper 3.3, Fig. 3, groups "conventional" and "extensive").

Drawing is apart from applying: the `draw_*` functions turn a generator into plain tensors,
`apply_view` is a pure function of images and those tensors, so a view can be replayed anywhere.
The paper's third group, patches at the landmarks, needs landmarks and is not in this module.

Shapes: N images, S side of the stored square image, s side of the view, in pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

# Statistics of ImageNet, which torchvision's pre-trained weights expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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

    def to(self, device: torch.device) -> "View":
        """The same parameters on another device."""
        return View(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


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


def apply_view(images: Tensor, view: View, size: int) -> Tensor:
    """Crop, rotate, flip, process and normalise.

    Args:
        images: (N, 3, S, S) uint8, on any device.
        view: parameters with N rows, on the same device.
        size: s, the side of the result.

    Returns:
        (N, 3, s, s) float32, normalised with `MEAN` and `STD`.
    """
    pixels = images.float() / 255
    cos, sin = torch.cos(view.angle), torch.sin(view.angle)
    scale = size / images.shape[-1]
    affine = torch.stack(
        [
            torch.stack([scale * cos * view.flip, -scale * sin, view.centre[:, 0]], 1),
            torch.stack([scale * sin * view.flip, scale * cos, view.centre[:, 1]], 1),
        ],
        1,
    )
    shape = [len(images), 3, size, size]
    grid = F.affine_grid(affine, shape, align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    pixels = _process(pixels, view)
    mean = torch.tensor(MEAN, device=pixels.device)[:, None, None]
    std = torch.tensor(STD, device=pixels.device)[:, None, None]
    pixels = (pixels - mean) / std
    pixels = pixels * _kept(view.erase, size)  # an erased rectangle shows the mean colour
    return pixels.contiguous(
        memory_format=torch.channels_last
    )  # the faster layout for the networks


def _process(pixels: Tensor, view: View) -> Tensor:
    def per_image(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    def blend(changed: Tensor, share: Tensor) -> Tensor:
        return torch.lerp(pixels, changed, per_image(share))

    if view.blur.any():
        pixels = blend(F.avg_pool2d(F.pad(pixels, [1] * 4, mode="reflect"), 3, 1), view.blur)
    pixels = pixels * per_image(view.gain)
    level = pixels.mean((1, 2, 3), keepdim=True)
    pixels = level + (pixels - level) * per_image(view.contrast)
    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * per_image(view.saturation * (1 - view.grey))
    pixels = pixels.clamp(0, 1)
    pixels = blend(torch.floor(pixels * 15.99) / 15, view.posterise)
    return blend(torch.where(pixels < 0.5, pixels, 1 - pixels), view.solarise)


def _kept(erase: Tensor, size: int) -> Tensor:
    """(N, 1, s, s): 0 inside the erased rectangle, 1 elsewhere."""
    middle = (torch.arange(size, device=erase.device) + 0.5) / size
    left, top, right, bottom = erase[:, :, None].unbind(1)
    columns = (middle >= left) & (middle < right)
    rows = (middle >= top) & (middle < bottom)
    return 1 - (rows[:, None, :, None] & columns[:, None, None, :]).float()


def _uniform(num_images: int, generator: torch.Generator) -> Callable[[float, float], Tensor]:
    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(num_images, generator=generator)

    return draw
