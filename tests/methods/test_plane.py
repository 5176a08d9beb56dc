"""Points of the plane: what is drawn, and that methods learn from it as they do from faces."""

import pytest
import torch

from face2exp_lib.methods import METHODS
from face2exp_lib.methods.plane import (
    WANT_IMAGES,
    PointNetwork,
    Points,
    accuracy,
    draw_points,
    learn,
    probabilities,
)
from face2exp_lib.runtime.errors import Face2ExpError
from tests.methods.nets import same, state


@pytest.fixture(scope="module")
def points() -> Points:
    return draw_points()


def test_points_are_as_asked_for() -> None:
    points = draw_points((10, 20, 30), wrong=0.1, neutral=0.8, unlabelled=1000, seed=3)
    assert torch.bincount(points.truth_fer).tolist() == [10, 20, 30]
    assert (points.y_fer != points.truth_fer).sum() == 6
    assert (points.second != points.truth_fer).sum() == 6
    assert (points.y_fer != points.second).any()
    shares = torch.bincount(points.truth_fr) / 1000
    assert shares.tolist() == pytest.approx([0.1, 0.8, 0.1], abs=0.03)
    assert torch.bincount(points.y_test).tolist() == [500] * 3
    again = draw_points((10, 20, 30), wrong=0.1, neutral=0.8, unlabelled=1000, seed=3)
    assert torch.equal(points.x_fr, again.x_fr)


def test_light_tells_the_class_of_labelled_faces_alone(points: Points) -> None:
    def means(x: torch.Tensor, y: torch.Tensor) -> list[float]:
        return [x[y == code, 0].mean().item() for code in range(3)]

    sad, neutral, happy = means(points.x_fer, points.truth_fer)
    assert sad < neutral - 0.5 < happy - 1
    assert max(map(abs, means(points.x_test, points.y_test))) < 0.2


def test_a_happier_face_has_a_wider_mouth(points: Points) -> None:
    width = points.landmarks[:, 4, 0] - points.landmarks[:, 3, 0]
    torch.testing.assert_close(width, 2 + 0.6 * points.x_fer[:, 1])


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WANT_IMAGES])
def test_every_method_learns_from_points(name: str, points: Points) -> None:
    deployed = learn(METHODS[name], points, steps=30)
    assert probabilities(deployed, points.x_test).isfinite().all()
    assert not same(state(deployed), state(PointNetwork(0)))
    assert same(state(deployed), state(learn(METHODS[name], points, steps=30)))


@pytest.mark.parametrize("name", WANT_IMAGES)
def test_a_method_that_cuts_regions_is_refused(name: str, points: Points) -> None:
    with pytest.raises(Face2ExpError, match=f"method {name} cuts images"):
        learn(METHODS[name], points)


def test_who_sees_two_lights_learns_that_light_is_nothing(points: Points) -> None:
    alone, two = (accuracy(learn(METHODS[n], points), points) for n in ("supervised", "uda"))
    assert alone < 75
    assert two > 90


def test_options_and_smoothing_reach_the_method(points: Points) -> None:
    method = METHODS["pseudo_label"]
    without = learn(method, points, steps=30, options={"w_u": 0.0})
    assert not same(state(without), state(learn(method, points, steps=30)))
    plain = learn(METHODS["supervised"], points, steps=30)
    smoothed = learn(METHODS["supervised"], points, steps=30, label_smoothing=0.3)
    assert not same(state(plain), state(smoothed))
