"""Lines that skin folds into: where they run, and which actions and what age deepen them."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from face2exp_lib.rendering.expressions import both_sides

ATLAS_SIZE = 320
# The part of the template (decimetres) that the atlas covers.
X_RANGE, Y_RANGE = (-0.8, 0.8), (6.3, 8.1)
GROOVE_DEPTH = 0.0135  # decimetres, at strength 1
NEGLIGIBLE = 1e-5  # of a fold's depth


@dataclass(frozen=True)
class Fold:
    """A line on the skin.

    Attributes:
        path: (x, y) points on the template, decimetres; with `mirrored`, also at -x.
        width: decimetres.
        actions: ARKit unit (`*`: the line's own side, or both if it is on the midline) -> strength
            at weight 1.
        age: strength at the highest age.
    """

    path: tuple[tuple[float, float], ...]
    width: float
    actions: dict[str, float]
    age: float
    mirrored: bool = False


FOLDS = {
    "forehead, low": Fold(
        ((-0.42, 7.74), (-0.2, 7.77), (0, 7.75), (0.2, 7.77), (0.42, 7.74)),
        0.020, {"browInnerUp": 0.5, "browOuterUp*": 0.25}, 0.30,
    ),
    "forehead, middle": Fold(
        ((-0.40, 7.84), (-0.2, 7.87), (0, 7.85), (0.2, 7.87), (0.40, 7.84)),
        0.020, {"browInnerUp": 0.45, "browOuterUp*": 0.25}, 0.34,
    ),
    "forehead, high": Fold(
        ((-0.33, 7.94), (-0.1, 7.95), (0.1, 7.95), (0.33, 7.94)),
        0.018, {"browInnerUp": 0.3, "browOuterUp*": 0.2}, 0.28,
    ),
    "glabella": Fold(
        ((0.055, 7.46), (0.06, 7.54), (0.045, 7.62)),
        0.018, {"browDown*": 0.7, "noseSneer*": 0.25, "browInnerUp": 0.1}, 0.14, mirrored=True,
    ),
    "nose root, high": Fold(
        ((-0.10, 7.29), (0, 7.325), (0.10, 7.29)), 0.014, {"noseSneer*": 0.45}, 0.10
    ),
    "nose root, low": Fold(
        ((-0.11, 7.22), (0, 7.25), (0.11, 7.22)), 0.014, {"noseSneer*": 0.35}, 0.06
    ),
    "nasolabial": Fold(
        ((0.185, 6.97), (0.235, 6.90), (0.29, 6.80), (0.315, 6.70)),
        0.026,
        {"mouthSmile*": 0.75, "mouthUpperUp*": 0.5, "noseSneer*": 0.55, "cheekSquint*": 0.2,
         "mouthDimple*": 0.25},
        0.46, mirrored=True,
    ),
    "marionette": Fold(
        ((0.27, 6.60), (0.29, 6.52), (0.285, 6.45)),
        0.022, {"mouthFrown*": 0.7, "mouthShrugLower": 0.2, "mouthStretch*": 0.2}, 0.42,
        mirrored=True,
    ),
    "crow's foot, high": Fold(
        ((0.53, 7.30), (0.64, 7.34)),
        0.013, {"cheekSquint*": 0.45, "eyeSquint*": 0.3}, 0.34, mirrored=True,
    ),
    "crow's foot, middle": Fold(
        ((0.53, 7.265), (0.65, 7.26)),
        0.013, {"cheekSquint*": 0.45, "eyeSquint*": 0.3}, 0.36, mirrored=True,
    ),
    "crow's foot, low": Fold(
        ((0.52, 7.235), (0.62, 7.19)),
        0.013, {"cheekSquint*": 0.4, "eyeSquint*": 0.25}, 0.34, mirrored=True,
    ),
    "chin": Fold(
        ((-0.13, 6.43), (0, 6.455), (0.13, 6.43)),
        0.02, {"mouthShrugLower": 0.4, "mouthFrown*": 0.1}, 0.12,
    ),
    "eye bag": Fold(
        ((0.18, 7.17), (0.30, 7.115), (0.44, 7.15)),
        0.018, {"cheekSquint*": 0.35, "eyeSquint*": 0.2}, 0.42, mirrored=True,
    ),
    "cheek": Fold(((0.47, 6.98), (0.49, 6.86), (0.46, 6.72)), 0.024, {}, 0.30, mirrored=True),
    "upper lid": Fold(
        ((0.17, 7.335), (0.27, 7.40), (0.38, 7.39), (0.46, 7.33)),
        0.016, {"eyeWide*": 0.2}, 0.30, mirrored=True,
    ),
    "lower lid": Fold(
        ((0.17, 7.21), (0.28, 7.175), (0.42, 7.21)),
        0.014, {"cheekSquint*": 0.3, "eyeSquint*": 0.35}, 0.30, mirrored=True,
    ),
}  # fmt: skip


@cache
def sided_folds() -> list[tuple[Fold, dict[str, float]]]:
    """Every line with the actions of its own side spelled out; mirrored ones twice."""
    lines = []
    for fold in FOLDS.values():
        for side, sign in (("Left", 1), ("Right", -1)) if fold.mirrored else (("", 1),):
            actions: dict[str, float] = {}
            for entry, strength in fold.actions.items():
                for name in [entry[:-1] + side] if side and "*" in entry else both_sides(entry):
                    actions[name] = strength
            path = tuple((sign * x, y) for x, y in fold.path)
            lines.append((Fold(path, fold.width, fold.actions, fold.age), actions))
    return lines


def smooth_path(path: tuple[tuple[float, float], ...]) -> np.ndarray:
    """(m, 2) points along a path, its corners rounded off."""
    points = np.array(path, float)
    along = np.linspace(0, len(points) - 1, 40 if len(points) > 2 else 24)
    line = np.stack([np.interp(along, range(len(points)), axis) for axis in points.T], 1)
    if len(points) == 2:
        return line
    padded = np.pad(line, ((4, 4), (0, 0)), mode="edge")
    return np.stack([np.convolve(axis, np.full(9, 1 / 9), "valid") for axis in padded.T], 1)[::2]


@cache
def fold_atlas() -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """How much each texel of the (320, 320) template lies in each of `sided_folds`.

    Returns:
        The rows and columns that a fold reaches, and float32 values, 0 to 1, at these.
    """
    x, y = np.meshgrid(np.linspace(*X_RANGE, ATLAS_SIZE), np.linspace(*Y_RANGE, ATLAS_SIZE))
    layers = []
    for fold, _ in sided_folds():
        points = smooth_path(fold.path)
        nearest, fading = np.full(x.shape, np.inf), np.ones(x.shape)
        for i, (start, stop) in enumerate(pairwise(points)):
            step = stop - start
            along = ((x - start[0]) * step[0] + (y - start[1]) * step[1]) / (step @ step + 1e-12)
            along = np.clip(along, 0, 1)
            distance = np.hypot(x - start[0] - along * step[0], y - start[1] - along * step[1])
            position = np.clip((i + along) / (len(points) - 1), 0.02, 0.98)
            closer = distance < nearest
            nearest = np.where(closer, distance, nearest)
            fading = np.where(closer, 0.25 + 0.75 * np.sin(np.pi * position) ** 0.6, fading)
        layer = (fading * np.exp(-((nearest / fold.width) ** 2))).astype(np.float32)
        rows, columns = np.nonzero(layer > NEGLIGIBLE)
        reach = slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)
        layers.append((reach, layer[reach]))
    return layers


def groove_map(weights: dict[str, float], age: float, depth: float) -> np.ndarray:
    """(320, 320) float32 depth of the skin's grooves in decimetres.

    Args:
        weights: ARKit action weights.
        age: 0 to 1.
        depth: this person's factor.
    """
    grooves = np.zeros((ATLAS_SIZE, ATLAS_SIZE), np.float32)
    for (reach, layer), (fold, actions) in zip(fold_atlas(), sided_folds(), strict=True):
        active = sum(weights.get(name, 0.0) * strength for name, strength in actions.items())
        strength = (1.6 * age * fold.age + active) * depth
        if strength > 1e-3:
            grooves[reach] += np.float32(strength) * layer
    return grooves * np.float32(GROOVE_DEPTH)
