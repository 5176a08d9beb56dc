"""Small vector geometry on float32 arrays, compiled.

Products with 3x3 matrices are written out instead of using BLAS, whose rounding depends on the
CPU's kernel: the same spec must give the same bytes.
"""

import numpy as np

from face2exp_lib.rendering.compiled import compile_loop

SMALLEST_LENGTH = 1e-9  # keeps the direction of a zero vector finite


def empty_vectors(count: int, axes: int = 3) -> np.ndarray:
    """(count, axes) float32, not filled, each column contiguous.

    numpy is several times as fast on such columns as on the columns of an ordinary array.
    """
    return np.empty((axes, count), np.float32).T


@compile_loop
def _smooth(ramp):  # type: ignore[no-untyped-def]
    zero, one, two, three = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
    for i in range(ramp.shape[0]):
        part = min(max(ramp[i], zero), one)
        ramp[i] = part * part * (three - two * part)


def smoothstep(value: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 at `low` to 1 at `high`, flat outside; float32."""
    ramp = np.asarray(np.subtract(value, low, dtype=np.float32, order="C"))
    ramp /= np.subtract(high, low, dtype=np.float32)
    _smooth(ramp.reshape(-1))
    return ramp


def gaussian(distance: np.ndarray, width: float) -> np.ndarray:
    """exp(-(distance / width)^2): a soft spot of the given width; float32."""
    scaled = np.asarray(distance, np.float32) / np.float32(width)
    return np.exp(-scaled * scaled)


def dot(points: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """(n,) dot products of (n, 3) points with one vector."""
    x, y, z = np.asarray(vector, np.float32)
    return points[:, 0] * x + points[:, 1] * y + points[:, 2] * z


@compile_loop
def _transform(points, matrix, out):  # type: ignore[no-untyped-def]
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for axis in range(3):
            out[i, axis] = x * matrix[axis, 0] + y * matrix[axis, 1] + z * matrix[axis, 2]


def transform(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """points @ matrix.T for (n, 3) points and a (3, 3) matrix; float32."""
    points = np.ascontiguousarray(points, np.float32)
    out = np.empty_like(points)
    _transform(points, np.ascontiguousarray(matrix, np.float32), out)
    return out


@compile_loop
def _normalise(vectors):  # type: ignore[no-untyped-def]
    for i in range(vectors.shape[0]):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        length = np.sqrt(x * x + y * y + z * z) + SMALLEST_LENGTH
        vectors[i, 0], vectors[i, 1], vectors[i, 2] = x / length, y / length, z / length


def normalise(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) vectors scaled to length 1; float32."""
    scaled = np.array(vectors, np.float32, order="C")
    _normalise(scaled.reshape(-1, 3))
    return scaled


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) rotation by angles in radians: first pitch about x, then yaw about y, then roll."""
    cos_y, sin_y = np.cos(yaw), np.sin(yaw)
    cos_p, sin_p = np.cos(pitch), np.sin(pitch)
    cos_r, sin_r = np.cos(roll), np.sin(roll)
    about_y = np.array([[cos_y, 0, sin_y], [0, 1, 0], [-sin_y, 0, cos_y]])
    about_x = np.array([[1, 0, 0], [0, cos_p, -sin_p], [0, sin_p, cos_p]])
    about_z = np.array([[cos_r, -sin_r, 0], [sin_r, cos_r, 0], [0, 0, 1]])
    return (about_z @ about_y @ about_x).astype(np.float32)


@compile_loop
def _add_face_normals(vertices, triangles, total):  # type: ignore[no-untyped-def]
    for k in range(triangles.shape[0]):
        i, j, m = triangles[k, 0], triangles[k, 1], triangles[k, 2]
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ax, ay, az = vertices[j, 0] - x, vertices[j, 1] - y, vertices[j, 2] - z
        bx, by, bz = vertices[m, 0] - x, vertices[m, 1] - y, vertices[m, 2] - z
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for corner in (i, j, m):
            total[corner, 0] += nx
            total[corner, 1] += ny
            total[corner, 2] += nz


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals, area-weighted over the triangles that meet at each vertex.

    A vertex without a triangle has the zero vector.
    """
    total = np.zeros((len(vertices), 3), np.float32)
    _add_face_normals(np.ascontiguousarray(vertices, np.float32), triangles, total)
    return normalise(total)
