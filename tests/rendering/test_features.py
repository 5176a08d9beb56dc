"""Mouth and eyes: what is seen of them, and when."""

from dataclasses import replace

import numpy as np
import pytest

from face2exp_lib.rendering import features
from face2exp_lib.rendering.assets import Material
from face2exp_lib.rendering.expressions import PROTOTYPES, prototype_weights
from face2exp_lib.rendering.posing import load_person, pose_head
from face2exp_lib.rendering.raster import rasterise
from face2exp_lib.rendering.render import render_head
from face2exp_lib.rendering.scene import Scene, sample_scene
from face2exp_lib.rendering.surface import TWO_SIDED

WIDTH = 128


def front_view(seed: int = 0) -> Scene:
    scene = sample_scene(np.random.default_rng(seed), pose=0.0, light=0.0)
    return replace(scene, blur=0.0, sensor_noise=0.0, jpeg_quality=95, grey=False)


def visible(number: int, weights: dict[str, float], material: Material) -> int:
    """Pixels of a material that a frontal picture of a person shows."""
    head = pose_head(load_person(5, number), weights, front_view(), WIDTH)
    one_sided = ~TWO_SIDED[head.material]
    seen = rasterise(head.projected, head.triangles, one_sided, WIDTH, WIDTH).triangle
    return int((head.material[seen[seen >= 0]] == material).sum())


def test_closed_lips_hide_the_teeth_and_open_ones_show_them() -> None:
    closed = {"mouthSmileLeft": 1.2, "mouthSmileRight": 1.2}
    laugh = prototype_weights(PROTOTYPES["happy"][2], 1.0, np.random.default_rng(0))
    people = range(24)
    assert max(visible(number, closed, Material.TEETH) for number in people) == 0
    assert min(visible(number, laugh, Material.TEETH) for number in people) > 10


def test_wide_eyes_mirror_the_main_light(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {"eyeWideLeft": 1.5, "eyeWideRight": 1.5}

    def brightest() -> float:
        image, landmarks = render_head(load_person(5, 0), wide, front_view(), WIDTH)
        peaks = []
        for column, row in landmarks[:2].astype(int):
            peaks.append(image[row - 4 : row + 5, column - 4 : column + 5].max(2).max())
        return float(np.mean(peaks))

    with_spot = brightest()
    monkeypatch.setattr(features, "CATCH_LIGHT", 0.0)
    assert with_spot > brightest() + 20
