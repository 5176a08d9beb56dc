"""Boxes of a batch of images: which are kept of those that lie over each other.

Boxes are (K, 4) left, top, right, bottom; `of_image` (K,) says to which image each belongs.
"""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

INSIDE = 0.7  # share of the smaller box above which two boxes show one face


def shifted(boxes: Tensor, shift: Tensor) -> Tensor:
    """The boxes with their edges moved by parts of their sides."""
    return boxes + shift * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def square(boxes: Tensor, part: float = 1.0) -> Tensor:
    """Squares round the same centres; their side is `part` of the longer one."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = part * (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([centre - half, centre + half], 1)


def best(boxes: Tensor, score: Tensor, of_image: Tensor, overlap: float) -> Tensor:
    """Where the boxes stand that no better one of the same image overlaps, the best first."""
    # batched_nms moves the boxes of each image apart: in float32, they would lose digits by that.
    kept: Tensor = batched_nms(boxes.double(), score.double(), of_image, overlap)
    return kept


def first_of_each(of_image: Tensor, most: int) -> Tensor:
    """Where the first `most` entries of each image stand."""
    order = torch.argsort(of_image, stable=True)
    ordered = of_image[order]
    rank = torch.arange(len(order)) - torch.searchsorted(ordered, ordered)
    return order[rank < most]


def outermost(boxes: Tensor, score: Tensor, of_image: Tensor) -> Tensor:
    """(K,) bool: no better box of the same image lies in this one, or this one in it."""
    corner = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    far = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    shared = (far - corner).clamp(min=0).prod(2)
    inside = shared > INSIDE * torch.minimum(area[:, None], area[None])
    better = score[None] > score[:, None]
    return ~(inside & better & (of_image[:, None] == of_image[None])).any(1)


def most_central(boxes: Tensor, of_image: Tensor, middle: float) -> Tensor:
    """Where the large, central face of each image stands: see `Detector.detect`."""
    away = ((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).square().sum(1)
    merit = (boxes[:, 2:] - boxes[:, :2]).prod(1) - 2 * away
    order = torch.argsort(merit, descending=True, stable=True)
    return order[first_of_each(of_image[order], 1)]
