"""From a person, what the face does and a scene to vertices in front of the camera."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face2exp_lib.faces.assets import Material, apply_targets
from face2exp_lib.faces.geometry import rotation, smoothstep, transform, vertex_normals
from face2exp_lib.faces.hair import height_above_hairline, scalp_coverage, style_hair
from face2exp_lib.faces.head import load_head
from face2exp_lib.faces.identity import Identity, sample_identity
from face2exp_lib.faces.scene import Scene
from face2exp_lib.seeding import numpy_generator

FACE_HEIGHT = 0.74  # of the picture's height, brow to chin region at zoom 1
FACE_CENTRE_Y = 0.505  # of the picture's height


@dataclass(frozen=True)
class Person:
    """An identity with the vertices of its resting face, (V, 3) decimetres."""

    identity: Identity
    rest: np.ndarray


@lru_cache(maxsize=64)
def load_person(seed: int, number: int) -> Person:
    """Person `number` of a seed; the last few are kept, since sets show each one many times."""
    head = load_head()
    identity = sample_identity(numpy_generator(seed, "faces/identity", number))
    rest = head.vertices[: head.num_unique].copy()
    apply_targets(rest, identity.shape)
    return Person(identity, rest[head.source])


@dataclass(frozen=True)
class PosedHead:
    """A head in camera space: origin at the face's centre, z towards the camera, decimetres.

    Attributes:
        vertices, normals: (V, 3).
        template: (V, 3) each vertex's place on the template: its name, whatever the face does.
        triangles, triangle_uv, material: the T triangles that are drawn.
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
    projected: np.ndarray
    turn: np.ndarray
    hair_height: np.ndarray


def pose_head(
    person: Person, weights: dict[str, float], scene: Scene, width: int, crop: float = 1.0
) -> PosedHead:
    """Shape, move, turn and project a head.

    Args:
        person: who.
        weights: ARKit action weights.
        scene: pose and camera.
        width: of the square picture, pixels.
        crop: factor on the face's size in the picture.
    """
    head, identity = load_head(), person.identity
    template = head.vertices
    moved = person.rest[: head.num_unique].copy()
    apply_targets(moved, {f"au:{name}": weight for name, weight in weights.items()})
    hair_height = height_above_hairline(template, identity)
    coverage = scalp_coverage(head, hair_height)
    # Copies of strips keep to the resting face, as all hair does.
    vertices = np.concatenate([moved, person.rest[head.num_unique :]])
    vertices = style_hair(head, identity, vertices, coverage)

    # The neck bends: the head turns in full, the shoulders less than half as far.
    turn = rotation(scene.yaw, -scene.pitch, scene.roll)
    shoulders = rotation(scene.yaw * 0.45, 0, scene.roll * 0.2)
    bend = smoothstep(template[:, 1] - 0.25 * (template[:, 2] - 0.4), 5.75, 6.35)
    bend[head.is_hair] = smoothstep(template[head.is_hair, 1], 5.6, 6.6)
    bend = bend[:, None].astype(np.float32)
    around_pivot = head.is_body & (np.abs(template[:, 1] - 6.3) < 0.3)
    pivot = person.rest[around_pivot].mean(0)
    offset = vertices - pivot
    vertices = transform(offset, turn) * bend + transform(offset, shoulders) * (1 - bend)

    in_face = (
        head.is_body & (template[:, 2] > 0.9) & (template[:, 1] > 6.15) & (template[:, 1] < 8.0)
    )
    resting_face = person.rest[in_face]
    turned_face = transform(resting_face - pivot, turn)
    centre = 0.5 * (turned_face.min(0) + turned_face.max(0))
    centre[1] += 0.02
    vertices = (vertices - centre).astype(np.float32)

    face_height = resting_face[:, 1].max() - resting_face[:, 1].min()
    focal = width * FACE_HEIGHT / face_height * scene.zoom * crop * scene.distance
    nearness = 1 / (scene.distance - vertices[:, 2])
    projected = np.stack(
        [
            vertices[:, 0] * focal * nearness + width * (0.5 + scene.shift[0]),
            width * (FACE_CENTRE_Y + scene.shift[1]) - vertices[:, 1] * focal * nearness,
            nearness,
        ],
        1,
    ).astype(np.float32)
    drawn = head.material != Material.HAIR
    if identity.hair_style == "long":
        drawn = drawn | head.is_strip
    triangles = head.triangles[drawn]
    return PosedHead(
        vertices=vertices,
        normals=vertex_normals(vertices, triangles),
        template=template,
        triangles=triangles,
        triangle_uv=head.triangle_uv[drawn],
        material=head.material[drawn],
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
