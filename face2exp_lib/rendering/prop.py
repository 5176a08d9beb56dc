"""Things that are not part of a head: their meshes, and tubes to build them of."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from face2exp_lib.rendering.geometry import normalise
from face2exp_lib.rendering.head import Head
from face2exp_lib.rendering.identity import Identity


@dataclass(frozen=True)
class Prop:
    """A mesh in the space of one person's resting head, decimetres.

    Attributes:
        vertices: (V, 3) float32.
        template: (V, 3) float32 coordinates to paint by, far from those of the template head.
        triangles: (T, 3) int32, counter-clockwise seen from outside.
        triangle_uv: (T, 3, 2) float32.
        material: (T,) int32, see `assets.Material`.
        lenses: (L, 3) int32 triangles of glass, which are drawn over all that lies behind them.
    """

    vertices: np.ndarray
    template: np.ndarray
    triangles: np.ndarray
    triangle_uv: np.ndarray
    material: np.ndarray
    lenses: np.ndarray


class Wearable(Protocol):
    """Something that can be put on a head."""

    def put_on(
        self, head: Head, identity: Identity, rest: np.ndarray, shaped: np.ndarray
    ) -> tuple[np.ndarray, Prop]:
        """Fit it to a person.

        Args:
            head: the template.
            identity: who wears it.
            rest: (V, 3) the person's resting face without hair.
            shaped: (W, 3) the face in action and then locks of hair, not yet turned.

        Returns:
            (W, 3) `shaped`, where need be pressed down, and the mesh.
        """


def lattice_triangles(rows: int, columns: int, wrapped: bool) -> np.ndarray:
    """(T, 3) int32 triangles of a lattice of vertices, row by row.

    Counter-clockwise as seen from where rows run upward and columns to the right. A wrapped
    lattice joins the last column to the first.
    """
    row, column = np.divmod(np.arange((rows - 1) * columns), columns)
    if not wrapped:
        row, column = row[column < columns - 1], column[column < columns - 1]
    right = (column + 1) % columns
    here, beside = row * columns + column, row * columns + right
    above, across = here + columns, beside + columns
    return np.concatenate(
        [np.stack([here, beside, across], 1), np.stack([here, across, above], 1)]
    ).astype(np.int32)


def tube(
    path: np.ndarray, reference: np.ndarray, half_widths: np.ndarray, sides: int, closed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """A tube of elliptic section along a path.

    Args:
        path: (n, 3) points.
        reference: (3,) a direction that is never along the path.
        half_widths: (n, 2) of the section: across both path and reference, and along the reference.
        sides: of the section's polygon.
        closed: whether the last point is joined to the first.

    Returns:
        (n * sides, 3) float32 vertices and (T, 3) int32 triangles.
    """
    ahead, behind = np.roll(path, -1, 0), np.roll(path, 1, 0)
    if not closed:
        ahead[-1], behind[0] = path[-1], path[0]
    tangent = normalise(ahead - behind)
    across = normalise(np.cross(tangent, reference))
    along = np.cross(across, tangent)
    angle = (
        -2 * np.pi * np.arange(sides) / sides
    )  # clockwise about the path, so that faces look out
    # (n, sides, 3)
    vertices = (
        path[:, None]
        + across[:, None] * (half_widths[:, :1] * np.cos(angle))[..., None]
        + along[:, None] * (half_widths[:, 1:] * np.sin(angle))[..., None]
    )
    count = len(path)
    triangles = lattice_triangles(count + closed, sides, wrapped=True) % (count * sides)
    return vertices.reshape(-1, 3).astype(np.float32), triangles
