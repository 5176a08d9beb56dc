"""Locks of hair grown over the template head.

A lock is a flat ribbon that narrows towards its tip. It starts on the scalp, follows the comb of
its style over the skull and then falls past cheeks and shoulders. Growing takes some 50 ms, so a
growth is made once and fitted to each head that wears it (`hair.fit_locks`).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face2exp_lib.rendering.geometry import normalise, smoothstep
from face2exp_lib.rendering.hair_styles import FALL_Y, HAIR_STYLES, HairStyle
from face2exp_lib.rendering.skull import (
    NAPE_Y,
    SKULL_CENTRE,
    above_hairline,
    keep_outside,
    skin_neighbours,
    skull_radius,
)
from face2exp_lib.runtime.seeding import numpy_generator

CROWN = np.array([0.12, 8.55, 0.15], np.float32)  # the whorl that short hair grows away from
OVER_EARS_Y = 7.5  # short hair is painted below, without locks
BEND_Y = (5.6, 6.6)  # above, hair turns with the head, below with the shoulders
BROW_CLEARANCE_Y = 7.60  # a fringe ends above the brows
NUM_FRINGE_LOCKS, NUM_CURTAIN_LOCKS = 80, 44
# Where hair is tied, by variant: at the nape for a tail, on the crown, at the nape, at the back.
KNOTS = np.array(
    [[0.0, 7.1, -0.4], [0.0, 8.66, 0.05], [0.0, 7.3, -0.45], [0.0, 7.8, -0.62]], np.float32
)
BUN_LOCKS, BUN_RADIUS, BUN_LOCK_WIDTH = 34, 0.28, 0.13
# The middle of a tied tail, from the nape over the shoulder to the chest.
TAIL = np.array(
    [[0.1, 7.1, -0.4], [0.45, 6.7, -0.1], [0.60, 6.35, 0.35], [0.58, 6.0, 0.78], [0.54, 5.2, 1.06]]
)
TAIL_RADIUS = 0.11
LAYERS, SHORT_LAYERS = 0.05, 0.018  # decimetres between the lowest and the topmost locks
CURTAIN_WIDTH = 0.24  # decimetres; wide locks below the others, so that no gaps show


@dataclass(frozen=True)
class Locks:
    """Ribbons of hair on the template head, n vertices.

    Attributes:
        vertices: (n, 3) decimetres, on the bare skull.
        outward: (n, 3) where a thicker head of hair moves a vertex, per decimetre.
        bend: (n,) 1 where a vertex turns with the head, 0 where with the shoulders.
        root: (n, 3) where on the scalp the vertex's lock is rooted.
        grain: (n, 3) place in the hair: across the lock, along it (y, decimetres), and which lock.
        triangles: (T, 3) int32.
        uv: (T, 3, 2) across the lock, 0 to 1, and along it, 0 at the root, 1 at the tip.
        neighbours, weights: (n, k) skin vertices whose shape a vertex follows, and how much.
    """

    vertices: np.ndarray
    outward: np.ndarray
    bend: np.ndarray
    root: np.ndarray
    grain: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    neighbours: np.ndarray
    weights: np.ndarray


def sample_roots(rng: np.random.Generator, count: int, lowest: float) -> np.ndarray:
    """(count, 3) points spread evenly over the scalp above the height `lowest`."""
    found = np.empty((0, 3), np.float32)
    while len(found) < count:
        towards = normalise(rng.normal(size=(4 * count, 3))).astype(np.float32)
        towards = towards[towards[:, 1] > -0.75]
        points = SKULL_CENTRE + towards * skull_radius(towards)[:, None]
        on_scalp = (above_hairline(points) > 0.03) & (points[:, 1] > lowest)
        found = np.concatenate([found, points[on_scalp]])
    return found[:count].astype(np.float32)


def comb_direction(
    comb: str, points: np.ndarray, side: np.ndarray, sweep: float, knot: np.ndarray
) -> np.ndarray:
    """(n, 3) where hair at `points` is combed to; `sweep` > 0 brings parted hair to the face."""
    _, y, z = points.T
    if comb == "crown":
        return normalise(points - CROWN)
    if comb == "back":
        return normalise(
            np.stack([0.25 * side, 0.15 - 0.5 * (1 - smoothstep(y, 7.5, 8.1)), -np.ones_like(z)], 1)
        )
    if comb == "tied":
        return normalise(knot - points)
    return normalise(np.stack([side, np.full_like(y, -0.25), np.full_like(z, sweep)], 1))


def grow_paths(
    style: HairStyle, rng: np.random.Generator, parting: float, fringe: bool, knot: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Middle lines of the locks (locks, rows, 3) on and below the bare skull, and their widths."""
    roots = sample_roots(rng, style.locks, NAPE_Y if hangs(style) else OVER_EARS_Y)
    if hangs(style):
        around = np.linspace(-2.6, 2.6, NUM_CURTAIN_LOCKS)
        around += np.sign(around) * 0.8 * (1 - np.abs(around) / 2.6)  # none before the face
        ring = np.stack([np.sin(around), np.full_like(around, 0.12), np.cos(around)], 1)
        ring = normalise(ring).astype(np.float32)
        roots = np.concatenate([SKULL_CENTRE + ring * skull_radius(ring)[:, None], roots])
    if fringe:
        start = np.stack(
            [
                rng.uniform(-0.62, 0.62, NUM_FRINGE_LOCKS),
                rng.uniform(0.62, 0.95, NUM_FRINGE_LOCKS),
                rng.uniform(0.55, 0.80, NUM_FRINGE_LOCKS),
            ],
            1,
        )
        start = normalise(start).astype(np.float32)
        roots = np.concatenate([roots, SKULL_CENTRE + start * skull_radius(start)[:, None]])
    is_curtain = np.arange(len(roots)) < NUM_CURTAIN_LOCKS * hangs(style)
    in_fringe = np.arange(len(roots)) >= len(roots) - NUM_FRINGE_LOCKS * fringe
    if style.comb == "part":
        # Many locks start at the parting, where they are seen from end to end.
        parted = (np.arange(len(roots)) % 5 < 2) & ~is_curtain & ~in_fringe
        depth = rng.uniform(-0.15, 1.25, parted.sum())
        across = parting + rng.normal(0, 0.03, parted.sum())
        towards = np.stack([across, np.full_like(depth, 8.6), depth], 1) - SKULL_CENTRE
        towards = normalise(towards).astype(np.float32)
        roots[parted] = SKULL_CENTRE + towards * skull_radius(towards)[:, None]
    side = np.where(roots[:, 0] > parting, 1.0, -1.0).astype(np.float32)
    in_front = (roots[:, 2] > 0.55) | ((roots[:, 2] > 0.3) & (rng.random(len(roots)) < 0.4))
    length = rng.uniform(*style.length, len(roots))
    if not hangs(style):
        length *= 0.45 + 0.55 * smoothstep(roots[:, 1], 7.7, 8.1)
    length = np.where(in_fringe, 0.75, length)
    lowest = style.lowest + rng.normal(0, 0.05, len(roots))
    lowest = np.where(in_fringe, BROW_CLEARANCE_Y + np.abs(rng.normal(0, 0.04, len(roots))), lowest)
    step = length / (style.rows - 1)
    stray = rng.normal(0, 0.12, (len(roots), 3)).astype(np.float32)
    sweep = rng.uniform(-0.35, 0.0)
    fall_y = FALL_Y if hangs(style) else FALL_Y - 0.5

    points, path = roots.copy(), [roots]
    direction = np.zeros_like(points)
    for row in range(style.rows - 1):
        combed = comb_direction(style.comb, points, side, sweep, knot)
        forward = np.stack([0.25 * roots[:, 0], -np.ones(len(roots)), np.ones(len(roots))], 1)
        combed = np.where(in_fringe[:, None], normalise(forward), combed) + stray
        free = 1 - smoothstep(points[:, 1], fall_y, fall_y + 0.7)
        if style.comb == "tied":
            free = free * 0
        wanted = combed * (1 - free[:, None]) + np.array([0, -1, 0]) * free[:, None]
        direction = normalise(direction * 0.4 * min(row, 1) + wanted).astype(np.float32)
        points = points + direction * step[:, None].astype(np.float32)
        points = keep_outside(points, in_front, in_fringe, fall_y)
        path.append(points)
    width = np.where(in_fringe, 0.6, 1.0) * rng.uniform(*style.width, len(roots))
    return cut(np.stack(path, 1), lowest), np.where(is_curtain, CURTAIN_WIDTH, width)


def cut(paths: np.ndarray, lowest: np.ndarray) -> np.ndarray:
    """End paths (n, rows, 3) at the heights `lowest` (n,), with as many points as before."""
    rows = paths.shape[1]
    travelled = travelled_along(paths)
    cut_paths = np.empty_like(paths)
    for path, there, floor, out in zip(paths, travelled, lowest, cut_paths, strict=True):
        below = path[:, 1] < floor
        end = rows - 1 if not below.any() else max(1, int(below.argmax()))
        drop = path[end - 1, 1] - path[end, 1]
        part = np.clip((path[end - 1, 1] - floor) / drop, 0.1, 1) if below[end] else 1.0
        length = there[end - 1] + part * (there[end] - there[end - 1])
        for axis in range(3):
            out[:, axis] = np.interp(np.linspace(0, length, rows), there, path[:, axis])
    return cut_paths


def travelled_along(paths: np.ndarray) -> np.ndarray:
    """(n, rows) decimetres from the start of each path (n, rows, 3)."""
    steps = np.diff(paths, axis=1, prepend=paths[:, :1])
    return np.cumsum(np.linalg.norm(steps, axis=2), axis=1)


def hangs(style: HairStyle) -> bool:
    """Whether hair falls past the ears on all sides."""
    return style.comb == "part" and style.lowest < FALL_Y


def tail_paths(rng: np.random.Generator, rows: int) -> np.ndarray:
    """(locks, rows, 3) a bundle that comes from the nape over the left shoulder."""
    along = np.linspace(0, 1, rows)
    at = np.linspace(0, 1, len(TAIL))
    middle = np.stack([np.interp(along, at, TAIL[:, axis]) for axis in range(3)], -1)
    spread = TAIL_RADIUS * np.sqrt(1 - (2 * along - 1) ** 4)[:, None] + 0.02
    off = rng.normal(0, 0.6, (BUN_LOCKS, 1, 3)) * spread
    return (middle + off).astype(np.float32)


def bun_paths(rng: np.random.Generator, knot: np.ndarray, rows: int) -> np.ndarray:
    """(locks, rows, 3) half turns around a ball of hair."""
    locks, radius = BUN_LOCKS, BUN_RADIUS
    angle = np.linspace(0, 2 * np.pi, locks, endpoint=False)[:, None] + rng.normal(
        0, 0.1, (locks, 1)
    )
    turn = np.linspace(0.15, np.pi - 0.15, rows)[None] + 0 * angle
    size = radius * rng.uniform(0.92, 1.06, (locks, 1))
    twisted = angle + 0.6 * turn
    ball = np.stack(
        [np.sin(turn) * np.cos(twisted), np.sin(turn) * np.sin(twisted), np.cos(turn)], -1
    )
    # The axis of the turns leans, so that the wrapping is seen from the front.
    tilted = np.stack(
        [
            0.6 * ball[..., 2] + 0.8 * ball[..., 0],
            0.8 * ball[..., 2] - 0.6 * ball[..., 0],
            ball[..., 1],
        ],
        -1,
    )
    return (knot + tilted * size[..., None]).astype(np.float32)


@lru_cache(maxsize=96)
def grow_locks(name: str, variant: int, parting: float, fringe: bool) -> Locks | None:
    """The locks of a style, or None where a style has none.

    Args:
        name: see `HAIR_STYLES`.
        variant: which of its growths.
        parting: distance of the parting from the midline, decimetres, towards the person's left.
        fringe: whether hair falls over the forehead.
    """
    style = HAIR_STYLES[name]
    if style.locks == 0:
        return None
    rng = numpy_generator(0, f"faces/hair/{name}", variant)
    knot = KNOTS[variant % len(KNOTS)]
    paths, width = grow_paths(style, rng, parting, fringe, knot)
    if name == "tied":
        has_tail = variant % 2 == 0
        tied = tail_paths(rng, style.rows) if has_tail else bun_paths(rng, knot, style.rows)
        paths = np.concatenate([paths, tied])
        width = np.concatenate([width, np.full(len(tied), BUN_LOCK_WIDTH)])
    return weave(style, rng, paths, width)


def weave(
    style: HairStyle, rng: np.random.Generator, paths: np.ndarray, width: np.ndarray
) -> Locks:
    """Ribbons along the paths (locks, rows, 3), `width` (locks,) decimetres wide."""
    locks, rows, _ = paths.shape
    along = np.linspace(0, 1, rows, dtype=np.float32)
    tangent = normalise(np.gradient(paths, axis=1))
    from_centre = paths - SKULL_CENTRE
    level = normalise(from_centre * (1, 0, 1))
    falls = (1 - smoothstep(paths[..., 1], 6.9, 7.5))[..., None]
    outward = normalise(normalise(from_centre) * (1 - falls) + level * falls)
    across = normalise(np.cross(tangent, outward))
    travelled = travelled_along(paths)

    # Neighbours swing together, or a wave would be a tangle.
    phase = 4 * np.arctan2(paths[:, 0, 0], paths[:, 0, 2]) + rng.normal(0, 0.6, locks)
    swing = np.sin(2 * np.pi * travelled / style.wave_length + phase[:, None])
    swing = swing * style.wave * smoothstep(travelled, 0.0, 0.5 * style.wave_length)
    layers = rng.uniform(0.0, LAYERS if hangs(style) else SHORT_LAYERS, locks)
    layer = np.where(width == CURTAIN_WIDTH, -0.01, layers)[:, None]
    lift = layer + style.stand * along * rng.uniform(0.3, 1.5, (locks, 1)) - 0.02 * (along == 0)
    if style.comb in ("back", "tied"):  # combed flat: the tips lie under other locks
        lift = lift - 0.07 * along**2
    centre = paths + across * swing[..., None] + outward * (lift + 0.3 * np.abs(swing))[..., None]

    lean = rng.normal(0, 0.25, (locks, 1, 1))
    across = normalise(across + outward * lean)
    taper = np.interp(along, (0, 0.15, 0.6, 0.85, 1.0), (0.7, 1.0, 1.0, 0.65, 0.06))
    half = 0.5 * width[:, None, None] * taper[None, :, None] * across
    vertices = np.stack([centre - half, centre + half], 2)

    grain = np.empty((locks, rows, 2, 3), np.float32)
    grain[..., 0] = np.array([0.0, 1.0]) * width[:, None, None]
    grain[..., 1] = travelled[..., None]
    grain[..., 2] = rng.uniform(0, 40, (locks, 1, 1))
    first = (np.arange(locks)[:, None] * rows + np.arange(rows - 1)).reshape(-1, 1) * 2
    corners = np.array([[0, 1, 2], [2, 1, 3]])
    triangles = np.concatenate([first + corners[0], first + corners[1]]).astype(np.int32)
    uv = np.empty((locks, rows, 2, 2), np.float32)
    uv[..., 0], uv[..., 1] = (0.0, 1.0), along[:, None]

    flat = vertices.reshape(-1, 3).astype(np.float32)
    neighbours, weights = skin_neighbours(paths.reshape(-1, 3))
    return Locks(
        vertices=flat,
        outward=np.repeat(outward, 2, axis=1).reshape(-1, 3).astype(np.float32),
        bend=smoothstep(flat[:, 1], *BEND_Y),
        root=np.repeat(paths[:, 0], rows * 2, axis=0),
        grain=grain.reshape(-1, 3),
        triangles=triangles,
        uv=uv.reshape(-1, 2)[triangles],
        neighbours=np.repeat(neighbours, 2, axis=0),
        weights=np.repeat(weights, 2, axis=0),
    )
