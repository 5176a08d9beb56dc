"""Hair: every style grows, keeps eyes and mouth free, and leaves the landmarks alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.hair import fit_locks, hair_lift, height_above_hairline, scalp_coverage
from face2exp_lib.rendering.hair_paint import beard_density, paint_brows
from face2exp_lib.rendering.hair_styles import FALL_Y, HAIR_STYLES, VARIANTS
from face2exp_lib.rendering.head import load_head
from face2exp_lib.rendering.identity import (
    BEARDS,
    MAYBE_FRINGE,
    STYLE_SHARES,
    Identity,
    sample_identity,
)
from face2exp_lib.rendering.locks import grow_locks, hangs
from face2exp_lib.rendering.paint import Paint
from face2exp_lib.rendering.posing import Person, load_person, pose_head
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.scene import Scene, sample_scene
from face2exp_lib.rendering.skull import SKULL_CENTRE, keep_outside
from face2exp_lib.rendering.surface import Surface

WITH_LOCKS = [name for name, style in HAIR_STYLES.items() if style.locks]


@pytest.fixture(scope="module")
def scene() -> Scene:
    drawn = sample_scene(np.random.default_rng(0), pose=0.0, light=0.5)
    return replace(drawn, grey=False, blur=0.0, sensor_noise=0.0)


def wearing(name: str, number: int = 0, **changes: object) -> Person:
    person = load_person(5, number)
    thickness = sum(HAIR_STYLES[name].thickness) / 2
    worn = {"hair_style": name, "hair_thickness": thickness, "fringe": False, **changes}
    identity = replace(person.identity, **worn)  # type: ignore[arg-type]
    return Person(identity, person.rest, fit_locks(load_head(), identity, person.rest))


def identities(count: int) -> list[Identity]:
    return [sample_identity(np.random.default_rng(number)) for number in range(count)]


def test_every_style_and_beard_is_drawn_and_only_known_ones() -> None:
    people = identities(600)
    assert {person.hair_style for person in people} == set(HAIR_STYLES) == set(STYLE_SHARES)
    assert {person.beard_kind for person in people} == set(BEARDS)
    assert {person.hair_variant for person in people} == set(range(VARIANTS))
    for person in people:
        low, high = HAIR_STYLES[person.hair_style].thickness
        assert low <= person.hair_thickness <= high
        assert not person.fringe or person.hair_style in MAYBE_FRINGE


@pytest.mark.parametrize("name", WITH_LOCKS)
def test_locks_are_whole_ribbons(name: str) -> None:
    locks = grow_locks(name, 1, 0.3, False)
    assert locks is not None
    assert np.isfinite(locks.vertices).all()
    assert locks.triangles.min() == 0
    assert locks.triangles.max() == len(locks.vertices) - 1
    assert np.allclose(locks.weights.sum(1), 1, atol=1e-5)
    corners = locks.vertices[locks.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max()
    assert longest < 1.0  # decimetres: no ribbon jumps across the head


@pytest.mark.parametrize("parting", [-0.3, 0.0, 0.3])
@pytest.mark.parametrize("name", WITH_LOCKS)
def test_hair_leaves_eyes_and_mouth_free(name: str, parting: float, scene: Scene) -> None:
    for number in range(3):
        fringe = name in MAYBE_FRINGE
        person = wearing(name, number, parting=parting, fringe=fringe, hair_variant=number)
        locks = person.locks
        assert locks is not None
        x, y, z = locks.vertices[np.unique(locks.triangles)].T
        eyes, mouth = (
            person.rest[np.concatenate(group)]
            for group in (load_head().landmarks[:2], load_head().landmarks[3:])
        )
        face = (z > 0.75) & (y < eyes[:, 1].max() + 0.05) & (y > mouth[:, 1].min() - 0.25)
        assert np.abs(x[face]).min(initial=9) > np.abs(eyes[:, 0]).max() + 0.05


def test_parting_on_the_other_side_is_the_mirror_image() -> None:
    left, right = wearing("bob", parting=0.3).locks, wearing("bob", parting=-0.3).locks
    assert left is not None
    assert right is not None
    gap = left.vertices * (-1, 1, 1) - right.vertices
    assert np.abs(gap).max() < 1e-5
    assert np.abs(left.vertices - right.vertices).max() > 0.3


def test_points_are_moved_off_the_face_and_out_of_the_skull() -> None:
    before_the_eye = np.array([[0.3, 7.2, 1.7], [-0.3, 7.2, 1.7]], np.float32)
    none = np.zeros(2, bool)
    moved = keep_outside(before_the_eye, ~none, none, FALL_Y)
    assert (moved[:, 0] * (1, -1) > 0.6).all()
    inside = np.array([[0.2, 8.0, 0.2], [-0.2, 7.9, 0.3]], np.float32)
    moved = keep_outside(inside, none, none, FALL_Y)
    assert (np.linalg.norm(moved - SKULL_CENTRE, axis=1) > 0.6).all()


@pytest.mark.parametrize("parting", [-0.3, 0.3])
def test_locks_show_their_outer_side(parting: float) -> None:
    locks = wearing("long", parting=parting).locks
    assert locks is not None
    first, second, third = np.moveaxis(locks.vertices[locks.triangles], 1, 0)
    normals = np.cross(second - first, third - first)
    outward = (normals * locks.outward[locks.triangles[:, 0]]).sum(1)
    assert (outward > 0).mean() > 0.9  # ambient light falls on the side that normals point to


def test_locks_follow_the_head_they_are_on() -> None:
    person = wearing("long")
    wider = person.rest * np.array([1.2, 1, 1], np.float32)
    on_wider = fit_locks(load_head(), person.identity, wider)
    assert person.locks is not None
    assert on_wider is not None
    spread = np.ptp(on_wider.vertices[:, 0]) - np.ptp(person.locks.vertices[:, 0])
    assert spread > 0.1


def test_a_receded_hairline_carries_no_locks() -> None:
    full = wearing("receding", hairline_recession=0.0).locks
    thin = wearing("receding", hairline_recession=0.5).locks
    assert full is not None
    assert thin is not None
    assert len(thin.triangles) < 0.9 * len(full.triangles)
    roots = thin.root[np.unique(thin.triangles)]
    person = replace(load_person(5, 0).identity, hairline_recession=0.5)
    assert height_above_hairline(roots, person).min() > 0


def test_landmarks_do_not_depend_on_the_hair(scene: Scene) -> None:
    bare = wearing("bald")
    expected = render_head(bare, {}, scene, 48)[1]
    for name in ("afro", "long", "tied"):
        assert np.array_equal(render_head(wearing(name), {}, scene, 48)[1], expected)


def test_thick_hair_stands_above_the_skull_and_not_on_the_face() -> None:
    head, person = load_head(), wearing("afro").identity
    height = height_above_hairline(head.vertices, person)
    lift = hair_lift(head, person, scalp_coverage(head, height))
    assert lift.max() > person.hair_thickness
    _, y, z = head.vertices.T
    assert lift[(y < 7.5) & (z > 0.9)].max() == 0
    assert lift[np.concatenate(head.landmarks)].max() == 0


@pytest.mark.parametrize("name", ["buzz", "cropped", "afro", "bob", "long", "tied"])
def test_styles_are_told_apart(name: str, scene: Scene) -> None:
    dark = np.full(3, 0.02, np.float32)
    pale = np.full(3, 0.5, np.float32)
    images = {
        other: render_head(wearing(other, hair_albedo=dark, skin_albedo=pale), {}, scene, 64)[
            0
        ].astype(int)
        for other in {name, "bald", "swept back"}
    }
    for other in ("bald", "swept back"):
        assert np.abs(images[name] - images[other]).mean() > 1.5


def test_long_hair_is_seen_beside_the_neck(scene: Scene) -> None:
    posed = pose_head(wearing("long"), {}, scene, 96)
    hair = posed.vertices[np.unique(posed.triangles[posed.material == Material.HAIR])]
    chin = posed.vertices[np.concatenate(load_head().landmarks[3:])][:, 1].min()
    assert hair[:, 1].min() < chin - 0.5
    assert [name for name, style in HAIR_STYLES.items() if hangs(style)] == [
        "bob",
        "long",
        "long wavy",
    ]


def test_beards_grow_where_they_should() -> None:
    places = np.array(
        [
            [0.0, 6.32, 1.5],  # chin
            [0.12, 6.77, 1.55],  # beside the groove of the upper lip
            [0.62, 6.5, 0.8],  # jaw
            [0.5, 7.1, 1.3],  # cheek
            [0.0, 7.5, 1.5],  # between the brows
        ],
        np.float32,
    )
    chin, lip, jaw, cheek, brow = range(5)
    full = beard_density(places, "full")
    assert (full[[chin, lip, jaw]] > 0.5).all()
    assert (full[[cheek, brow]] < 0.05).all()
    goatee = beard_density(places, "goatee")
    assert (goatee[[chin, lip]] > 0.5).all()
    assert goatee[jaw] < 0.1
    moustache = beard_density(places, "moustache")
    assert moustache[lip] > 0.5
    assert moustache[chin] < 0.05


def test_brows_are_dense_inside_fade_outwards_and_stay_on_their_line() -> None:
    along = np.linspace(0.02, 0.75, 74)
    across = np.linspace(7.2, 7.8, 121)
    x, y = (grid.ravel() for grid in np.meshgrid(along, across))
    points = np.stack([x, y, np.full_like(x, 1.4)], 1).astype(np.float32)
    count = len(points)
    empty = np.zeros((count, 3), np.float32)
    surface = Surface(
        template=points,
        uv=empty[:, :2],
        material=np.zeros(count, np.int32),
        normal=empty,
        view=empty,
        irradiance=empty,
        openness=empty[:, 0],
        key_part=empty[:, 0],
        hair_height=empty[:, 0],
    )
    usual: dict[str, Any] = {
        "brow_albedo": np.zeros(3, np.float32),
        "brow_opacity": 1.0,
        "brow_thickness": 1.0,
    }
    identity = replace(identities(1)[0], brow_arch=0.5, brow_height=0.0, **usual)
    paint = Paint(np.ones(3), count, gloss=1.0)
    paint_brows(paint, surface, identity, np.ones(count, np.float32))
    cover = (1 - paint.albedo[:, 0]).reshape(len(across), len(along))
    peak = cover.max(0)  # along the brow
    assert peak[(along > 0.15) & (along < 0.4)].min() > 0.85
    assert peak[(along < 0.03) | (along > 0.64)].max() < 0.1
    assert cover[np.abs(across - 7.51) > 0.16].max() < 0.02
