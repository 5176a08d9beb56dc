"""Aug(.): applying drawn views to a batch of faces, on any device.

On a CPU OpenCV does it image by image in 8 bits, several times as fast as torch there
(`benchmarks/input_pipeline.py`); on other devices torch does it for the whole batch in float32. The
two differ by the rounding to 8 bits: a level or two of 255 for most pixels, more at sharp edges,
where OpenCV places a sample to 1/32 px, and where posterising rounds to the next of its steps.

Shapes: N images, S side of the stored square image, s side of the view, in pixels.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from face2exp_lib.augmentation.draw import View, affine_maps

# Statistics of ImageNet, which torchvision's pre-trained weights expect.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLUR = 3  # px, side of the blur's square


def apply_view(images: Tensor, view: View, size: int) -> Tensor:
    """Crop, rotate, flip, process, normalise and cover.

    Args:
        images: (N, 3, S, S) uint8, on any device.
        view: parameters with N rows, on the same device.
        size: s, the side of the result.

    Returns:
        (N, 3, s, s) float32, normalised with `MEAN` and `STD`; channels last in memory, the
        faster layout for the networks.
    """
    if images.device.type == "cpu":
        return _apply_opencv(images, view, size)
    return _apply_torch(images, view, size)


def _apply_opencv(images: Tensor, view: View, size: int) -> Tensor:
    stored = images.permute(0, 2, 3, 1).contiguous().numpy()
    maps = _pixel_maps(view, images.shape[-1], size)
    tables = {
        (posterise, solarise): _table(posterise, solarise)
        for posterise in (False, True)
        for solarise in (False, True)
    }
    blurred, posterised, solarised = (
        values.bool().tolist() for values in (view.blur, view.posterise, view.solarise)
    )
    coloured = (view.gain != 1) | (view.contrast != 1) | (view.saturation != 1) | (view.grey != 0)
    colours = torch.stack([view.gain, view.contrast, view.saturation * (1 - view.grey)], 1).tolist()
    keep = view.keep.bool().tolist()
    erase = _edges(view.erase[:, None], size).tolist()
    patches = _edges(view.patches, size).tolist()
    pixels = np.zeros((len(images), size, size, 3), np.float32)  # 0 is the mean colour
    seen, spare = np.empty((2, size, size, 3), np.uint8)  # new memory for each image costs more
    for row, image in enumerate(stored):
        cv2.warpAffine(
            image,
            maps[row],
            (size, size),
            dst=seen,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT,
        )
        if blurred[row]:
            cv2.blur(seen, (BLUR, BLUR), dst=spare, borderType=cv2.BORDER_REFLECT_101)
            seen, spare = spare, seen
        if coloured[row]:
            level = sum(cv2.mean(seen)) / 3
            cv2.transform(seen, _colour_map(*colours[row], level=level), dst=spare)
            seen, spare = spare, seen
        table = tables[posterised[row], solarised[row]]
        if keep[row]:
            for left, top, right, bottom in patches[row]:
                if left < right and top < bottom:
                    part = np.s_[top:bottom, left:right]
                    pixels[row][part] = cv2.LUT(seen[part], table)
            covered = erase[row]
        else:
            cv2.LUT(seen, table, dst=pixels[row])
            covered = [*erase[row], *patches[row]]
        for left, top, right, bottom in covered:
            pixels[row, top:bottom, left:right] = 0
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _pixel_maps(view: View, stored_size: int, size: int) -> np.ndarray:
    """(N, 2, 3) float64: from a pixel's indices x, y in the view to those in the stored image."""
    maps = affine_maps(view, size / stored_size).double().numpy()
    turned = maps[:, :, :2] * stored_size / size
    first = maps[:, :, :2].sum(2) * (1 / size - 1) + maps[:, :, 2]  # pixel 0, 0, in -1..1
    return np.concatenate([turned, ((first + 1) * stored_size - 1)[:, :, None] / 2], 2)


def _colour_map(gain: float, contrast: float, saturation: float, *, level: float) -> np.ndarray:
    """(3, 4): gain, contrast and saturation are linear in R, G, B and 1, and so are all three."""
    scale = gain * contrast
    colour = np.full((3, 4), scale * (1 - saturation) / 3)
    colour[:, :3] += scale * saturation * np.eye(3)
    colour[:, 3] = (1 - contrast) * gain * level
    return colour


def _table(posterise: bool, solarise: bool) -> np.ndarray:
    """(1, 256, 3) float32: what becomes of a level of each channel."""
    pixels = torch.arange(256)[None, None, None].expand(1, 3, 1, 256).float() / 255
    shares = (torch.tensor([float(share)]) for share in (posterise, solarise))
    return _normalise(_few_levels(pixels, *shares))[0].permute(1, 2, 0).contiguous().numpy()


def _edges(rectangles: Tensor, size: int) -> Tensor:
    """Rectangles as the ranges of the pixels whose middles they hold, within the view."""
    return torch.ceil(rectangles * size - 0.5).clamp(0, size).long()


def _apply_torch(images: Tensor, view: View, size: int) -> Tensor:
    shape = [len(images), 3, size, size]
    grid = F.affine_grid(affine_maps(view, size / images.shape[-1]), shape, align_corners=False)
    pixels = F.grid_sample(
        images.float() / 255, grid, padding_mode="reflection", align_corners=False
    )
    pixels = _normalise(_few_levels(_colour(pixels, view), view.posterise, view.solarise))
    pixels = pixels * _shown(view, size)
    return pixels.contiguous(memory_format=torch.channels_last)


def _colour(pixels: Tensor, view: View) -> Tensor:
    if view.blur.any():
        padded = F.pad(pixels, [BLUR // 2] * 4, mode="reflect")
        pixels = _blend(pixels, F.avg_pool2d(padded, BLUR, 1), view.blur)
    pixels = pixels * _per_image(view.gain)
    level = pixels.mean((1, 2, 3), keepdim=True)
    pixels = level + (pixels - level) * _per_image(view.contrast)
    grey = pixels.mean(1, keepdim=True)
    pixels = grey + (pixels - grey) * _per_image(view.saturation * (1 - view.grey))
    return pixels.clamp(0, 1)


def _few_levels(pixels: Tensor, posterise: Tensor, solarise: Tensor) -> Tensor:
    pixels = _blend(pixels, torch.floor(pixels * 15.99) / 15, posterise)
    return _blend(pixels, torch.where(pixels < 0.5, pixels, 1 - pixels), solarise)


def _normalise(pixels: Tensor) -> Tensor:
    mean, std = (
        torch.tensor(values, device=pixels.device)[:, None, None] for values in (MEAN, STD)
    )
    return (pixels - mean) / std


def _shown(view: View, size: int) -> Tensor:
    """(N, 1, s, s): 1 where the view shows the face, 0 where it is covered."""
    erased = _inside(view.erase[:, None], size)
    return (~erased & (_inside(view.patches, size) == _per_image(view.keep).bool())).float()


def _inside(rectangles: Tensor, size: int) -> Tensor:
    """(N, 1, s, s): whether a pixel lies in one of the image's rectangles, (N, P, 4)."""
    index = torch.arange(size, device=rectangles.device)
    left, top, right, bottom = _edges(rectangles, size)[..., None].unbind(2)
    columns = (index >= left) & (index < right)
    rows = (index >= top) & (index < bottom)
    return (rows[..., :, None] & columns[..., None, :]).any(1, keepdim=True)


def _blend(pixels: Tensor, changed: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(pixels, changed, _per_image(share))


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]
