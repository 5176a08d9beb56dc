"""The packed hand, a left one, and how its fingers bend.

It is described in a frame of its own: origin at the wrist, first axis towards the thumb, second
along the fingers, third out of the palm.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from face2exp_lib.rendering.assets import PACK
from face2exp_lib.rendering.compiled import compile_loop
from face2exp_lib.rendering.geometry import normalise, smoothstep, transform
from face2exp_lib.rendering.raster import EMPTY_DEPTH

NUM_FINGERS, NUM_JOINTS = 5, 3  # thumb first, knuckle first
THUMB, INDEX, MIDDLE, LITTLE = 0, 1, 2, 4


@compile_loop
def _bend_loop(points, weights, joints, axis, fan, angles, moved):  # type: ignore[no-untyped-def]
    cos_fan, sin_fan = np.cos(fan), np.sin(fan)
    a, b, c = axis[0], axis[1], axis[2]
    start_x, start_y, start_z = joints[0, 0], joints[0, 1], joints[0, 2]
    count = points.shape[0]
    for bone in range(angles.shape[0]):
        cos, sin = np.cos(angles[bone]), np.sin(angles[bone])
        end_x, end_y, end_z = start_x, start_y, start_z
        for i in range(count + 1):  # the last round moves the joint at the bone's end
            if i < count:
                x, y, z = points[i, 0], points[i, 1], points[i, 2]
            else:
                x, y, z = joints[bone + 1, 0], joints[bone + 1, 1], joints[bone + 1, 2]
            u, v, w = x - joints[bone, 0], y - joints[bone, 1], z - joints[bone, 2]
            # Rodrigues: about the finger's axis, then the fan about the palm's direction.
            along = (a * u + b * v + c * w) * (1 - cos)
            p = u * cos + (b * w - c * v) * sin + a * along
            q = v * cos + (c * u - a * w) * sin + b * along
            r = w * cos + (a * v - b * u) * sin + c * along
            turned_x = p * cos_fan - q * sin_fan + start_x
            turned_y = p * sin_fan + q * cos_fan + start_y
            turned_z = r + start_z
            if i < count:
                weight = weights[i, bone]
                moved[i, 0] += weight * (turned_x - x)
                moved[i, 1] += weight * (turned_y - y)
                moved[i, 2] += weight * (turned_z - z)
            else:
                end_x, end_y, end_z = turned_x, turned_y, turned_z
        start_x, start_y, start_z = end_x, end_y, end_z


@compile_loop
def _clearance_loop(points, depth, empty, centre_x, centre_y, scale):  # type: ignore[no-untyped-def]
    last = depth.shape[0] - 1
    smallest = np.inf
    for i in range(points.shape[0]):
        column = int((points[i, 0] - centre_x) * scale + 0.5 * (last + 1))
        row = int((points[i, 1] - centre_y) * scale + 0.5 * (last + 1))
        nearest = depth[min(max(row, 0), last), min(max(column, 0), last)]
        if nearest > empty:
            smallest = min(smallest, -points[i, 2] - nearest)
    return smallest


def clearance(points: np.ndarray, depth: np.ndarray, view: np.ndarray) -> float:
    """How far points can move towards the face before one meets it; below 0 if one is inside.

    Args:
        points: (n, 3) in the hand's frame.
        depth: (m, m) the face as the palm sees it, larger is nearer.
        view: centre of `depth` in the hand's frame, towards thumb and along the fingers, and its
            pixels per decimetre.
    """
    return float(_clearance_loop(points, depth, EMPTY_DEPTH, view[0], view[1], view[2]))


@dataclass(frozen=True)
class HandMesh:
    """The left hand and forearm in its own frame, decimetres.

    Attributes:
        vertices: (V, 3); triangles: (T, 3) int32.
        weights: (V, 5, 3) how far a vertex follows each finger bone.
        joints: (5, 4, 3) joints and tip of each finger.
        redness: (V,) 1 at joints and fingertips.
        tip: (V,) 1 on the last bones of the fingers, where nails are.
        axes: (5, 3) what each finger bends about, so that it closes with a positive angle.
        members: of each finger, the vertices that follow its bones.
        handedness: 1 if the frame is right-handed, else -1.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    joints: np.ndarray
    redness: np.ndarray
    tip: np.ndarray
    axes: np.ndarray
    members: tuple[np.ndarray, ...]
    handedness: float

    def bend_finger(self, finger: int, size: float, fan: float, angles: np.ndarray) -> np.ndarray:
        """How far a finger's vertices move when it bends.

        Args:
            finger: 0 the thumb to 4 the little finger.
            size: factor on the hand.
            fan: radians by which the finger turns away from the thumb.
            angles: (3,) radians by which each bone is turned.

        Returns:
            (n, 3) float32 decimetres, for the vertices `members[finger]`.
        """
        members = self.members[finger]
        moved = np.zeros((len(members), 3), np.float32)
        _bend_loop(
            self.vertices[members] * np.float32(size),
            self.weights[members, finger],
            self.joints[finger] * np.float32(size),
            self.axes[finger],
            fan,
            angles,
            moved,
        )
        return moved


@cache
def load_hand() -> HandMesh:
    """Read the hand from the pack, once per process."""
    with np.load(PACK) as pack:
        vertices, triangles = pack["hand_vertices"], pack["hand_triangles"].astype(np.int32)
        joints, wrist = pack["hand_joints"], pack["hand_wrist"]
        weights = pack["hand_weights"].astype(np.float32) / 255
    knuckles = joints[:, 0]
    along = knuckles[MIDDLE] - wrist
    along /= np.linalg.norm(along)
    thumbward = knuckles[INDEX] - knuckles[LITTLE]
    thumbward -= along * (thumbward * along).sum()
    thumbward /= np.linalg.norm(thumbward)
    palmward = np.cross(thumbward, along)
    # The thumb and relaxed fingers lie on the palm's side of the knuckles.
    inward = ((joints[:, 3] - knuckles) * palmward).sum()
    handedness = 1.0 if inward > 0 else -1.0
    frame = np.stack([thumbward, along, palmward * handedness])
    joints = transform((joints - wrist).reshape(-1, 3), frame).reshape(joints.shape)
    directions = normalise(joints[:, 3] - joints[:, 0])
    towards = np.tile([0.0, 0, 1], (NUM_FINGERS, 1))
    towards[THUMB] = normalise(np.array([-0.55, 0.1, 0.85]))  # it closes over the palm
    axes = normalise(np.cross(directions, towards))
    vertices = transform(vertices - wrist, frame)
    distance = np.linalg.norm(vertices[:, None] - joints.reshape(1, -1, 3), axis=2).min(1)
    weights = weights.reshape(-1, NUM_FINGERS, NUM_JOINTS)
    return HandMesh(
        vertices=vertices,
        triangles=triangles,
        weights=weights,
        joints=joints.astype(np.float32),
        redness=(1 - smoothstep(distance, 0.04, 0.18)).astype(np.float32),
        tip=(weights[:, :, -1].max(1) > 0).astype(np.float32),
        axes=axes.astype(np.float32),
        members=tuple(np.flatnonzero(weights[:, f].any(1)) for f in range(NUM_FINGERS)),
        handedness=handedness,
    )
