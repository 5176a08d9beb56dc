"""Regions of a face, cut from its view or from maps of features, at fixed places or at its points.

A deployed network is given images alone, so it cuts where an average aligned face has its points;
while it learns, a step may know the points of each face.

Shapes: N images, P regions, places x, y in 0 .. 1 of the view.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.methods.method import FormContext


def average_points(given: FormContext) -> Tensor:
    """(5, 2) where the centre view of an average aligned face shows its points."""
    stored = torch.from_numpy(CANONICAL_POINTS.copy())
    return (stored - 0.5) * (given.stored_size / given.view_size) + 0.5


def around(centres: Tensor, side: float) -> Tensor:
    """Squares of a side, 0 .. 1, around (..., 2) centres, moved into the view where they leave it:
    (..., 4) left, top, right, bottom."""
    inside = centres.clamp(side / 2, 1 - side / 2)
    return torch.cat([inside - side / 2, inside + side / 2], -1)


def cut(images: Tensor, boxes: Tensor, size: int) -> list[Tensor]:
    """Regions of images or maps, bilinear, what lies outside like the nearest edge.

    Products of matrices, since a box is upright: the gradient of `grid_sample` is added up in any
    order on a GPU, and a resumed run would not repeat it.

    Args:
        images: (N, C, h, w).
        boxes: (N, P, 4) left, top, right, bottom; of one row the same for all images.
        size: side of a region in samples.

    Returns:
        P tensors (N, C, size, size).
    """
    height, width = images.shape[2:]
    regions = []
    for left, top, right, bottom in (box.unbind(1) for box in boxes.to(images).unbind(1)):
        rows, columns = _shares(top, bottom, size, height), _shares(left, right, size, width)
        regions.append(rows[:, None] @ images @ columns[:, None].mT)
    return regions


def _shares(low: Tensor, high: Tensor, size: int, length: int) -> Tensor:
    """(N, size, length): how much of each pixel of a line a sample between two (N,) ends takes."""
    steps = (torch.arange(size).to(low) + 0.5) / size
    places = (low[:, None] + (high - low)[:, None] * steps) * length - 0.5
    places = places.clamp(0, length - 1)
    return F.relu(1 - (places[..., None] - torch.arange(length).to(low)).abs())


class AtPoints(nn.Module):
    """A network that is told where the points of a batch's faces lie, for passes that take a batch
    in parts: its input is the rows of the batch."""

    def __init__(self, network: nn.Module, x: Tensor, points: Tensor) -> None:
        super().__init__()
        self.network = network
        self.given = x, points

    def forward(self, rows: Tensor) -> Tensor:
        """(M,) int64 rows to what the network makes of these images and their points."""
        x, points = self.given
        made: Tensor = self.network(x[rows], points[rows])
        return made


def told(network: nn.Module, x: Tensor, points: Tensor | None) -> tuple[nn.Module, Tensor]:
    """A network and its input for a pass: with or without the points, (N, 5, 2), of the faces."""
    if points is None:
        return network, x
    return AtPoints(network, x, points), torch.arange(len(x), device=x.device)
