"""Regions by hand: squares at points, pixels that are cut, points of an average face."""

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.augmentation.patches import move_points
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.methods.method import FormContext
from face2exp_lib.methods.regions import around, average_points, cut, told
from tests.methods.nets import small


def test_squares_stay_in_the_view() -> None:
    found = around(torch.tensor([[0.5, 0.5], [0.1, 0.95]]), 0.5)
    assert found[0].tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75])
    assert found[1].tolist() == pytest.approx([0, 0.5, 0.5, 1])


def test_a_cut_is_the_pixels_of_its_box() -> None:
    """Quarters of a 4 x 4 image at their own resolution, and the same at twice of it: bilinear
    between the middles of pixels."""
    image = torch.arange(16.0).view(1, 1, 4, 4)
    boxes = torch.tensor([[[0.5, 0.0, 1.0, 0.5], [0.0, 0.5, 0.5, 1.0]]])
    first, second = cut(image, boxes, 2)
    assert first[0, 0].tolist() == [[2, 3], [6, 7]]
    assert second[0, 0].tolist() == [[8, 9], [12, 13]]
    (finer,) = cut(image, boxes[:, :1], 4)
    assert finer[0, 0, 0].tolist() == pytest.approx([1.75, 2.25, 2.75, 3.0])  # the edge goes on
    (own,) = cut(image.repeat(2, 1, 1, 1), torch.stack([boxes[0, :1], boxes[0, 1:]]), 2)
    assert torch.equal(own, torch.cat([first, second]))


def test_points_of_an_average_face_are_those_of_its_centre_view() -> None:
    found = average_points(FormContext(small(), None, 40, 32, 0))
    points = torch.from_numpy(CANONICAL_POINTS.copy())[None]
    assert torch.allclose(found, move_points(points, centre_view(1), 0.8)[0], atol=1e-6)


class Shifted(nn.Module):
    def forward(self, x: Tensor, points: Tensor | None = None) -> Tensor:
        return x if points is None else x + points.sum((1, 2))[:, None]


def test_rows_bring_their_points_with_them() -> None:
    x, points = torch.tensor([[1.0], [2.0], [3.0]]), torch.ones(3, 5, 2)
    points[2] = 2
    network, rows = told(Shifted(), x, points)
    assert network(rows[1:]).tolist() == [[12], [23]]
    plain, same = told(Shifted(), x, None)
    assert same is x
    assert isinstance(plain, Shifted)
