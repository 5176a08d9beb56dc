"""What is behind a head, out of focus: a studio, a wall, a room, a street of lights, the open air.

Drawn small and enlarged, for a lens that is focused on a face shows nothing sharp behind it.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

CANVAS = 48  # pixels; what is smaller than one is out of focus anyway

Draw = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _mix(first: np.ndarray, second: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Colours blended pixel by pixel; `part` (CANVAS, CANVAS) is the second one's share."""
    return first * (1 - part[..., None]) + second * part[..., None]


def _edge(distance: np.ndarray, softness: float) -> np.ndarray:
    """1 where `distance` is well above 0, 0 well below."""
    return np.clip(distance / softness + 0.5, 0, 1)


def _rectangle(
    x: np.ndarray, y: np.ndarray, left: float, top: float, right: float, bottom: float, soft: float
) -> np.ndarray:
    return (
        _edge(x - left, soft) * _edge(right - x, soft) * _edge(y - top, soft)
        * _edge(bottom - y, soft)
    )  # fmt: skip


def studio(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, colours: np.ndarray
) -> np.ndarray:
    """A paper roll with a pool of light on it."""
    picture = _mix(colours[0], colours[1], y)
    centre_x, centre_y = rng.uniform(0.2, 0.8), rng.uniform(0.1, 0.7)
    pool = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / rng.uniform(0.1, 0.4))
    return picture * (0.65 + 0.7 * pool[..., None])


def wall(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A wall with a corner, a picture or a door on it."""
    slope = rng.normal(0, 0.05)
    corner = _edge(x - rng.uniform(-0.3, 1.3) - slope * y, 0.05)
    picture = _mix(colours[0], colours[0] * rng.uniform(0.55, 0.9), corner)
    for _ in range(rng.integers(0, 3)):
        left, top = rng.uniform(-0.2, 0.9), rng.uniform(-0.3, 0.6)
        right, bottom = left + rng.uniform(0.15, 0.5), top + rng.uniform(0.2, 0.9)
        inside = _rectangle(x, y, left, top, right, bottom, 0.05)
        picture = _mix(picture, colours[rng.integers(1, len(colours))], inside)
    return picture * (1.1 - 0.35 * y[..., None])


def room(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A wall, a window with daylight, shelves with things on them."""
    picture = np.broadcast_to(colours[0] * 0.7, (*x.shape, 3))
    side = rng.uniform(-0.25, 0.9)
    window = _rectangle(
        x, y, side, -0.2, side + rng.uniform(0.2, 0.45), rng.uniform(0.4, 0.9), 0.08
    )
    picture = _mix(picture, np.array([0.85, 0.95, 1.0]) * rng.uniform(0.7, 1.5), window)
    for row in np.arange(rng.uniform(-0.1, 0.2), 1.0, rng.uniform(0.22, 0.4)):
        shelf_left, shelf_right = sorted(rng.uniform(-0.2, 1.2, 2))
        at = shelf_left
        while at < shelf_right:
            width, height = rng.uniform(0.03, 0.13), rng.uniform(0.08, 0.2)
            thing = _rectangle(x, y, at, row - height, at + width, row, 0.04)
            colour = colours[rng.integers(1, len(colours))] * rng.uniform(0.3, 1.2)
            picture = _mix(picture, colour, thing * (1 - window))
            at += width
    return picture


def lights(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, colours: np.ndarray
) -> np.ndarray:
    """Street or party lights, each a disc of the lens's opening."""
    picture = _mix(colours[0] * 0.25, colours[1] * 0.15, y)
    size = rng.uniform(0.03, 0.09)
    for _ in range(rng.integers(6, 22)):
        away = np.hypot(x - rng.uniform(0, 1), y - rng.uniform(0, 1))
        disc = 0.7 * _edge(size * rng.uniform(0.7, 1.2) - away, 0.06)
        colour = np.array([1.0, rng.uniform(0.5, 1.0), rng.uniform(0.2, 1.0)])
        picture = picture + colour * (rng.uniform(0.2, 0.9) * disc)[..., None]
    return picture


def open_air(
    rng: np.random.Generator, x: np.ndarray, y: np.ndarray, colours: np.ndarray
) -> np.ndarray:
    """Sky over a row of trees or houses over the ground."""
    horizon = rng.uniform(0.35, 0.85)
    sky = np.array([0.55, 0.72, 0.95]) * rng.uniform(0.6, 1.1)
    picture = _mix(sky, np.array([0.85, 0.87, 0.9]), np.clip(y / horizon, 0, 1))
    green = rng.random() < 0.6
    for _ in range(rng.integers(8, 20)):
        centre, reach = rng.uniform(-0.1, 1.1), rng.uniform(0.06, 0.22)
        if green:
            tree = np.array([0.10, 0.20, 0.06]) * rng.uniform(0.4, 2.0) * rng.uniform(0.8, 1.2, 3)
            top = horizon - rng.uniform(0.0, 0.35)
            away = np.hypot((x - centre) / reach, (y - top) / rng.uniform(0.1, 0.25))
            picture = _mix(picture, tree, 0.85 * _edge(1 - away, 0.5))
        else:
            colour = colours[rng.integers(len(colours))] * rng.uniform(0.4, 0.9)
            house = (centre - reach, horizon - rng.uniform(0.05, 0.5), centre + reach, horizon)
            picture = _mix(picture, colour, _rectangle(x, y, *house, 0.05))
    ground = np.array([0.16, 0.2, 0.08]) if green else np.array([0.3, 0.29, 0.27])
    return _mix(picture, ground * rng.uniform(0.6, 1.4), _edge(y - horizon, 0.08))


KINDS: tuple[Draw, ...] = (studio, wall, room, lights, open_air)


def draw_backdrop(kind: int, colours: np.ndarray, seed: int, width: int) -> np.ndarray:
    """What is behind the head.

    Args:
        kind: index into `KINDS`.
        colours: (n >= 2, 3) of walls and things, linear light.
        seed: of where things are.
        width: of the picture, pixels.

    Returns:
        (width, width, 3) float32 in linear light, 0 to about 1.5.
    """
    rng = np.random.default_rng(seed)
    steps = ((np.arange(CANVAS) + 0.5) / CANVAS).astype(np.float32)
    x, y = np.meshgrid(steps, steps)
    small = KINDS[kind](rng, x, y, colours).astype(np.float32)
    bands = [
        Image.fromarray(band).resize((width, width), Image.Resampling.BICUBIC)
        for band in np.moveaxis(small, 2, 0)
    ]
    return np.maximum(np.stack([np.asarray(band) for band in bands], 2), 0)
