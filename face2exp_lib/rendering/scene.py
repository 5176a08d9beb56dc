"""Where a face is and how it is seen: pose, lights, camera, backdrop, picture quality."""

from dataclasses import dataclass

import numpy as np

from face2exp_lib.rendering.backdrop import KINDS


@dataclass(frozen=True)
class Scene:
    """Everything about one picture but the face. Angles in radians, lights in relative units.

    Attributes:
        yaw: > 0 turns the face towards the right of the picture.
        pitch: > 0 lifts the chin.
        roll: > 0 tilts the head counter-clockwise in the picture.
        key_direction: (3,) unit vector towards the main light; key: its colour times brightness.
        sky, ground: light from above and below; fill_direction, fill: a broad second light.
        distance: of the camera, decimetres; zoom: factor on the face's size in the picture.
        shift: (2,) of the face, as a part of the picture's width, right and down.
        exposure: factor on all light.
        backdrop_kind: index into `backdrop.KINDS`; backdrop: (5, 3) its colours, linear light.
        turn: about the vertical, of the directions that ambient light is sampled in.
        blur: Gaussian, in 1/128 of the picture; sensor_noise: standard deviation, 1 is white.
        jpeg_quality: of the JPEG that the picture was once stored as.
    """

    yaw: float
    pitch: float
    roll: float
    key_direction: np.ndarray
    key: np.ndarray
    sky: np.ndarray
    ground: np.ndarray
    fill_direction: np.ndarray
    fill: np.ndarray
    distance: float
    zoom: float
    shift: tuple[float, float]
    exposure: float
    backdrop: np.ndarray
    backdrop_kind: int
    turn: float
    blur: float
    sensor_noise: float
    jpeg_quality: int
    grey: bool
    seed: int


def sample_scene(generator: np.random.Generator, pose: float, light: float) -> Scene:
    """Draw a scene.

    Args:
        generator: source of all draws.
        pose: scale of the spread of yaw, pitch and roll; 1 is 17, 8 and 6 degrees.
        light: scale of the spread of the main light's direction, of colour casts and of exposure.
    """
    rng = generator
    azimuth, elevation = rng.normal(0, 0.75 * light), 0.35 + light * rng.uniform(-0.35, 0.4)
    warm, cool = rng.normal(0, 0.10 * light, 2)
    fill_direction = rng.normal(size=3) * (1.0, 0.4, 0.3)
    fill_direction[1:] = np.abs(fill_direction[1:])
    backdrop = rng.uniform(0.03, 0.85, (5, 3)) ** 2.2
    return Scene(
        yaw=float(np.clip(rng.normal(0, 0.30 * pose), -0.8, 0.8)),
        pitch=float(np.clip(rng.normal(0.02, 0.14 * pose), -0.4, 0.4)),
        roll=float(np.clip(rng.normal(0, 0.10 * pose), -0.35, 0.35)),
        key_direction=np.array(
            [
                np.sin(azimuth) * np.cos(elevation),
                np.sin(elevation),
                np.cos(azimuth) * np.cos(elevation),
            ]
        ).astype(np.float32),
        key=(np.array([1 + warm, 1, 1 - 1.2 * warm]) * rng.uniform(1.3, 2.6)).astype(np.float32),
        sky=(np.array([1 - 0.6 * cool, 1, 1 + cool]) * rng.uniform(0.45, 1.0)).astype(np.float32),
        ground=(np.array([1.05, 0.98, 0.92]) * rng.uniform(0.12, 0.45)).astype(np.float32),
        fill_direction=(fill_direction / np.linalg.norm(fill_direction)).astype(np.float32),
        fill=(np.clip(rng.normal(0.5, 0.35), 0, 1.4) * (1 + rng.normal(0, 0.12, 3) * light)).astype(
            np.float32
        ),
        distance=rng.uniform(7.0, 16.0),
        zoom=rng.uniform(0.93, 1.09),
        shift=(rng.normal(0, 0.03), rng.normal(0, 0.03)),
        exposure=float(np.exp(rng.normal(0, 0.18 * light))),
        backdrop=(backdrop * 0.3 + 0.7 * backdrop.mean(1, keepdims=True)).astype(np.float32),
        backdrop_kind=int(rng.integers(len(KINDS))),
        turn=rng.uniform(0, 2 * np.pi),
        blur=max(0.0, rng.normal(0.35, 0.35)),
        sensor_noise=abs(rng.normal(0, 0.012)),
        jpeg_quality=int(rng.integers(55, 96)),
        grey=bool(rng.random() < 0.05),
        seed=int(rng.integers(1 << 30)),
    )
