"""The skin that hair grows on and lies against: skull and shoulders of the template head."""

from functools import cache

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.geometry import normalise, smoothstep, vertex_normals
from face2exp_lib.rendering.head import load_head

# The hair line of the template: height y at depth z, from the nape to the forehead (decimetres).
HAIRLINE_Z = (-0.7, -0.2, 0.30, 0.45, 0.62, 0.80, 1.0, 1.2, 1.45)
HAIRLINE_Y = (6.55, 6.6, 6.85, 7.3, 7.40, 7.58, 7.78, 7.90, 7.95)
SKULL_CENTRE = np.array([0.0, 7.45, 0.40], np.float32)  # the skull is star-shaped seen from here
NUM_AZIMUTHS, NUM_ELEVATIONS = 72, 37  # of the map of the skull's radius
LOWEST_ELEVATION = -1.05  # radians
RADIUS_BLUR = 0.10  # radians
NAPE_Y = 6.5  # no hair grows on the neck below
SHOULDER_Y = 6.0
# Hair in front of z 0.7 keeps this far from the midline, so that eyes and mouth stay free.
FACE_HALF_WIDTH = 0.66
FITTED_NEIGHBOURS, FITTED_SOFTNESS = 8, 0.15  # see `Locks.neighbours`; decimetres


def above_hairline(points: np.ndarray) -> np.ndarray:
    """(n,) decimetres of template points (n, 3) above the template's hair line."""
    return points[:, 1] - np.interp(points[:, 2], HAIRLINE_Z, HAIRLINE_Y).astype(np.float32)


@cache
def skull_radii() -> np.ndarray:
    """(NUM_AZIMUTHS, NUM_ELEVATIONS) decimetres from the skull's centre to its skin, ears too."""
    head = load_head()
    normals = vertex_normals(head.vertices, head.triangles)
    rays = head.vertices - SKULL_CENTRE
    outer = head.is_body & (head.vertices[:, 1] > 6.5) & ((normals * normalise(rays)).sum(1) > 0.2)
    rays = rays[outer]
    radii = np.linalg.norm(rays, axis=1)
    towards = rays / radii[:, None]
    azimuth = np.linspace(-np.pi, np.pi, NUM_AZIMUTHS)[:, None]
    elevation = np.linspace(LOWEST_ELEVATION, np.pi / 2, NUM_ELEVATIONS)[None]
    grid = np.stack(
        np.broadcast_arrays(
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ),
        -1,
    ).astype(np.float32)
    off = ((grid[:, :, None] - towards) ** 2).sum(-1)
    nearness = np.exp(-off / RADIUS_BLUR**2) + 1e-9 / (off + 1e-3)
    return ((nearness * radii).sum(-1) / nearness.sum(-1)).astype(np.float32)


def skull_radius(towards: np.ndarray) -> np.ndarray:
    """(n,) decimetres to the skin along unit vectors (n, 3) from `SKULL_CENTRE`."""
    x, y, z = towards.T
    column = (np.arctan2(x, z) + np.pi) / (2 * np.pi) * (NUM_AZIMUTHS - 1)
    row = (np.arcsin(np.clip(y, -1, 1)) - LOWEST_ELEVATION) / (np.pi / 2 - LOWEST_ELEVATION)
    row = np.clip(row, 0, 1) * (NUM_ELEVATIONS - 1)
    i = np.clip(column.astype(int), 0, NUM_AZIMUTHS - 2)
    j = np.clip(row.astype(int), 0, NUM_ELEVATIONS - 2)
    a, b, radii = column - i, row - j, skull_radii()
    near = radii[i, j] * (1 - a) + radii[i + 1, j] * a
    far = radii[i, j + 1] * (1 - a) + radii[i + 1, j + 1] * a
    return near * (1 - b) + far * b


@cache
def shoulder_vertices() -> np.ndarray:
    """(m, 3) template skin below the neck."""
    head = load_head()
    return head.vertices[head.is_body & (head.vertices[:, 1] < SHOULDER_Y)]


def shoulder_depth(points: np.ndarray, front: np.ndarray) -> np.ndarray:
    """(n,) z of the chest (or of the back, where `front` is False) at the points' x and y."""
    skin = shoulder_vertices()
    x = points[:, 0, None] - skin[:, 0]
    near = (x**2 + (points[:, 1, None] - skin[:, 1]) ** 2) < 0.26**2
    chest = np.where(near, skin[:, 2], -np.inf).max(1)
    back = np.where(near, skin[:, 2], np.inf).min(1)
    return np.where(front, chest, back)


def keep_outside(
    points: np.ndarray, in_front: np.ndarray, in_fringe: np.ndarray, fall_y: float
) -> np.ndarray:
    """Move points (n, 3) out of head, face and shoulders; above `fall_y` they lie on the skull."""
    rays = points - SKULL_CENTRE
    radius = np.linalg.norm(rays, axis=1)
    towards = rays / radius[:, None]
    skin = skull_radius(towards) + 0.012
    clings = smoothstep(points[:, 1], fall_y, fall_y + 0.5)
    wanted = np.maximum(radius, skin)
    wanted = wanted * (1 - clings) + skin * clings
    wanted = np.where(points[:, 1] > 6.75, wanted, radius)
    points = SKULL_CENTRE + towards * wanted[:, None]
    x, y, z = points.T
    before_face = smoothstep(z, 0.55, 0.85) * (1 - smoothstep(y, 7.6, 7.9)) * ~in_fringe
    away = np.maximum(np.abs(x), FACE_HALF_WIDTH) * np.where(x < 0, -1, 1)
    x = x * (1 - before_face) + away * before_face
    near_shoulder = 1 - smoothstep(y, SHOULDER_Y - 0.1, SHOULDER_Y + 0.5)
    depth = shoulder_depth(points, in_front)
    beyond = np.where(in_front, np.maximum(z, depth + 0.05), np.minimum(z, depth - 0.05))
    beyond = np.where(np.isfinite(depth), beyond, z)
    z = z * (1 - near_shoulder) + beyond * near_shoulder
    return np.stack([x, y, z], 1).astype(np.float32)


@compile_loop
def _find_nearest(points, skin, nearest, squared):  # type: ignore[no-untyped-def]
    """Fill (n, k) with the closest `skin` of each point, closest first, and squared distances."""
    last = nearest.shape[1] - 1
    for i in range(points.shape[0]):
        squared[i] = np.inf
        for j in range(skin.shape[0]):
            x, y = points[i, 0] - skin[j, 0], points[i, 1] - skin[j, 1]
            z = points[i, 2] - skin[j, 2]
            distance = x * x + y * y + z * z
            if distance >= squared[i, last]:
                continue
            place = last
            while place > 0 and distance < squared[i, place - 1]:
                nearest[i, place], squared[i, place] = nearest[i, place - 1], squared[i, place - 1]
                place -= 1
            nearest[i, place], squared[i, place] = j, distance


def skin_neighbours(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest skin vertices (n, k) of points and weights that add up to 1."""
    head = load_head()
    _, y, z = head.vertices.T
    # Expressions and inner folds must not pull at hair.
    usable = np.flatnonzero(head.is_body & ((z < 0.95) | (y > 7.6)) & (head.ear < 0.1))
    skin = head.vertices[usable]
    nearest = np.empty((len(points), FITTED_NEIGHBOURS), np.int64)
    squared = np.empty((len(points), FITTED_NEIGHBOURS), np.float32)
    _find_nearest(np.ascontiguousarray(points, np.float32), skin, nearest, squared)
    weights = 1 / (squared + np.float32(FITTED_SOFTNESS**2))
    weights /= weights.sum(1, keepdims=True)
    return usable[nearest], weights
