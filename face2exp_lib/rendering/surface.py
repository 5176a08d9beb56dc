"""What is seen at each pixel: the point on the template, the normal, the light that arrives."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from face2exp_lib.rendering.assets import Material, by_material
from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.geometry import empty_vectors
from face2exp_lib.rendering.lighting import ambient_light, key_shadow, key_visibility
from face2exp_lib.rendering.posing import PosedHead
from face2exp_lib.rendering.raster import Fragments
from face2exp_lib.rendering.scene import Scene

# Lit on the side that is seen: open sheets, and teeth, whose smooth normals turn away at the edges.
TWO_SIDED = by_material(
    dict.fromkeys(
        (Material.TEETH, Material.LASH, Material.HAIR, Material.GLASSES, Material.HAT), True
    ),
    False,
)


@dataclass
class Surface:
    """Arrays over the n pixels that show the head, float32 unless said otherwise.

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

    def parts(self, length: int) -> Iterator[tuple[slice, "Surface"]]:
        """The surface in pieces of at most `length` pixels, as views, each with its place."""
        for start in range(0, len(self.material), length):
            piece = slice(start, start + length)
            yield piece, Surface(*(getattr(self, field.name)[piece] for field in fields(self)))


@compile_loop
def _unit(x, y, z):  # type: ignore[no-untyped-def]
    scale = 1 / (np.sqrt(x * x + y * y + z * z) + 1e-9)
    return x * scale, y * scale, z * scale


@compile_loop
def _interpolate(  # type: ignore[no-untyped-def]
    fragment_triangle, weight_1, weight_2,
    triangles, triangle_uv, triangle_material, is_sheet,
    vertices, vertex_template, vertex_normals, vertex_seen, vertex_irradiance, vertex_openness,
    vertex_hair_height, distance,
    template, uv, material, normal, view, irradiance, openness, hair_height, seen,
):  # fmt: skip
    n = 0
    for row in range(fragment_triangle.shape[0]):
        for column in range(fragment_triangle.shape[1]):
            k = fragment_triangle[row, column]
            if k < 0:
                continue
            b, c = weight_1[row, column], weight_2[row, column]
            a = np.float32(1) - b - c
            i, j, m = triangles[k, 0], triangles[k, 1], triangles[k, 2]
            for axis in range(2):
                uv[n, axis] = (
                    triangle_uv[k, 0, axis] * a
                    + triangle_uv[k, 1, axis] * b
                    + triangle_uv[k, 2, axis] * c
                )
            for axis in range(3):
                template[n, axis] = (
                    vertex_template[i, axis] * a
                    + vertex_template[j, axis] * b
                    + vertex_template[m, axis] * c
                )
                seen[n, axis] = (
                    vertex_seen[i, axis] * a + vertex_seen[j, axis] * b + vertex_seen[m, axis] * c
                )
                irradiance[n, axis] = (
                    vertex_irradiance[i, axis] * a
                    + vertex_irradiance[j, axis] * b
                    + vertex_irradiance[m, axis] * c
                )
            openness[n] = vertex_openness[i] * a + vertex_openness[j] * b + vertex_openness[m] * c
            hair_height[n] = (
                vertex_hair_height[i] * a + vertex_hair_height[j] * b + vertex_hair_height[m] * c
            )
            x, y, z = _unit(
                vertex_normals[i, 0] * a + vertex_normals[j, 0] * b + vertex_normals[m, 0] * c,
                vertex_normals[i, 1] * a + vertex_normals[j, 1] * b + vertex_normals[m, 1] * c,
                vertex_normals[i, 2] * a + vertex_normals[j, 2] * b + vertex_normals[m, 2] * c,
            )
            to_x, to_y, to_z = _unit(
                -(vertices[i, 0] * a + vertices[j, 0] * b + vertices[m, 0] * c),
                -(vertices[i, 1] * a + vertices[j, 1] * b + vertices[m, 1] * c),
                distance - (vertices[i, 2] * a + vertices[j, 2] * b + vertices[m, 2] * c),
            )
            material[n] = triangle_material[k]
            if is_sheet[material[n]] and x * to_x + y * to_y + z * to_z < 0:
                x, y, z = -x, -y, -z  # sheets are lit on the side that is seen
            normal[n, 0], normal[n, 1], normal[n, 2] = x, y, z
            view[n, 0], view[n, 1], view[n, 2] = to_x, to_y, to_z
            n += 1


def surface_at(head: PosedHead, scene: Scene, fragments: Fragments) -> Surface:
    """Interpolate everything that shading needs to the pixels that show the head."""
    vertex_irradiance, vertex_openness = ambient_light(head, scene)
    vertex_seen, nearest_to_key = key_shadow(head, scene)
    count = int(np.count_nonzero(fragments.triangle >= 0))
    template, normal, view, irradiance = (empty_vectors(count) for _ in range(4))
    uv = empty_vectors(count, 2)
    material = np.empty(count, np.int32)
    openness, hair_height = np.empty(count, np.float32), np.empty(count, np.float32)
    seen = np.empty((count, 3), np.float32)
    _interpolate(
        fragments.triangle, fragments.weight_1, fragments.weight_2,
        head.triangles, head.triangle_uv, head.material.astype(np.int32, copy=False), TWO_SIDED,
        head.vertices, head.template, head.normals, vertex_seen, vertex_irradiance,
        vertex_openness, head.hair_height, np.float32(scene.distance),
        template, uv, material, normal, view, irradiance, openness, hair_height, seen,
    )  # fmt: skip
    return Surface(
        template=template,
        uv=uv,
        material=material,
        normal=normal,
        view=view,
        irradiance=irradiance,
        openness=openness,
        key_part=key_visibility(seen, nearest_to_key),
        hair_height=hair_height,
    )
