"""Faces set by hand: units add up, and pictures depend on nothing else."""

import numpy as np
import pytest

from face2exp_lib.rendering.expressions import ACTION_UNITS, LARGEST_WEIGHT, PROTOTYPES
from face2exp_lib.rendering.posing import load_person
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.studio import (
    expression_faces,
    main_prototype,
    studio_scene,
    unit_weights,
)
from face2exp_lib.runtime.errors import Face2ExpError


def test_units_that_move_the_same_shape_add_up() -> None:
    six, seven = (ACTION_UNITS[number].arkit["eyeSquint*"] for number in (6, 7))
    weights = unit_weights({6: 0.5, 7: 0.25})
    assert weights["eyeSquintLeft"] == pytest.approx(0.5 * six + 0.25 * seven)
    assert weights["eyeSquintLeft"] == weights["eyeSquintRight"]


def test_a_side_can_stay_at_rest_but_the_jaw_has_none() -> None:
    weights = unit_weights({12: 1.0, 26: 1.0}, left=0.0)
    assert "mouthSmileLeft" not in weights
    assert weights["mouthSmileRight"] == ACTION_UNITS[12].arkit["mouthSmile*"]
    assert weights["jawOpen"] == ACTION_UNITS[26].arkit["jawOpen"]


def test_weights_are_those_that_a_face_can_do() -> None:
    weights = unit_weights(dict.fromkeys(ACTION_UNITS, 1.3))
    assert max(weights.values()) == LARGEST_WEIGHT
    assert "eyeBlinkLeft" not in weights  # not with eyes wide open
    assert "eyeBlinkLeft" in unit_weights({43: 1.0})


def test_unknown_unit_is_named() -> None:
    with pytest.raises(Face2ExpError, match=r"action unit 3 cannot be drawn: use 1, 2, 4"):
        unit_weights({3: 1.0})


def test_main_prototype_is_the_most_frequent() -> None:
    for name, variants in PROTOTYPES.items():
        assert main_prototype(name).share == max(variant.share for variant in variants)


def test_light_comes_from_where_it_is_said_to() -> None:
    person = load_person(0, 0)
    left, right = (
        render_head(person, {}, studio_scene(light_azimuth=azimuth, light_elevation=20), 32)[0]
        for azimuth in (-70, 70)
    )
    darker = left[:, 16:].mean() - right[:, 16:].mean(), right[:, :16].mean() - left[:, :16].mean()
    assert max(darker) < -5


def test_head_turns_to_the_right_of_the_picture_and_up() -> None:
    person = load_person(0, 0)
    ahead = render_head(person, {}, studio_scene(), 32)[1]
    aside = render_head(person, {}, studio_scene(yaw=30), 32)[1]
    upward = render_head(person, {}, studio_scene(pitch=20), 32)[1]
    nose_from_eyes = [points[2] - points[:2].mean(0) for points in (ahead, aside, upward)]
    assert nose_from_eyes[1][0] > nose_from_eyes[0][0] + 1
    assert nose_from_eyes[2][1] < nose_from_eyes[0][1] - 1


def test_expression_faces() -> None:
    people = [load_person(0, number) for number in (0, 1)]
    names = ("neutral", "surprise", "contempt")
    rest, shown = (expression_faces(names, people, intensity, 32) for intensity in (0, 1))
    assert shown.shape == (2, 3, 32, 32, 3)
    assert shown.dtype == np.uint8
    # At rest all are neutral; neutral does not depend on the intensity; the others show something.
    assert all(np.array_equal(rest[:, 0], rest[:, column]) for column in (1, 2))
    assert np.array_equal(rest[:, 0], shown[:, 0])
    for column in (1, 2):
        moved = np.abs(shown[:, column].astype(int) - shown[:, 0]).max((2, 3))
        assert (moved.max(1) > 20).all()
    assert not np.array_equal(shown[0], shown[1])
