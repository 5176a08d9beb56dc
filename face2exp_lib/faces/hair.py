"""Hair: where it grows, how it lifts the scalp, how long strips hang."""

import numpy as np

from face2exp_lib.faces.assets import Material
from face2exp_lib.faces.geometry import smoothstep, vertex_normals
from face2exp_lib.faces.head import STRIP_COPY_SCALE, Head
from face2exp_lib.faces.identity import Identity
from face2exp_lib.faces.noise import noise

# The hair line of the template: height y at depth z, from the nape to the forehead (decimetres).
HAIRLINE_Z = (-0.7, -0.2, 0.30, 0.45, 0.62, 0.80, 1.0, 1.2, 1.45)
HAIRLINE_Y = (6.55, 6.6, 6.85, 7.3, 7.40, 7.58, 7.78, 7.90, 7.95)
SKULL_AXIS_Z = 0.35  # the vertical that strip copies turn about


def height_above_hairline(template: np.ndarray, identity: Identity) -> np.ndarray:
    """(n,) decimetres above this person's hair line; hair grows where it is positive."""
    x, y, z = template.T
    line = np.interp(z, HAIRLINE_Z, HAIRLINE_Y).astype(np.float32)
    recession = identity.hairline_recession
    temples = smoothstep(np.abs(x), 0.25, 0.55) * smoothstep(z, 0.6, 0.9) * recession * 1.6
    return y - line - identity.hairline_shift - recession * smoothstep(z, 0.4, 1.0) - temples


def scalp_coverage(head: Head, height: np.ndarray) -> np.ndarray:
    """(V,) float32: 1 where hair covers the head, 0 on face, ears and neck."""
    off_ears = 1 - np.clip(head.ear * 3, 0, 1)
    above_nape = head.vertices[:, 1] > 6.5
    return (smoothstep(height, -0.02, 0.16) * head.is_body * off_ears * above_nape).astype(
        np.float32
    )


def style_hair(
    head: Head, identity: Identity, vertices: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """Lift the scalp by the hair's thickness and hang long strips; returns new (V, 3) vertices."""
    vertices = vertices.copy()
    thickness = identity.hair_thickness
    if thickness > 0:
        outward = vertex_normals(vertices, head.triangles[head.material == Material.BODY])
        lumps = 1 + 0.2 * noise(head.vertices, 1.6, identity.texture_offset) * (thickness > 0.1)
        vertices += outward * (thickness * coverage * np.clip(lumps, 0.3, 1.8))[:, None]
        if identity.hair_style in ("volume", "long"):
            crown = smoothstep(head.vertices[:, 1], 7.9, 8.4)
            vertices[:, 1] += thickness * 0.35 * coverage * crown
    if identity.hair_style == "long":
        vertices[head.is_hair, 0] *= 1.02
        vertices[head.is_hair, 2] -= 0.03
        copies = vertices[head.num_unique :]
        turn = head.strip_turn * np.sign(copies[:, 0])
        x = copies[:, 0] * STRIP_COPY_SCALE
        z = (copies[:, 2] - SKULL_AXIS_Z) * STRIP_COPY_SCALE
        copies[:, 0] = x * np.cos(turn) + z * np.sin(turn)
        copies[:, 2] = SKULL_AXIS_Z - x * np.sin(turn) + z * np.cos(turn)
    return vertices
