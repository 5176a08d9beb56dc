"""Scenes: the scales of pose and light do what they say."""

import numpy as np
import pytest

from face2exp_lib.rendering.scene import sample_scene


def elevations(light: float) -> np.ndarray:
    """Radians from the horizon to the main light of 200 scenes."""
    scenes = [sample_scene(np.random.default_rng(seed), 1.0, light) for seed in range(200)]
    return np.arcsin([scene.key_direction[1] for scene in scenes])


def test_light_scales_the_main_lights_height() -> None:
    assert elevations(0.0) == pytest.approx(0.35, abs=1e-6)
    usual = elevations(1.0)
    assert 0 <= usual.min() < 0.05
    assert 0.7 < usual.max() <= 0.75
    assert elevations(0.5).std() == pytest.approx(usual.std() / 2, rel=0.01)


def test_pose_scales_the_turn_of_the_head() -> None:
    yaws = {
        pose: np.array(
            [sample_scene(np.random.default_rng(seed), pose, 1.0).yaw for seed in range(200)]
        )
        for pose in (0.0, 0.5, 1.0)
    }
    assert (yaws[0.0] == 0).all()
    assert yaws[0.5] == pytest.approx(yaws[1.0] / 2, abs=0.1)  # the widest turns are cut off
    assert yaws[1.0].std() == pytest.approx(np.radians(17), rel=0.15)
