"""From a person, what the face does and a scene to vertices in front of the camera."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face2exp_lib.rendering.assets import Material, apply_targets, load_assets
from face2exp_lib.rendering.geometry import rotation, smoothstep, transform, vertex_normals
from face2exp_lib.rendering.hair import (
    fit_locks,
    height_above_hairline,
    scalp_coverage,
    style_hair,
)
from face2exp_lib.rendering.head import load_head
from face2exp_lib.rendering.identity import Identity, sample_identity
from face2exp_lib.rendering.locks import Locks
from face2exp_lib.rendering.prop import Wearable
from face2exp_lib.rendering.scene import Scene
from face2exp_lib.runtime.seeding import numpy_generator

FACE_HEIGHT = 0.74  # of the picture's height, brow to chin region at zoom 1
FACE_CENTRE_Y = 0.505  # of the picture's height


@dataclass(frozen=True)
class Person:
    """An identity with the vertices of its resting face, (V, 3) decimetres, and locks of hair."""

    identity: Identity
    rest: np.ndarray
    locks: Locks | None


@lru_cache(maxsize=64)
def load_person(seed: int, number: int) -> Person:
    """Person `number` of a seed; the last few are kept, since sets show each one many times."""
    head = load_head()
    identity = sample_identity(numpy_generator(seed, "faces/identity", number))
    rest = load_assets().vertices.copy()
    apply_targets(rest, identity.shape)
    rest = rest[: len(head.vertices)]
    return Person(identity, rest, fit_locks(head, identity, rest))


@dataclass(frozen=True)
class PosedHead:
    """A head in camera space: origin at the face's centre, z towards the camera, decimetres.

    Attributes:
        vertices, normals: (V, 3).
        template: (V, 3) each vertex's place on the template: its name, whatever the face does; of
            a lock of hair, its place in the hair (`Locks.grain`).
        triangles, triangle_uv, material: the T triangles that are drawn.
        lenses: (L, 3) int32 triangles of glass, drawn over the others.
        projected: (V, 3) column and row in pixels, depth that grows towards the camera.
        turn: (3, 3) rotation of the head, template to camera.
        hair_height: (V,) decimetres above the hair line.
    """

    vertices: np.ndarray
    normals: np.ndarray
    template: np.ndarray
    triangles: np.ndarray
    triangle_uv: np.ndarray
    material: np.ndarray
    lenses: np.ndarray
    projected: np.ndarray
    turn: np.ndarray
    hair_height: np.ndarray


def pose_head(
    person: Person,
    weights: dict[str, float],
    scene: Scene,
    width: int,
    occluder: Wearable | None = None,
) -> PosedHead:
    """Shape, move, turn and project a head.

    Args:
        person: who.
        weights: ARKit action weights.
        scene: pose and camera.
        width: of the square picture, pixels.
        occluder: what covers part of the face.
    """
    head, identity = load_head(), person.identity
    template = head.vertices
    vertices = person.rest.copy()
    apply_targets(vertices, {f"au:{name}": weight for name, weight in weights.items()})
    hair_height = height_above_hairline(template, identity)
    coverage = scalp_coverage(head, hair_height)
    vertices = style_hair(head, identity, vertices, coverage)

    # The neck bends: the head turns in full, the shoulders less than half as far.
    turn = rotation(scene.yaw, -scene.pitch, scene.roll)
    shoulders = rotation(scene.yaw * 0.45, 0, scene.roll * 0.2)
    bend = smoothstep(template[:, 1] - 0.25 * (template[:, 2] - 0.4), 5.75, 6.35)
    triangles, triangle_uv, material = head.triangles, head.triangle_uv, head.material
    if person.locks is not None:
        locks = person.locks
        triangles = np.concatenate([triangles, locks.triangles + np.int32(len(vertices))])
        triangle_uv = np.concatenate([triangle_uv, locks.uv])
        material = np.concatenate([material, np.full(len(locks.triangles), Material.HAIR)])
        vertices = np.concatenate([vertices, locks.vertices])
        template = np.concatenate([template, locks.grain])
        hair_height = np.concatenate([hair_height, np.ones(len(locks.grain))])
        bend = np.concatenate([bend, locks.bend])
    lenses = np.empty((0, 3), np.int32)
    if occluder is not None:
        vertices, prop = occluder.put_on(head, identity, person.rest, vertices)
        first = np.int32(len(vertices))
        triangles = np.concatenate([triangles, prop.triangles + first])
        triangle_uv = np.concatenate([triangle_uv, prop.triangle_uv])
        material = np.concatenate([material, prop.material])
        lenses = prop.lenses + first
        vertices = np.concatenate([vertices, prop.vertices])
        template = np.concatenate([template, prop.template])
        hair_height = np.concatenate([hair_height, np.full(len(prop.vertices), -1)])
        bend = np.concatenate([bend, np.ones(len(prop.vertices))])
    bend = bend[:, None].astype(np.float32)
    around_pivot = head.is_body & (np.abs(head.vertices[:, 1] - 6.3) < 0.3)
    pivot = person.rest[around_pivot].mean(0)
    offset = vertices - pivot
    vertices = transform(offset, turn) * bend + transform(offset, shoulders) * (1 - bend)

    in_face = (
        head.is_body
        & (head.vertices[:, 2] > 0.9)
        & (head.vertices[:, 1] > 6.15)
        & (head.vertices[:, 1] < 8.0)
    )
    resting_face = person.rest[in_face]
    turned_face = transform(resting_face - pivot, turn)
    centre = 0.5 * (turned_face.min(0) + turned_face.max(0))
    centre[1] += 0.02
    vertices = (vertices - centre).astype(np.float32)

    face_height = resting_face[:, 1].max() - resting_face[:, 1].min()
    focal = width * FACE_HEIGHT / face_height * scene.zoom * scene.distance
    nearness = 1 / (scene.distance - vertices[:, 2])
    projected = np.stack(
        [
            vertices[:, 0] * focal * nearness + width * (0.5 + scene.shift[0]),
            width * (FACE_CENTRE_Y + scene.shift[1]) - vertices[:, 1] * focal * nearness,
            nearness,
        ],
        1,
    ).astype(np.float32)
    projected[: len(head.setback), 2] -= head.setback * projected[: len(head.setback), 2] ** 2
    return PosedHead(
        vertices=vertices,
        normals=vertex_normals(vertices, np.concatenate([triangles, lenses])),
        template=template,
        triangles=triangles,
        triangle_uv=triangle_uv,
        material=material,
        lenses=lenses,
        projected=projected,
        turn=turn,
        hair_height=hair_height.astype(np.float32),
    )


def landmarks_in_picture(projected: np.ndarray) -> np.ndarray:
    """(5, 2) column and row in pixels of the landmarks named in `head.LANDMARKS`."""
    points = np.stack([projected[group, :2].mean(0) for group in load_head().landmarks])
    eyes, mouth = points[:2], points[3:]
    return np.concatenate(
        [eyes[np.argsort(eyes[:, 0])], points[2:3], mouth[np.argsort(mouth[:, 0])]]
    )
