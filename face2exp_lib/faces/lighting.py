"""How much light reaches a point: ambient light per vertex, a shadow map for the main light."""

import numpy as np

from face2exp_lib.faces.assets import Material
from face2exp_lib.faces.geometry import dot, transform
from face2exp_lib.faces.posing import PosedHead
from face2exp_lib.faces.raster import rasterise
from face2exp_lib.faces.scene import Scene

# A sphere that holds the head, in camera space (decimetres).
BOUND_CENTRE, BOUND_RADIUS = np.array([0, -0.2, -0.6], np.float32), 2.3
AMBIENT_DIRECTIONS, AMBIENT_MAP = 16, 64
BEHIND_Z = -0.75  # directions from behind light nothing that is seen
SHADOW_MAP = 320
SHADOW_TAPS = np.random.default_rng(11).normal(0, 2.2, (8, 2))  # texels; a soft shadow's edge
FILL_STRENGTH, FILL_SHARPNESS = 2.2, 4


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (a Fibonacci spiral)."""
    step = np.arange(count) + 0.5
    down = np.arccos(1 - 2 * step / count)
    around = np.pi * (1 + 5**0.5) * step
    return np.stack(
        [np.cos(around) * np.sin(down), np.cos(down), np.sin(around) * np.sin(down)], 1
    ).astype(np.float32)


def depth_map(
    vertices: np.ndarray, triangles: np.ndarray, direction: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The head as a far light sees it: (V, 3) map coordinates and depth, (width, width) nearest."""
    up = np.array([0, 1, 0] if abs(direction[1]) < 0.9 else [1, 0, 0], np.float32)
    across = np.cross(up, direction)
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(direction, across), direction]).astype(np.float32)
    seen = transform(vertices - BOUND_CENTRE, axes)
    scale = width / (2 * BOUND_RADIUS)
    seen[:, 0] = seen[:, 0] * scale + width / 2
    seen[:, 1] = width / 2 - seen[:, 1] * scale
    both_sided = np.zeros(len(triangles), np.bool_)
    return seen, rasterise(seen, triangles, both_sided, width, width).depth


def lit_part(
    seen: np.ndarray, nearest: np.ndarray, shift: np.ndarray | float, bias: float, softness: float
) -> np.ndarray:
    """(n,) 1 where nothing lies before a point on its way to the light, 0 in full shadow."""
    last = nearest.shape[0] - 1
    column, row = np.clip((seen[:, :2] + shift).astype(int), 0, last).T
    return np.clip(1 - (nearest[row, column] - seen[:, 2] - bias) / softness, 0, 1)


def ambient_light(head: PosedHead, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Irradiance (V, 3) of sky, ground and fill light, and openness (V,): 0 in folds, 1 free."""
    solid = (head.material == Material.BODY) | (head.material == Material.HAIR)
    casters = head.triangles[solid]
    cos, sin = np.cos(scene.turn), np.sin(scene.turn)
    spin = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    irradiance = np.zeros((len(head.vertices), 3), np.float32)
    open_part = np.zeros(len(head.vertices), np.float32)
    whole = np.full(len(head.vertices), 1e-6, np.float32)
    for direction in transform(sphere_directions(AMBIENT_DIRECTIONS), spin):
        if direction[2] < BEHIND_Z:
            continue
        seen, nearest = depth_map(head.vertices, casters, direction, AMBIENT_MAP)
        facing = np.clip(dot(head.normals, direction), 0, None)
        received = facing * lit_part(seen, nearest, 0.0, bias=0.05, softness=0.06)
        upward = direction[1] * 0.5 + 0.5
        towards_fill = max(0.0, float((direction * scene.fill_direction).sum()))
        light = scene.ground * (1 - upward) + scene.sky * upward
        light = light + scene.fill * (FILL_STRENGTH * towards_fill**FILL_SHARPNESS)
        irradiance += received[:, None] * light.astype(np.float32) * (4 / AMBIENT_DIRECTIONS)
        open_part += received
        whole += facing
    return irradiance, np.clip(open_part / whole, 0, 1)


def key_shadow(head: PosedHead, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The main light's view: (V, 3) map coordinates and the depth map that casts the shadow."""
    casters = head.triangles[(head.material != Material.LASH) & (head.material != Material.EYE)]
    return depth_map(head.vertices, casters, scene.key_direction, SHADOW_MAP)


def key_visibility(seen: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(n,) part of the main light that reaches points, given their coordinates in its map."""
    lit = [lit_part(seen, nearest, tap, bias=0.035, softness=0.05) for tap in SHADOW_TAPS]
    return np.stack(lit).mean(0, dtype=np.float32)
