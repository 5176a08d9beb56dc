"""The template head as it is drawn: hair strips chosen and copied, vertex masks, landmarks."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from face2exp_lib.faces.assets import HeadAssets, Material, load_assets, look_up

# Two more copies of the hair strips, turned by these angles (radians) and shrunk, close the gaps.
STRIP_COPY_TURNS = (0.10, -0.10)
STRIP_COPY_SCALE = 0.965

# Centres of the eyeballs of the template, decimetres: the person's right eye, then the left.
EYE_CENTRES = np.array([[-0.3078, 7.2842, 1.2374], [0.3078, 7.2842, 1.2374]], np.float32)
CORNEA_Z = 1.35  # eye vertices in front of this are averaged: the eye's centre as seen

# Anatomical points on the template skin (Farkas, Anthropometry of the Head and Face, 1994):
# pronasale, the most protruding point of the nose tip, and cheilion, the corner of the mouth where
# the upper and lower vermilion meet.
PRONASALE = (0.0, 6.909, 1.681)
CHEILION_X, CHEILION_Y, CHEILION_Z = 0.2466, 6.612, 1.427

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
        num_unique: the first vertices, which targets move; later ones are copies of strips.
        source: (V,) which vertex each one follows.
        strip_turn: (V - num_unique,) radians about the vertical by which a strip copy is turned.
        is_body, is_hair: (V,) bool.
        is_strip: (T,) bool: a hair strip that does not hang in front of the face.
        ear: (V,) float32, 1 on the ears.
        landmarks: vertex indices whose mean is each of the five landmarks, in image order for a
            frontal face: see `LANDMARKS`; left and right are those of the picture.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    triangle_uv: np.ndarray
    material: np.ndarray
    num_unique: int
    source: np.ndarray
    strip_turn: np.ndarray
    is_body: np.ndarray
    is_hair: np.ndarray
    is_strip: np.ndarray
    ear: np.ndarray
    landmarks: tuple[np.ndarray, ...]


def connected_components(num_vertices: int, triangles: np.ndarray) -> np.ndarray:
    """(V,) smallest vertex index of the piece that each vertex belongs to."""
    parent = np.arange(num_vertices)

    def root(vertex: int) -> int:
        while parent[vertex] != vertex:
            parent[vertex] = parent[parent[vertex]]
            vertex = parent[vertex]
        return vertex

    for triangle in triangles:
        roots = [root(corner) for corner in triangle]
        for other in roots:
            parent[other] = min(roots)
    return np.array([root(vertex) for vertex in range(num_vertices)])


def strips_beside_the_face(assets: HeadAssets) -> np.ndarray:
    """(T,) bool: triangles of the hair strips, without those that would hang over the face."""
    vertices, is_hair = assets.vertices, assets.material == Material.HAIR
    hair_triangles = assets.triangles[is_hair]
    piece_of = connected_components(len(vertices), hair_triangles)
    hair_vertices = np.unique(hair_triangles)
    kept = []
    for piece in np.unique(piece_of[hair_vertices]):
        strip = hair_vertices[piece_of[hair_vertices] == piece]
        low = strip[vertices[strip, 1] < 7.6]
        over_face = (
            len(low) > 0
            and np.median(vertices[low, 2]) > 1.05
            and np.abs(vertices[low, 0]).mean() < 0.75
        )
        if not over_face:
            kept.append(piece)
    return is_hair & np.isin(piece_of[assets.triangles[:, 0]], kept)


@cache
def load_head() -> Head:
    """The template head, made once per process."""
    assets = load_assets()
    num_unique = len(assets.vertices)
    is_strip = strips_beside_the_face(assets)
    strip_vertices = np.unique(assets.triangles[is_strip])
    source = [np.arange(num_unique)]
    triangles = [assets.triangles]
    for copy in range(len(STRIP_COPY_TURNS)):
        new_index = np.full(num_unique, -1)
        first = num_unique + copy * len(strip_vertices)
        new_index[strip_vertices] = first + np.arange(len(strip_vertices))
        triangles.append(new_index[assets.triangles[is_strip]].astype(np.int32))
        source.append(strip_vertices)
    copies = len(STRIP_COPY_TURNS)
    source_of = np.concatenate(source)
    vertices = assets.vertices[source_of]

    vertex_uv = np.zeros((num_unique, 2), np.float32)
    for corner in range(3):
        vertex_uv[assets.triangles[:, corner]] = assets.triangle_uv[:, corner]

    def mark(material: Material) -> np.ndarray:
        marked = np.zeros(num_unique, bool)
        marked[np.unique(assets.triangles[assets.material == material])] = True
        return marked

    body, hair, eye = mark(Material.BODY), mark(Material.HAIR), mark(Material.EYE)
    skin = np.flatnonzero(body)

    def nearest_skin(x: float, y: float, z: float) -> np.ndarray:
        distance = ((assets.vertices[skin] - np.array([x, y, z])) ** 2).sum(1)
        return skin[[np.argmin(distance)]]

    is_copy = np.arange(len(source_of)) >= num_unique
    cornea = eye & (assets.vertices[:, 2] > CORNEA_Z)
    return Head(
        vertices=vertices,
        triangles=np.concatenate(triangles),
        triangle_uv=np.concatenate([assets.triangle_uv] + [assets.triangle_uv[is_strip]] * copies),
        material=np.concatenate([assets.material] + [assets.material[is_strip]] * copies),
        num_unique=num_unique,
        source=source_of,
        strip_turn=np.repeat(np.array(STRIP_COPY_TURNS, np.float32), len(strip_vertices)),
        is_body=body[source_of] & ~is_copy,
        is_hair=hair[source_of],
        is_strip=np.concatenate([is_strip] + [np.ones(is_strip.sum(), bool)] * copies),
        ear=(look_up("ears", vertex_uv) * body)[source_of],
        landmarks=(
            np.flatnonzero(cornea & (assets.vertices[:, 0] < 0)),
            np.flatnonzero(cornea & (assets.vertices[:, 0] > 0)),
            nearest_skin(*PRONASALE),
            nearest_skin(-CHEILION_X, CHEILION_Y, CHEILION_Z),
            nearest_skin(CHEILION_X, CHEILION_Y, CHEILION_Z),
        ),
    )
