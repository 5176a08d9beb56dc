"""The template head as it is drawn: vertex masks, landmarks."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from face2exp_lib.rendering.assets import Material, load_assets, look_up

# Centres of the eyeballs of the template, decimetres: the person's right eye, then the left.
EYE_CENTRES = np.array([[-0.3078, 7.2842, 1.2374], [0.3078, 7.2842, 1.2374]], np.float32)
CORNEA_Z = 1.35  # eye vertices in front of this are averaged: the eye's centre as seen

# Anatomical points on the template skin (Farkas, Anthropometry of the Head and Face, 1994):
# pronasale, the most protruding point of the nose tip, which lies between two vertices of the mesh,
# and cheilion, the corner of the mouth where the upper and lower vermilion meet.
PRONASALE = (0.0, 6.924, 1.681)
PRONASALE_VERTICES = 2
CHEILION_X, CHEILION_Y, CHEILION_Z = 0.2466, 6.612, 1.427

TEETH_SETBACK, TONGUE_SETBACK = 0.06, 0.12  # decimetres, see `Head.setback`

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@dataclass(frozen=True)
class Head:
    """Template arrays; V vertices, T triangles, all lengths in decimetres.

    Attributes:
        vertices: (V, 3) float32; the place of a surface point here is its name: textures,
            wrinkles and hair lines are painted in these coordinates, whatever the face does.
        triangles: (T, 3) int32.
        triangle_uv: (T, 3, 2) float32.
        material: (T,) int32, see `Material`.
        is_body: (V,) bool: skin.
        setback: (V,) decimetres by which a vertex counts as deeper than it is: lips slide over
            teeth, and teeth over the tongue, never through.
        ear: (V,) float32, 1 on the ears.
        landmarks: vertex indices whose mean is each of the five landmarks, in image order for a
            frontal face: see `LANDMARKS`; left and right are those of the picture.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    triangle_uv: np.ndarray
    material: np.ndarray
    is_body: np.ndarray
    setback: np.ndarray
    ear: np.ndarray
    landmarks: tuple[np.ndarray, ...]


@cache
def load_head() -> Head:
    """The template head, made once per process."""
    assets = load_assets()
    # The pack's strips of hair come last; hair is grown instead (`hair_styles`).
    drawn = assets.material != Material.HAIR
    triangles, triangle_uv = assets.triangles[drawn], assets.triangle_uv[drawn]
    material = assets.material[drawn]
    vertices = assets.vertices[: triangles.max() + 1]

    vertex_uv = np.zeros((len(vertices), 2), np.float32)
    for corner in range(3):
        vertex_uv[triangles[:, corner]] = triangle_uv[:, corner]

    def mark(marked: Material) -> np.ndarray:
        is_marked = np.zeros(len(vertices), bool)
        is_marked[np.unique(triangles[material == marked])] = True
        return is_marked

    body = mark(Material.BODY)
    skin = np.flatnonzero(body)

    def nearest_skin(x: float, y: float, z: float, count: int = 1) -> np.ndarray:
        distance = ((vertices[skin] - np.array([x, y, z])) ** 2).sum(1)
        return skin[np.argsort(distance, kind="stable")[:count]]

    cornea = mark(Material.EYE) & (vertices[:, 2] > CORNEA_Z)
    return Head(
        vertices=vertices,
        triangles=triangles,
        triangle_uv=triangle_uv,
        material=material,
        is_body=body,
        setback=(
            TEETH_SETBACK * mark(Material.TEETH) + TONGUE_SETBACK * mark(Material.TONGUE)
        ).astype(np.float32),
        ear=look_up("ears", vertex_uv) * body,
        landmarks=(
            np.flatnonzero(cornea & (vertices[:, 0] < 0)),
            np.flatnonzero(cornea & (vertices[:, 0] > 0)),
            nearest_skin(*PRONASALE, PRONASALE_VERTICES),
            nearest_skin(-CHEILION_X, CHEILION_Y, CHEILION_Z),
            nearest_skin(CHEILION_X, CHEILION_Y, CHEILION_Z),
        ),
    )
