"""Glasses, hats and hands: drawn where they belong, and nothing else changes."""

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.rendering import FaceSpec, render_face
from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import vertex_normals
from face2exp_lib.rendering.glasses import FRAME_SHAPES, sample_glasses
from face2exp_lib.rendering.hand import HAND_POSES, PRESSURE, sample_hand
from face2exp_lib.rendering.hand_mesh import LITTLE, load_hand
from face2exp_lib.rendering.hats import sample_hat
from face2exp_lib.rendering.head import load_head
from face2exp_lib.rendering.occluders import OCCLUDERS, make_occluder, sample_occluder
from face2exp_lib.rendering.posing import PosedHead, load_person, pose_head
from face2exp_lib.rendering.raster import Fragments, rasterise
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.scene import sample_scene

WIDTH = 96
MATERIALS = {
    **dict.fromkeys(("glasses", "tinted_glasses", "sunglasses"), Material.GLASSES),
    **dict.fromkeys(("cap", "beanie", "brimmed_hat"), Material.HAT),
    **dict.fromkeys(HAND_POSES, Material.HAND),
}
SCENE = sample_scene(np.random.default_rng(1), pose=0.0, light=0.5)


def digest(index: int) -> str:
    spec = FaceSpec(count=64, size=32, num_identities=20, occlusion=1)
    return hashlib.sha256(render_face(spec, index)[0].tobytes()).hexdigest()


def posed(kind: str, person: int = 0, draw: int = 0, yaw: float = 0.0) -> PosedHead:
    occluder = make_occluder(kind, np.random.default_rng(draw))
    scene = replace(SCENE, yaw=yaw)
    return pose_head(load_person(0, person), {}, scene, WIDTH, occluder=occluder)


def fragments_of(head: PosedHead) -> Fragments:
    both_sided = np.zeros(len(head.triangles), np.bool_)
    return rasterise(head.projected, head.triangles, both_sided, WIDTH, WIDTH)


def shares_of_materials(head: PosedHead) -> Counter[int]:
    triangle = fragments_of(head).triangle
    return Counter(head.material[triangle[triangle >= 0]].tolist())


def test_without_occlusion_none_is_drawn_and_every_other_draw_stays() -> None:
    bare = FaceSpec(count=8, size=32, occlusion=0)
    covered = FaceSpec(count=8, size=32, occlusion=1)
    for index in range(8):
        image, record = render_face(bare, index)
        other_image, other = render_face(covered, index)
        assert (record.occluder, record.row()["occluder"]) == ("", "")
        assert other.row()["occluder"] == other.occluder in OCCLUDERS
        assert not np.array_equal(image, other_image)
        assert np.array_equal(record.landmarks, other.landmarks)
        assert {**record.row(), "occluder": ""} == {**other.row(), "occluder": ""}


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_occluders import digest\n"
        "print(*[digest(index) for index in range(12)])"
    )
    folder = __file__.rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [digest(index) for index in range(12)]


def test_occlusion_is_the_part_of_pictures_that_have_an_occluder() -> None:
    draws = [sample_occluder(np.random.default_rng(i), 0.3) for i in range(1000)]
    kinds = Counter(draw.kind for draw in draws if draw is not None)
    assert 230 < kinds.total() < 370  # 300 expected; 5 standard deviations are 72
    assert set(kinds) == set(OCCLUDERS)


@pytest.mark.parametrize("kind", OCCLUDERS)
@pytest.mark.parametrize("yaw", [-0.6, 0.0, 0.6])
def test_each_kind_is_seen(kind: str, yaw: float) -> None:
    seen = shares_of_materials(posed(kind, draw=3, yaw=yaw))
    assert seen[MATERIALS[kind]] > (20 if MATERIALS[kind] == Material.GLASSES else 250)


@pytest.mark.parametrize("shape", FRAME_SHAPES)
def test_lenses_lie_before_eyes_and_skin(shape: str) -> None:
    head = load_head()
    for number in range(4):
        glasses = replace(sample_glasses(np.random.default_rng(number), "glasses"), shape=shape)
        person = load_person(0, number)
        worn = pose_head(person, {}, SCENE, WIDTH, occluder=glasses)
        both_sided = np.zeros(len(worn.lenses), np.bool_)
        glass = rasterise(worn.projected, worn.lenses, both_sided, WIDTH, WIDTH)
        behind = fragments_of(worn)
        is_lens = glass.triangle >= 0
        hidden = is_lens & (behind.depth > glass.depth)
        hiding = worn.material[behind.triangle[hidden]]
        assert not np.isin(hiding, [Material.BODY, Material.EYE, Material.LASH]).any()
        for eye in head.landmarks[:2]:
            column, row = worn.projected[eye, :2].mean(0).astype(int)
            assert is_lens[row, column]


def test_glasses_move_with_the_head_and_clear_lenses_keep_the_eyes_visible() -> None:
    person = load_person(0, 1)
    clear = sample_glasses(np.random.default_rng(0), "glasses")
    dark = replace(clear, transmission=np.array([0.02, 0.02, 0.02], np.float32))
    bare, landmarks = render_head(person, {}, SCENE, 64)

    def eye_brightness(image: np.ndarray) -> float:
        columns, rows = landmarks[:2].astype(int).T
        patches = [image[y - 2 : y + 3, x - 2 : x + 3] for x, y in zip(columns, rows, strict=True)]
        return float(np.mean(patches))

    through = eye_brightness(render_head(person, {}, SCENE, 64, occluder=clear)[0])
    darkened = eye_brightness(render_head(person, {}, SCENE, 64, occluder=dark)[0])
    assert through > 0.75 * eye_brightness(bare)
    assert darkened < 0.6 * through
    turned = pose_head(person, {}, replace(SCENE, yaw=0.5), WIDTH, occluder=clear)
    ahead = pose_head(person, {}, SCENE, WIDTH, occluder=clear)
    first = turned.lenses.min()
    spans = [np.ptp(head.vertices[first:], axis=0) for head in (ahead, turned)]
    assert np.linalg.norm(spans[0] - spans[1]) > 0.1
    distances = [
        np.linalg.norm(head.vertices[first] - head.vertices[load_head().landmarks[2][0]])
        for head in (ahead, turned)
    ]
    assert distances[0] == pytest.approx(distances[1], abs=1e-4)


@pytest.mark.parametrize("kind", ["cap", "beanie", "brimmed_hat"])
def test_no_hair_sticks_out_of_a_hat(kind: str) -> None:
    for number in range(6):
        person = load_person(0, number)
        hat = sample_hat(np.random.default_rng(number), kind)
        worn = pose_head(person, {}, SCENE, WIDTH, occluder=hat)
        fragments = fragments_of(worn)
        shown = fragments.triangle >= 0
        rows = np.nonzero(shown)[0]
        is_hat = worn.material[fragments.triangle[shown]] == Material.HAT
        top = rows[is_hat].min()
        assert is_hat[rows < top + 6].all()


@pytest.mark.parametrize("kind", HAND_POSES)
def test_a_hand_rests_on_the_face_without_sinking_in(kind: str) -> None:
    head = load_head()
    for number in range(4):
        person = load_person(0, number)
        hand = sample_hand(np.random.default_rng(number), kind)
        shaped, prop = hand.put_on(head, person.identity, person.rest, person.rest)
        fingers = prop.vertices[load_hand().vertices[:, 1] > 0][::3]
        skin = shaped[: len(head.is_body)]
        outward = vertex_normals(skin, head.triangles[head.material == Material.BODY])
        skin, outward = skin[head.is_body], outward[head.is_body]
        apart = fingers[:, None] - skin[None]
        nearest = (apart**2).sum(2).argmin(1)
        gap = (apart[np.arange(len(fingers)), nearest] * outward[nearest]).sum(1)
        assert gap.min() < 0.06  # decimetres: it touches
        assert np.quantile(gap, 0.02) > -3 * PRESSURE


def test_bent_fingers_close_over_the_palm_and_keep_their_length() -> None:
    hand = load_hand()
    for finger in range(LITTLE + 1):
        members = hand.members[finger]
        points = hand.vertices[members]
        tip = np.argmin(((points - hand.joints[finger, 3]) ** 2).sum(1))
        moved = hand.bend_finger(finger, 1.0, 0.0, np.array([0.3, 0.7, 1.0]))
        bent = points[tip] + moved[tip]
        assert bent[2] > points[tip, 2] + 0.05  # towards the palm's side
        reach = [np.linalg.norm(p - hand.joints[finger, 0]) for p in (points[tip], bent)]
        assert reach[1] < reach[0]
        still = hand.bend_finger(finger, 1.0, 0.0, np.zeros(3))
        assert np.abs(still).max() < 1e-5
