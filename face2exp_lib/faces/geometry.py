"""Small vector geometry on (n, 3) float32 arrays.

Products with 3x3 matrices are written out instead of using BLAS, whose rounding depends on the
CPU's kernel: the same spec must give the same bytes.
"""

import numpy as np


def smoothstep(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Cubic ramp from 0 at `low` to 1 at `high`, flat outside."""
    ramp = np.clip((value - low) / (high - low), 0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    """exp(-(distance / width)^2): a soft spot of the given width."""
    return np.exp(-((distance / width) ** 2))


def dot(points: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(n,) dot products of (n, 3) points with one vector."""
    x, y, z = np.asarray(vector, np.float32)
    return points[:, 0] * x + points[:, 1] * y + points[:, 2] * z


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """points @ matrix.T for (n, 3) points and a (3, 3) matrix."""
    matrix = np.asarray(matrix, np.float32)
    return (
        points[:, :1] * matrix[:, 0] + points[:, 1:2] * matrix[:, 1] + points[:, 2:3] * matrix[:, 2]
    )


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation by angles in radians: first pitch about x, then yaw about y, then roll."""
    cos_y, sin_y = np.cos(yaw), np.sin(yaw)
    cos_p, sin_p = np.cos(pitch), np.sin(pitch)
    cos_r, sin_r = np.cos(roll), np.sin(roll)
    about_y = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    about_x = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
    about_z = np.array([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, area-weighted over the triangles that meet at each vertex."""
    corner = vertices[triangles]
    face = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    owner = triangles.ravel()
    weights = np.repeat(face, 3, axis=0)
    total = np.stack(
        [np.bincount(owner, weights[:, axis], minlength=len(vertices)) for axis in range(3)], 1
    )
    return normalise(total).astype(np.float32)
