"""How much light reaches a point: ambient light per vertex, a shadow map for the main light."""

import math

import numpy as np

from face2exp_lib.rendering.assets import Material, by_material
from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.geometry import transform
from face2exp_lib.rendering.posing import PosedHead
from face2exp_lib.rendering.raster import rasterise
from face2exp_lib.rendering.scene import Scene

# A sphere that holds the head, in camera space (decimetres).
BOUND_CENTRE, BOUND_RADIUS = (0.0, -0.2, -0.6), 2.3
AMBIENT_DIRECTIONS, AMBIENT_MAP = 16, 64
AMBIENT_BIAS, AMBIENT_SOFTNESS = 0.05, 0.06  # decimetres of depth
BEHIND_Z = -0.75  # directions from behind light nothing that is seen
SHADOW_MAP = 320
SHADOW_BIAS, SHADOW_SOFTNESS = 0.035, 0.05  # decimetres of depth
# Texels; the mean over these places softens a shadow's edge.
SHADOW_TAPS = np.random.default_rng(11).normal(0, 2.2, (8, 2)).astype(np.float32)
FILL_STRENGTH, FILL_SHARPNESS = 2.2, 4

SHADES_SKY = by_material(
    dict.fromkeys((Material.BODY, Material.HAIR, Material.HAND, Material.HAT), True), False
)
SHADES_KEY = by_material(dict.fromkeys((Material.LASH, Material.EYE, Material.LENS), False), True)


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (a Fibonacci spiral)."""
    step = np.arange(count) + 0.5
    down = np.arccos(1 - 2 * step / count)
    around = np.pi * (1 + 5**0.5) * step
    return np.stack(
        [np.cos(around) * np.sin(down), np.cos(down), np.sin(around) * np.sin(down)], 1
    ).astype(np.float32)


@compile_loop
def _see(vertices, centre, across, down, direction, scale, middle, seen):  # type: ignore[no-untyped-def]
    for i in range(vertices.shape[0]):
        x = vertices[i, 0] - centre[0]
        y = vertices[i, 1] - centre[1]
        z = vertices[i, 2] - centre[2]
        seen[i, 0] = (x * across[0] + y * across[1] + z * across[2]) * scale + middle
        seen[i, 1] = (x * down[0] + y * down[1] + z * down[2]) * scale + middle
        seen[i, 2] = x * direction[0] + y * direction[1] + z * direction[2]


def depth_map(
    vertices: np.ndarray, triangles: np.ndarray, direction: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """The head as a far light sees it: (V, 3) map coordinates and depth, (width, width) nearest."""
    x, y, z = (float(value) for value in direction)
    if abs(y) < 0.9:  # the light's view has its upright along y, else along x
        length = math.hypot(x, z)
        across = (z / length, 0.0, -x / length)
        down = (x * y / length, -length, y * z / length)
    else:
        length = math.hypot(y, z)
        across = (0.0, -z / length, y / length)
        down = (-length, x * y / length, x * z / length)
    seen = np.empty((len(vertices), 3), np.float32)
    scale = width / (2 * BOUND_RADIUS)
    _see(vertices, BOUND_CENTRE, across, down, (x, y, z), scale, width / 2, seen)
    both_sided = np.zeros(len(triangles), np.bool_)
    return seen, rasterise(seen, triangles, both_sided, width, width).depth


@compile_loop
def _receive(seen, nearest, normals, direction, light, irradiance, received, facing):  # type: ignore[no-untyped-def]
    """Add the light from one direction to what each vertex has received so far."""
    last = nearest.shape[0] - 1
    for i in range(seen.shape[0]):
        lean = (
            normals[i, 0] * direction[0]
            + normals[i, 1] * direction[1]
            + normals[i, 2] * direction[2]
        )
        if lean <= 0:
            continue
        column = min(max(int(seen[i, 0]), 0), last)
        row = min(max(int(seen[i, 1]), 0), last)
        behind = nearest[row, column] - seen[i, 2] - AMBIENT_BIAS
        part = lean * min(max(1 - behind / AMBIENT_SOFTNESS, 0.0), 1.0)
        for channel in range(3):
            irradiance[i, channel] += part * light[channel]
        received[i] += part
        facing[i] += lean


def ambient_light(head: PosedHead, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Irradiance (V, 3) of sky, ground and fill light, and openness (V,): 0 in folds, 1 free."""
    casters = head.triangles[SHADES_SKY[head.material]]
    cos, sin = np.cos(scene.turn), np.sin(scene.turn)
    spin = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], np.float32)
    irradiance = np.zeros((len(head.vertices), 3), np.float32)
    received = np.zeros(len(head.vertices), np.float32)
    facing = np.full(len(head.vertices), 1e-6, np.float32)
    for direction in transform(sphere_directions(AMBIENT_DIRECTIONS), spin):
        if direction[2] < BEHIND_Z:
            continue
        seen, nearest = depth_map(head.vertices, casters, direction, AMBIENT_MAP)
        upward = direction[1] * 0.5 + 0.5
        towards_fill = max(0.0, float((direction * scene.fill_direction).sum()))
        light = scene.ground * (1 - upward) + scene.sky * upward
        light = light + scene.fill * (FILL_STRENGTH * towards_fill**FILL_SHARPNESS)
        light = (light * (4 / AMBIENT_DIRECTIONS)).astype(np.float32)
        _receive(seen, nearest, head.normals, direction, light, irradiance, received, facing)
    return irradiance, np.clip(received / facing, 0, 1)


def key_shadow(head: PosedHead, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The main light's view: (V, 3) map coordinates and the depth map that casts the shadow."""
    casters = head.triangles[SHADES_KEY[head.material]]
    return depth_map(head.vertices, casters, scene.key_direction, SHADOW_MAP)


@compile_loop
def _visibility(seen, nearest, taps, part):  # type: ignore[no-untyped-def]
    last = nearest.shape[0] - 1
    for i in range(seen.shape[0]):
        total = 0.0
        for k in range(taps.shape[0]):
            column = min(max(int(seen[i, 0] + taps[k, 0]), 0), last)
            row = min(max(int(seen[i, 1] + taps[k, 1]), 0), last)
            behind = nearest[row, column] - seen[i, 2] - SHADOW_BIAS
            total += min(max(1 - behind / SHADOW_SOFTNESS, 0.0), 1.0)
        part[i] = total / taps.shape[0]


def key_visibility(seen: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(n,) part of the main light that reaches points, given their coordinates in its map."""
    part = np.empty(len(seen), np.float32)
    _visibility(seen, nearest, SHADOW_TAPS, part)
    return part
