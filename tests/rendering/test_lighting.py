"""Light that arrives: shadows fall where something stands before the light."""

from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.geometry import vertex_normals
from face2exp_lib.rendering.lighting import (
    BOUND_CENTRE,
    BOUND_RADIUS,
    ambient_light,
    depth_map,
    key_shadow,
    key_visibility,
    sphere_directions,
)
from face2exp_lib.rendering.posing import PosedHead
from face2exp_lib.rendering.scene import Scene, sample_scene

# A floor seen from +z at depth 0, and a roof of half its width over its right half, 1 nearer.
FLOOR_AND_ROOF = np.array(
    [
        *([-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]),
        *([0, -1, 1], [1, -1, 1], [1, 1, 1], [0, 1, 1]),
        *([-0.5, 0, 0], [0.5, 0, 0]),  # points on the floor
    ],
    np.float32,
)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)


def scene_lit_from(direction: tuple[float, float, float]) -> Scene:
    scene = sample_scene(np.random.default_rng(0), pose=0.0, light=0.0)
    return replace(scene, key_direction=np.array(direction, np.float32))


def head_of(roof: Material) -> PosedHead:
    normals = vertex_normals(FLOOR_AND_ROOF, TRIANGLES)
    normals[-2:] = [0, 0, 1]
    count = len(FLOOR_AND_ROOF)
    return PosedHead(
        vertices=FLOOR_AND_ROOF,
        normals=normals,
        template=FLOOR_AND_ROOF,
        triangles=TRIANGLES,
        triangle_uv=np.zeros((4, 3, 2), np.float32),
        material=np.array([Material.BODY, Material.BODY, roof, roof], np.int32),
        lenses=np.empty((0, 3), np.int32),
        projected=FLOOR_AND_ROOF,
        turn=np.eye(3, dtype=np.float32),
        hair_height=np.zeros(count, np.float32),
    )


@pytest.mark.parametrize(
    "direction", [(0, 0, 1), (0, 1, 0), (0.6, 0, 0.8), (0, -0.6, 0.8), (0.18, 0.96, 0.2144)]
)
def test_depth_map_is_an_undistorted_view_along_the_light(
    direction: tuple[float, float, float],
) -> None:
    towards = np.array(direction, np.float32)
    seen, nearest = depth_map(FLOOR_AND_ROOF, TRIANGLES, towards, 64)
    centred = FLOOR_AND_ROOF - np.array(BOUND_CENTRE, np.float32)
    assert seen[:, 2] == pytest.approx(centred @ towards, abs=1e-5)
    scale = 64 / (2 * BOUND_RADIUS)
    off_axis = centred - seen[:, 2:] * towards
    from_middle = np.hypot(seen[:, 0] - 32, seen[:, 1] - 32)
    assert from_middle == pytest.approx(np.linalg.norm(off_axis, axis=1) * scale, abs=1e-3)
    assert nearest.max() <= seen[:, 2].max() + 1e-5


def test_view_from_the_front_keeps_left_and_up() -> None:
    seen, _ = depth_map(FLOOR_AND_ROOF, TRIANGLES, np.array([0, 0, 1], np.float32), 64)
    assert seen[1, 0] > seen[0, 0]  # +x is to the right
    assert seen[3, 1] < seen[0, 1]  # +y is up: a smaller row


@pytest.mark.parametrize(
    ("roof", "casts"),
    [
        (Material.BODY, True),
        (Material.HAT, True),
        (Material.HAND, True),
        (Material.GLASSES, True),
        (Material.LASH, False),
        (Material.LENS, False),
    ],
)
def test_the_roof_shades_what_lies_under_it(roof: Material, casts: bool) -> None:
    head = head_of(roof)
    seen, nearest = key_shadow(head, scene_lit_from((0, 0, 1)))
    part = key_visibility(seen, nearest)
    assert part[-2] == pytest.approx(1)
    assert part[-1] == pytest.approx(0 if casts else 1)


def test_a_shadows_edge_is_soft() -> None:
    head = head_of(Material.BODY)
    _, nearest = key_shadow(head, scene_lit_from((0, 0, 1)))
    across = np.linspace(-0.1, 0.1, 41, dtype=np.float32)
    points = np.stack([across, 0 * across, 0 * across], 1)
    seen, _ = depth_map(points, TRIANGLES[:0], np.array([0, 0, 1], np.float32), len(nearest))
    part = key_visibility(seen, nearest)
    assert (part[0], part[-1]) == (1, 0)
    assert (np.diff(part) <= 0).all()
    assert ((part > 0) & (part < 1)).sum() > 5


def test_ambient_light_is_less_under_the_roof_and_none_behind() -> None:
    scene = scene_lit_from((0, 0, 1))
    irradiance, openness = ambient_light(head_of(Material.BODY), scene)
    assert openness[-2] > 0.8
    assert openness[-1] < openness[-2] - 0.3
    assert (irradiance[-1] < irradiance[-2]).all()
    glass = ambient_light(head_of(Material.LENS), scene)[1]
    assert glass[-1] == pytest.approx(openness[-2], abs=0.15)


def test_directions_cover_the_sphere() -> None:
    directions = sphere_directions(16)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.abs(directions.mean(0)).max() < 0.05
