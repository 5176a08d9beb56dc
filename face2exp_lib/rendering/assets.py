"""The packed head: a mesh, its shape targets and its masks (see NOTICE for the source).

Lengths are decimetres, y points up, z out of the face, x to the face's own left.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop

PACK = Path(__file__).with_name("head_assets.npz")


class Material(IntEnum):
    """What a triangle is made of. Lashes and hair are open sheets, seen from both sides."""

    BODY = 0
    EYE = 1
    TEETH = 2
    TONGUE = 3
    LASH = 4
    HAIR = 5
    HAND = 6
    GLASSES = 7
    LENS = 8
    HAT = 9


def by_material(values: dict[Material, Any], otherwise: Any) -> np.ndarray:
    """A table to look a property up by material: float32, or bool if `otherwise` is one."""
    kind = np.bool_ if isinstance(otherwise, bool) else np.float32
    return np.array([values.get(material, otherwise) for material in Material], kind)


@dataclass(frozen=True)
class HeadAssets:
    """The mesh as packed.

    Attributes:
        vertices: (V, 3) float32, decimetres.
        triangles: (T, 3) int32 vertex indices, counter-clockwise seen from outside.
        triangle_uv: (T, 3, 2) float32 texture coordinates of the corners, 0 to 1.
        material: (T,) int32, see `Material`.
        targets: target name -> (vertex indices, (n, 3) offsets at weight 1). `au:` names are ARKit
            face units, `blend:` and `axis:` names whole-head shapes, `loc:` names local shapes.
        masks: mask name -> (1024, 1024) float32, 0 to 1, addressed by texture coordinates.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    triangle_uv: np.ndarray
    material: np.ndarray
    targets: dict[str, tuple[np.ndarray, np.ndarray]]
    masks: dict[str, np.ndarray]


@cache
def load_assets() -> HeadAssets:
    """Read the pack that lies beside this file, once per process."""
    with np.load(PACK) as pack:
        starts, indices = pack["target_starts"], pack["target_indices"].astype(np.int64)
        offsets = pack["target_offsets"]
        targets = {
            str(name): (indices[start:stop], offsets[start:stop])
            for name, start, stop in zip(pack["target_names"], starts[:-1], starts[1:], strict=True)
        }
        masks = {
            key.removeprefix("mask_"): pack[key].astype(np.float32) / 255
            for key in pack.files
            if key.startswith("mask_")
        }
        return HeadAssets(
            vertices=pack["vertices"],
            triangles=pack["triangles"].astype(np.int32),
            triangle_uv=pack["triangle_uv"],
            material=pack["material"].astype(np.int32),
            targets=targets,
            masks=masks,
        )


@compile_loop
def _nearest_texel(texels, u, v, out):  # type: ignore[no-untyped-def]
    last = texels.shape[0] - 1
    for i in range(u.shape[0]):
        row = min(max(int((1 - v[i]) * (last + 1)), 0), last)
        column = min(max(int(u[i] * (last + 1)), 0), last)
        out[i] = texels[row, column]


def look_up(mask: str, uv: np.ndarray) -> np.ndarray:
    """Nearest texel of a mask at texture coordinates `uv` (n, 2); returns (n,) float32."""
    u, v = (np.ascontiguousarray(axis, np.float32) for axis in uv.T)
    out = np.empty(len(uv), np.float32)
    _nearest_texel(load_assets().masks[mask], u, v, out)
    return out


@compile_loop
def _add_offsets(vertices, indices, offsets, weight):  # type: ignore[no-untyped-def]
    for i in range(indices.shape[0]):
        for axis in range(3):
            vertices[indices[i], axis] += weight * offsets[i, axis]


def apply_targets(vertices: np.ndarray, weights: dict[str, float]) -> None:
    """Add weighted shape targets to `vertices`, (V, 3) float32, in place."""
    targets = load_assets().targets
    for name, weight in weights.items():
        indices, offsets = targets[name]
        _add_offsets(vertices, indices, offsets, np.float32(weight))
