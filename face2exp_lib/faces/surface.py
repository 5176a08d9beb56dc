"""What is seen at each pixel: the point on the template, the normal, the light that arrives."""

from dataclasses import dataclass

import numpy as np

from face2exp_lib.faces.assets import Material
from face2exp_lib.faces.geometry import normalise
from face2exp_lib.faces.lighting import ambient_light, key_shadow, key_visibility
from face2exp_lib.faces.posing import PosedHead
from face2exp_lib.faces.raster import Fragments
from face2exp_lib.faces.scene import Scene


@dataclass
class Surface:
    """Arrays over the n pixels that show the head.

    Attributes:
        template: (n, 3) the point's place on the template head, decimetres: its name.
        uv: (n, 2) texture coordinates.
        material: (n,) int32.
        normal, view: (n, 3) unit vectors, outward and towards the camera.
        irradiance: (n, 3) ambient light; openness: (n,) 0 to 1.
        key_part: (n,) part of the main light that arrives.
        hair_height: (n,) decimetres above the hair line.
    """

    template: np.ndarray
    uv: np.ndarray
    material: np.ndarray
    normal: np.ndarray
    view: np.ndarray
    irradiance: np.ndarray
    openness: np.ndarray
    key_part: np.ndarray
    hair_height: np.ndarray


def surface_at(head: PosedHead, scene: Scene, fragments: Fragments) -> Surface:
    """Interpolate everything that shading needs to the pixels that show the head."""
    irradiance, openness = ambient_light(head, scene)
    seen_by_key, nearest_to_key = key_shadow(head, scene)
    shown = fragments.triangle >= 0
    triangle = fragments.triangle[shown]
    weight_1 = fragments.weight_1[shown][:, None]
    weight_2 = fragments.weight_2[shown][:, None]
    weight_0 = 1 - weight_1 - weight_2
    per_vertex = np.concatenate(
        [
            head.template,
            head.normals,
            seen_by_key,
            irradiance,
            head.vertices,
            openness[:, None],
            head.hair_height[:, None],
        ],
        axis=1,
    ).astype(np.float32)
    first, second, third = head.triangles[triangle].T
    values = (
        per_vertex[first] * weight_0 + per_vertex[second] * weight_1 + per_vertex[third] * weight_2
    )
    uv = head.triangle_uv[triangle]
    material = head.material[triangle]
    normal = normalise(values[:, 3:6])
    view = normalise(np.array([0, 0, scene.distance], np.float32) - values[:, 12:15])
    away = ((normal * view).sum(1) < 0) & (material >= Material.LASH)
    normal[away] *= -1  # sheets are lit on the side that is seen
    return Surface(
        template=values[:, 0:3],
        uv=uv[:, 0] * weight_0 + uv[:, 1] * weight_1 + uv[:, 2] * weight_2,
        material=material,
        normal=normal,
        view=view,
        irradiance=values[:, 9:12],
        openness=values[:, 15],
        key_part=key_visibility(values[:, 6:9], nearest_to_key),
        hair_height=values[:, 16],
    )
