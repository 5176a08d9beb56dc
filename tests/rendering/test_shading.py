"""Light on paint, and the bending of normals."""

from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.rendering import shading
from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.posing import load_person
from face2exp_lib.rendering.scene import Scene, sample_scene
from face2exp_lib.rendering.shading import shade, wrinkle
from face2exp_lib.rendering.surface import Surface
from face2exp_lib.rendering.wrinkles import ATLAS_SIZE, groove_map

GREY = np.array([0.4, 0.4, 0.4])


def surface_of(material: list[Material], **fields: object) -> Surface:
    """Pixels that face the camera, in full light and open."""
    count = len(material)
    ahead = np.tile(np.array([0, 0, 1], np.float32), (count, 1))
    surface = Surface(
        template=np.tile(np.array([0.3, 6.9, 1.4], np.float32), (count, 1)),
        uv=np.zeros((count, 2), np.float32),
        material=np.array(material, np.int32),
        normal=ahead.copy(),
        view=ahead.copy(),
        irradiance=np.full((count, 3), 0.2, np.float32),
        openness=np.ones(count, np.float32),
        key_part=np.ones(count, np.float32),
        hair_height=np.full(count, -1, np.float32),
    )
    return replace(surface, **{k: np.array(v, np.float32) for k, v in fields.items()})


def scene_lit_from(x: float, y: float, z: float) -> Scene:
    scene = sample_scene(np.random.default_rng(0), pose=0.0, light=0.0)
    return replace(
        scene,
        key_direction=np.array([x, y, z], np.float32),
        key=np.full(3, 2.0, np.float32),
        sky=np.full(3, 0.5, np.float32),
        ground=np.full(3, 0.1, np.float32),
    )


def matte(count: int) -> Paint:
    return Paint(GREY, count, 0.0)


def test_cloth_without_gloss_follows_lambert() -> None:
    surface = surface_of([Material.HAT] * 3, key_part=[1, 0.5, 0])
    light = shade(matte(3), surface, scene_lit_from(0.6, 0, 0.8))
    ambient = shading.AMBIENT * 0.2
    expected = 0.4 * (shading.DIFFUSE * 0.8 * np.array([1, 0.5, 0]) * 2.0 + ambient)
    assert light == pytest.approx(np.repeat(expected[:, None], 3, 1), rel=1e-5)


@pytest.mark.parametrize("skin", [Material.BODY, Material.HAND])
def test_light_bleeds_through_skin_red_furthest(skin: Material) -> None:
    surface = surface_of([skin, Material.HAT], irradiance=np.zeros((2, 3)))
    lit, cloth = shade(matte(2), surface, scene_lit_from(1, 0, -0.02))
    assert (cloth == 0).all()
    assert lit[0] > lit[1] > lit[2] > 0


def test_eyes_and_teeth_are_never_black() -> None:
    dark = {"irradiance": np.zeros((3, 3)), "key_part": [0, 0, 0], "openness": [0, 0, 0]}
    surface = surface_of([Material.EYE, Material.TEETH, Material.HAT], **dark)
    eye, teeth, cloth = shade(matte(3), surface, scene_lit_from(0, 0, 1))
    assert (cloth == 0).all()
    assert eye.min() > 0.05
    assert teeth.min() > 0.05
    nothing = np.zeros(3, np.float32)
    no_sky = replace(scene_lit_from(0, 0, 1), sky=nothing, ground=nothing)
    eye, teeth, cloth = shade(matte(3), surface, no_sky)
    main_light = 0.4 * shading.DIFFUSE * 2.0
    assert eye == pytest.approx(0.35 * main_light)
    assert teeth == pytest.approx(0.45 * main_light)


def test_highlights_grow_with_gloss_and_lie_where_the_light_is_mirrored() -> None:
    surface = surface_of([Material.HAT] * 3, normal=[[0, 0, 1], [0, 0, 1], [0.6, 0, 0.8]])
    paint = matte(3)
    paint.gloss[:] = [0.0, 0.5, 0.5]
    paint.hardness[:] = 80
    light = shade(paint, surface, scene_lit_from(0, 0, 1))[:, 0]
    assert light[1] > light[0] + 0.05
    assert light[2] < light[0]


def test_folds_tilt_normals_away_from_their_middle_and_darken_it() -> None:
    identity = replace(load_person(0, 0).identity, age=0.0)
    grooves = np.zeros((ATLAS_SIZE, ATLAS_SIZE), np.float32)
    middle = ATLAS_SIZE // 2
    grooves[:, middle] = 0.01  # a groove that runs down the midline, x about 0
    step = 1.6 / (ATLAS_SIZE - 1)
    x = -0.8 + (middle + np.array([-1, 0, 1, 30])) * step
    points = np.stack([x, np.full(4, 7.0), np.full(4, 1.4)], 1)
    surface = surface_of([Material.BODY] * 4, template=points)
    other = surface_of([Material.HAT] * 4, template=points)
    plain = surface_of([Material.BODY] * 4, template=points)
    turn = np.eye(3, dtype=np.float32)
    wrinkle(surface, identity, grooves, turn)
    wrinkle(other, identity, grooves, turn)
    wrinkle(plain, identity, grooves * 0, turn)
    bent = surface.normal[:, 0] - plain.normal[:, 0]
    assert bent[0] > 0.3
    assert bent[2] < -0.3
    assert bent[[1, 3]] == pytest.approx(0, abs=1e-5)
    assert np.linalg.norm(surface.normal, axis=1) == pytest.approx(1)
    assert surface.openness[[0, 2, 3]] == pytest.approx(1)
    assert surface.openness[1] == pytest.approx(1 - 0.01 * shading.FOLD_DARKENING)
    assert other.normal == pytest.approx(np.tile([0, 0, 1], (4, 1)))


def test_grooves_deepen_with_their_action_and_with_age() -> None:
    rest = groove_map({}, age=0.0, depth=1.0)
    frown = groove_map({"browDownLeft": 1.0}, age=0.0, depth=1.0)
    old = groove_map({}, age=1.0, depth=1.0)
    assert (rest == 0).all()
    assert frown.max() > 0
    assert old.max() > 0
    rows, columns = np.nonzero(frown > 1e-4)
    height = 6.3 + rows / (ATLAS_SIZE - 1) * 1.8
    assert height.min() > 7.3  # between the brows
    assert (columns > ATLAS_SIZE // 2).all()  # on the person's left
