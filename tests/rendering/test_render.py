"""Images: the same everywhere, and in step with their records."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.rendering import FaceRecord, FaceSpec, render, render_face
from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.posing import landmarks_in_picture, load_person, pose_head
from face2exp_lib.rendering.raster import Fragments
from face2exp_lib.rendering.scene import sample_scene
from face2exp_lib.rendering.surface import Surface

SPEC = FaceSpec(seed=3, purpose="test", count=64, size=48, num_identities=40)


def digest(index: int) -> str:
    image, record = render_face(SPEC, index)
    return hashlib.sha256(image.tobytes() + json.dumps(record.row()).encode()).hexdigest()


def test_another_process_in_another_order_draws_the_same_bytes() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_render import digest\n"
        "print(*[digest(index) for index in (5, 2, 0)])"
    )
    folder = __file__.rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[::-1] == [digest(index) for index in (0, 2, 5)]


def test_seed_purpose_and_index_each_give_another_picture() -> None:
    image = render_face(SPEC, 0)[0]
    others = [
        render_face(SPEC, 7)[0],
        render_face(FaceSpec(seed=4, purpose="test", count=64, size=48, num_identities=40), 0)[0],
        render_face(FaceSpec(seed=3, purpose="other", count=64, size=48, num_identities=40), 0)[0],
    ]
    assert all(np.abs(image.astype(int) - other).mean() > 5 for other in others)


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    larger = FaceSpec(seed=3, purpose="test", count=5000, size=48, num_identities=40)
    assert np.array_equal(render_face(SPEC, 1)[0], render_face(larger, 1)[0])


def test_the_number_of_pixels_lit_at_once_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [render_face(SPEC, index)[0] for index in range(4)]
    monkeypatch.setattr(render, "PIXELS_AT_ONCE", 777)
    for index in range(4):
        assert np.array_equal(render_face(SPEC, index)[0], whole[index])


def test_lashes_let_the_nearest_pixel_of_their_column_shine_through() -> None:
    material = np.array([Material.LASH, Material.BODY, Material.LASH, Material.LASH])
    # Left column: upper lashes over and under skin; right column: a lower lash alone.
    triangle = np.array([[0, -1], [1, -1], [2, 3]], np.int32)
    nothing = np.zeros((4, 3), np.float32)
    fragments = Fragments(*[np.zeros((3, 2), np.float32)] * 4)._replace(triangle=triangle)
    template = np.array([[0, 8, 1], [0, 8, 1], [0, 8, 1], [0, 6, 1]], np.float32)
    surface = Surface(template, nothing, material, *[nothing] * 6)
    light = np.array([[0.0], [1.0], [0.0], [0.0]], np.float32) * np.ones(3, np.float32)
    backdrop = np.full((3, 2, 3), 0.5, np.float32)
    identity = load_person(0, 0).identity
    female = identity.masculinity < 0.5
    opacity = render.LASH_OPACITY_FEMALE if female else render.LASH_OPACITY_MALE
    lower = 1 - opacity * render.LOWER_LASH_PART
    blended = render.blend_lashes(light, backdrop, surface, fragments, identity)
    expected = np.array([1 - opacity, 1, 1 - opacity, 0.5 * lower])
    assert blended == pytest.approx(expected[:, None] * np.ones(3))


def test_shrink_takes_the_mean_of_each_block() -> None:
    picture = np.arange(48, dtype=np.float32).reshape(4, 4, 3)
    expected = picture.reshape(2, 2, 2, 2, 3).mean((1, 3))
    assert render.shrink(picture) == pytest.approx(expected)


def test_landmarks_lie_in_the_picture_left_of_right_and_eyes_over_mouth() -> None:
    for index in range(12):
        points = render_face(SPEC, index)[1].landmarks
        assert ((points > 0) & (points < SPEC.size)).all()
        left_eye, right_eye, nose, mouth_left, mouth_right = points
        assert left_eye[0] < right_eye[0]
        assert mouth_left[0] < mouth_right[0]
        assert max(left_eye[1], right_eye[1]) < min(mouth_left[1], mouth_right[1])
        assert left_eye[1] - 3 < nose[1] < mouth_left[1] + 3


def test_yaw_turns_to_the_right_of_the_picture_pitch_up_and_roll_counter_clockwise() -> None:
    scene = sample_scene(np.random.default_rng(0), pose=0.0, light=1.0)

    def points(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
        turned = replace(scene, yaw=yaw, pitch=pitch, roll=roll)
        return landmarks_in_picture(pose_head(load_person(0, 0), {}, turned, 100).projected)

    def nose_from_eyes(marks: np.ndarray) -> np.ndarray:
        return marks[2] - marks[:2].mean(0)

    ahead = points()
    assert (nose_from_eyes(points(yaw=0.3)) - nose_from_eyes(ahead))[0] > 2
    assert (nose_from_eyes(points(pitch=0.3)) - nose_from_eyes(ahead))[1] < -2
    left_eye, right_eye = points(roll=0.3)[:2]
    down, across = left_eye[1] - right_eye[1], right_eye[0] - left_eye[0]
    assert np.arctan2(down, across) == pytest.approx(0.3, abs=0.06)


def test_no_two_people_alike() -> None:
    rests = [load_person(0, number).rest for number in range(20)]
    gaps = [np.abs(a - b).max() for i, a in enumerate(rests) for b in rests[:i]]
    assert min(gaps) > 0.1  # decimetres


def test_expression_moves_the_face_and_neutral_does_not() -> None:
    def record_of(expression: str) -> FaceRecord:
        spec = FaceSpec(purpose="move", count=1, size=16, classes={expression: 1.0}, idle=0.0)
        return render_face(spec, 0)[1]

    def movement(record: FaceRecord) -> float:
        weights = record.action_weights.items()
        return sum(weight for name, weight in weights if not name.startswith("eyeLook"))

    neutral, surprise = record_of("neutral"), record_of("surprise")
    assert (neutral.intensity, movement(neutral)) == (0, 0)
    assert 0.3 <= surprise.intensity <= 1.0
    assert movement(surprise) > 0.5
