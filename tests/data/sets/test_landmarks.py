"""Five points, and which of them can be a face's."""

import csv

import numpy as np
import pytest

from face2exp_lib.data.sets.landmarks import (
    CANONICAL_POINTS,
    FEWEST,
    RULES,
    average_points,
    implausible,
    shape_of,
)
from face2exp_lib.runtime.resources import shipped

NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
SIDE = 100  # px
FACE = CANONICAL_POINTS * SIDE
SIZE = np.array([[SIDE, SIDE]])


def moved(point: int, right: float, down: float) -> np.ndarray:
    points = FACE.copy()
    points[point] += [right, down]
    return points


def why(points: np.ndarray, box: tuple[float, ...] | None = None) -> str:
    return implausible(points[None], SIZE, None if box is None else np.array([box]))[0]


@pytest.fixture(scope="module")
def rendered() -> np.ndarray:
    """The true points of the embedded faces of 64 px."""
    with (shipped("data/rendered") / "fer_test.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[[float(row[f"{n}_{axis}"]) for axis in "xy"] for n in NAMES] for row in rows])


def test_canonical_points_are_in_order_and_symmetric() -> None:
    mirrored = CANONICAL_POINTS[[1, 0, 2, 4, 3]] * [-1, 1] + [1, 0]
    assert mirrored == pytest.approx(CANONICAL_POINTS)
    assert why(FACE) == ""
    with pytest.raises(ValueError, match="read-only"):
        CANONICAL_POINTS[0] = 0


def test_shape_by_hand() -> None:
    """A head that leans by a quarter turn to the right: down is to the left of the image."""
    points = np.array([[[60, 30], [60, 60], [50, 50], [20, 40], [20, 50]]])
    shape = shape_of(points, SIZE, np.array([[0, 0, 80, 60]]))
    expected = {
        "height": 40, "lean": 90, "eyes": 30 / 40, "mouth": 10 / 40,
        "nose_down": 10 / 40, "nose_aside": 5 / 40, "eyes_slant": 0, "mouth_slant": 0,
        "outside": -0.2, "of_image": 0.4, "of_box": 0.5,
    }  # fmt: skip
    assert {name: getattr(shape, name) for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (FACE * [1, -1] + [0, SIDE], "eyes below the mouth"),
        (FACE[[1, 0, 2, 3, 4]], "eyes exchanged"),
        (FACE[[0, 1, 2, 4, 3]], "corners of the mouth exchanged"),
        (FACE + 60, "a point far outside the image"),
        ((FACE - 50) * 4 + 50, "a point far outside the image"),
        (FACE * [1, 0.25], "eyes too far apart"),
        (np.array([*FACE[:3], [5, 82], [95, 82]]), "mouth too wide"),
        (moved(2, 0, -30), "nose not between eyes and mouth"),
        (moved(2, 45, 0), "nose beside the face"),
        (moved(1, 0, 30), "eyes and mouth askew"),
        (FACE * 0.02 + 50, "out of proportion to the image"),
        (FACE * np.nan, "not finite"),
    ],
)
def test_what_cannot_be_a_face_is_named(points: np.ndarray, reason: str) -> None:
    assert why(points) == reason


def test_a_box_that_does_not_go_with_the_points() -> None:
    assert why(FACE, (20, 20, 80, 95)) == ""
    assert why(FACE, (40, 50, 60, 75)) == "out of proportion to the box"
    assert set(RULES) >= {"mouth too wide", "out of proportion to the box"}


def test_true_points_pass_and_spoilt_ones_do_not(rendered: np.ndarray) -> None:
    """Heads are turned by up to 46 degrees. Measured on all parts: none of 25,150 is flagged."""
    sizes = np.full((len(rendered), 2), 64)

    def flagged(points: np.ndarray) -> float:
        return float(np.mean([bool(reason) for reason in implausible(points, sizes)]))

    assert flagged(rendered) == 0
    height = shape_of(rendered, sizes).height[:, None, None]
    generator = np.random.default_rng(0)
    assert flagged(rendered + generator.normal(0, 0.05, rendered.shape) * height) < 0.01
    assert flagged(rendered + generator.normal(0, 0.5, rendered.shape) * height) > 0.7
    assert flagged(generator.uniform(0, 64, rendered.shape)) > 0.95
    assert flagged(rendered[..., ::-1]) == 1
    assert flagged(rendered[:, [1, 0, 2, 4, 3]]) == 1


def test_the_average_face_is_the_median_of_many_and_canonical_of_few() -> None:
    many = np.repeat(CANONICAL_POINTS[None], FEWEST, 0) + 0.1
    many[0] = 50
    assert average_points(many) == pytest.approx(CANONICAL_POINTS + 0.1)
    assert average_points(many[1:]) is CANONICAL_POINTS
