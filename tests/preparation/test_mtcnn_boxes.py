"""Boxes by hand."""

import pytest
import torch

from face2exp_lib.preparation.mtcnn import (
    best,
    first_of_each,
    most_central,
    outermost,
    shifted,
    square,
)

BOX = torch.tensor([[10.0, 20, 30, 60]])


def test_edges_move_by_parts_of_the_sides() -> None:
    moved = shifted(BOX, torch.tensor([[0.1, 0.1, -0.1, 0.5]]))
    assert moved.tolist() == [[12, 24, 28, 80]]


def test_a_square_keeps_the_centre_and_the_longer_side() -> None:
    assert square(BOX).tolist() == [[0, 20, 40, 60]]
    assert square(BOX, 0.5).tolist() == [[10, 30, 30, 50]]


def test_the_best_of_overlapping_boxes_of_each_image_is_kept() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [50, 50, 60, 60.0]])
    score, of_image = torch.tensor([1.0, 2.0, 0.5, 0.1]), torch.tensor([0, 0, 1, 0])
    assert best(boxes, score, of_image, 0.5).tolist() == [1, 2, 3]
    assert best(boxes, score, of_image, 0.9).tolist() == [1, 0, 2, 3]


def test_the_number_of_the_image_costs_no_digits() -> None:
    """Two boxes that overlap by just more than the threshold, in the ten thousandth image."""
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 5.0001]])
    for image in (0, 10_000):
        of_image = torch.tensor([image, image])
        assert best(boxes, torch.tensor([2.0, 1.0]), of_image, 0.5).tolist() == [0]
        shorter = boxes - torch.tensor([[0, 0, 0, 0], [0, 0, 0, 0.0002]])
        assert best(shorter, torch.tensor([2.0, 1.0]), of_image, 0.5).tolist() == [0, 1]


def test_a_box_inside_another_is_the_same_face() -> None:
    boxes = torch.tensor([[0, 0, 100, 100], [20, 20, 40, 40], [20, 20, 40, 40.0]])
    kept = outermost(boxes, torch.tensor([3.0, 2.0, 1.0]), torch.tensor([0, 0, 1]))
    assert kept.tolist() == [True, False, True]
    kept = outermost(boxes, torch.tensor([1.0, 2.0, 1.0]), torch.tensor([0, 0, 1]))
    assert kept.tolist() == [False, True, True]


def test_the_first_of_each_image() -> None:
    of_image = torch.tensor([2, 0, 2, 2, 0])
    assert first_of_each(of_image, 1).tolist() == [1, 0]
    assert first_of_each(of_image, 2).tolist() == [1, 4, 0, 2]
    assert first_of_each(of_image[:0], 2).tolist() == []


@pytest.mark.parametrize(("away", "kept"), [(0.0, 1), (12.0, 1), (16.0, 0)])
def test_area_less_twice_the_squared_distance_decides(away: float, kept: int) -> None:
    """20 x 20 in the middle against 30 x 30: 400 against 900 - 2 * away ** 2."""
    boxes = torch.tensor([[40, 40, 60, 60], [35 + away, 35, 65 + away, 65.0]])
    assert most_central(boxes, torch.tensor([0, 0]), 50).tolist() == [kept]
