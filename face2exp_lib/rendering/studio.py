"""Faces whose action units, pose and light are set by hand: nothing here is left to chance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from face2exp_lib.rendering.expressions import (
    ACTION_UNITS,
    PROTOTYPES,
    Prototype,
    both_sides,
    possible_weights,
)
from face2exp_lib.rendering.posing import Person
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.scene import Scene, sample_scene
from face2exp_lib.runtime.errors import Face2ExpError

LIGHT_AZIMUTH, LIGHT_ELEVATION = 25.0, 35.0  # degrees to the right of the picture, and up


def main_prototype(expression: str) -> Prototype:
    """How an expression is shown most often."""
    return max(PROTOTYPES[expression], key=lambda prototype: prototype.share)


def unit_weights(
    units: Mapping[int, float], *, left: float = 1.0, right: float = 1.0
) -> dict[str, float]:
    """ARKit weights of FACS units.

    Args:
        units: FACS number -> strength, 1 is the unit in full.
        left, right: how much of it the face's own left and right side show. What has no sides,
            like the jaw, moves in full.

    Raises:
        Face2ExpError: naming the unit that cannot be drawn.
    """
    weights: dict[str, float] = {}
    for number, strength in units.items():
        if number not in ACTION_UNITS:
            known = ", ".join(map(str, ACTION_UNITS))
            raise Face2ExpError(f"action unit {number} cannot be drawn: use {known}")
        for entry, full in ACTION_UNITS[number].arkit.items():
            for name in both_sides(entry):
                side = 1.0 if name == entry else left if name.endswith("Left") else right
                weights[name] = weights.get(name, 0.0) + full * strength * side
    return possible_weights(weights)


def studio_scene(
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    light_azimuth: float = LIGHT_AZIMUTH,
    light_elevation: float = LIGHT_ELEVATION,
) -> Scene:
    """A clean picture before a grey wall.

    Args:
        yaw, pitch: of the head, degrees to the right of the picture and up.
        light_azimuth, light_elevation: of the main light, degrees, likewise.
    """
    azimuth, elevation = np.radians([light_azimuth, light_elevation])
    drawn = sample_scene(np.random.default_rng(0), pose=0, light=0)
    return replace(
        drawn,
        yaw=float(np.radians(yaw)),
        pitch=float(np.radians(pitch)),
        roll=0.0,
        key_direction=np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ],
            np.float32,
        ),
        key=np.full(3, 2.4, np.float32),
        sky=np.full(3, 0.5, np.float32),
        ground=np.full(3, 0.2, np.float32),
        fill_direction=np.array([-0.6, 0.3, 0.74], np.float32),
        fill=np.full(3, 0.25, np.float32),
        distance=12.0,
        zoom=1.0,
        shift=(0.0, 0.0),
        exposure=1.0,
        backdrop=np.full_like(drawn.backdrop, 0.25),
        backdrop_kind=0,
        blur=0.0,
        sensor_noise=0.0,
        jpeg_quality=95,
        grey=False,
    )


def expression_faces(
    classes: Sequence[str], people: Sequence[Person], intensity: float, size: int
) -> np.ndarray:
    """Everybody in every expression, each by its main prototype.

    Args:
        classes: C names.
        people: P persons.
        intensity: 1 is the prototype in full.
        size: S, pixels.

    Returns:
        (P, C, S, S, 3) uint8 sRGB.
    """
    scene = studio_scene()
    faces = np.empty((len(people), len(classes), size, size, 3), np.uint8)
    for row, person in enumerate(people):
        drawn: dict[tuple, np.ndarray] = {}  # at intensity 0 all classes are one face
        for column, name in enumerate(classes):
            prototype = main_prototype(name)
            units = {unit: strength * intensity for unit, strength in prototype.units.items()}
            weights = unit_weights(units, right=0.0 if prototype.one_sided else 1.0)
            key = tuple(weights.items())
            if key not in drawn:
                drawn[key] = render_head(person, weights, scene, size)[0]
            faces[row, column] = drawn[key]
    return faces
