"""Five points of a face: the eyes, the nose tip and the corners of the mouth.

Of each pair the first one is that on the left of the image. Whether five points can be those of a
face is told by their shape alone, in the frame of the face: down is from the middle of the eyes to
the middle of the mouth, right is a quarter turn from it, and the unit of length is the distance
between these middles. That distance stays when a face is seen from the side, where the eyes fall
together and the interocular distance says nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Of a face crop, x and y from 0 to 1: the template of 112 px to which the archives of FR faces
# (MS-Celeb-1M, Glint360K) are aligned (ArcFace, CVPR 2019), made symmetric.
CANONICAL_POINTS = np.array(
    [[0.342, 0.461], [0.658, 0.461], [0.500, 0.640], [0.370, 0.824], [0.630, 0.824]], np.float32
)
CANONICAL_POINTS.flags.writeable = False

FEWEST = 10  # faces from which the average one of a set is taken


class Shape(NamedTuple):
    """What five points look like; each (N,).

    Attributes:
        height: middle of the eyes to middle of the mouth, px: the unit of what follows.
        lean: of that line from the vertical, degrees, 180 upside down.
        eyes: how far the right eye lies to the right of the left one.
        mouth: the same for the corners of the mouth.
        nose_down, nose_aside: from the middle of the eyes to the nose tip.
        eyes_slant, mouth_slant: how far the right one of the pair lies below the left one.
        outside: of the point that lies farthest outside of the image, as a part of its longer side.
        of_image: height as a part of the image's longer side.
        of_box: height as a part of the box's longer side.
    """

    height: np.ndarray
    lean: np.ndarray
    eyes: np.ndarray
    mouth: np.ndarray
    nose_down: np.ndarray
    nose_aside: np.ndarray
    eyes_slant: np.ndarray
    mouth_slant: np.ndarray
    outside: np.ndarray
    of_image: np.ndarray
    of_box: np.ndarray


# Reason -> whether it holds. A face seen from the front, an upright head 0.95 wide at the eyes and
# 0.75 at the mouth, has its nose tip 0.6 down. The bounds leave room for heads turned, bent and
# leant by 60 degrees or so, and for what a detector misses by; a face beyond is not found by MTCNN.
RULES: dict[str, Callable[[Shape], np.ndarray]] = {
    "not finite": lambda s: ~np.isfinite(s.height + s.outside + s.nose_down),
    "a point far outside the image": lambda s: s.outside > 0.15,
    "eyes below the mouth": lambda s: s.lean > 75,
    "eyes exchanged": lambda s: s.eyes < -0.05,
    "corners of the mouth exchanged": lambda s: s.mouth < -0.05,
    "eyes too far apart": lambda s: s.eyes > 2.2,
    "mouth too wide": lambda s: s.mouth > 2.2,
    "nose not between eyes and mouth": lambda s: (s.nose_down < 0) | (s.nose_down > 1.25),
    "nose beside the face": lambda s: np.abs(s.nose_aside) > 1.1,
    "eyes and mouth askew": lambda s: np.maximum(abs(s.eyes_slant), abs(s.mouth_slant)) > 0.55,
    "out of proportion to the image": lambda s: (s.of_image < 0.01) | (s.of_image > 1),
    "out of proportion to the box": lambda s: (s.of_box < 0.12) | (s.of_box > 0.9),
}


def shape_of(points: np.ndarray, sizes: np.ndarray, boxes: np.ndarray | None = None) -> Shape:
    """The shape of faces.

    Args:
        points: (N, 5, 2) px.
        sizes: (N, 2) width and height of the images, px.
        boxes: (N, 4) left, top, right, bottom; without them `of_box` is that of the points' own
            box, three quarters enlarged.
    """
    points = points.astype(np.float64)
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    down = mouth - eyes
    height = np.hypot(down[:, 0], down[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        down = down / height[:, None]
        right = np.stack([down[:, 1], -down[:, 0]], 1)

        def along(vector: np.ndarray, axis: np.ndarray) -> np.ndarray:
            return np.asarray((vector * axis).sum(1) / height)

        longer = sizes.max(1)
        beyond = np.maximum(-points, points - sizes[:, None]).max((1, 2))
        if boxes is None:
            side = 1.75 * np.ptp(points, axis=1).max(1)
        else:
            side = (boxes[:, 2:] - boxes[:, :2]).max(1)
        of_eyes, of_mouth, of_nose = (
            points[:, 1] - points[:, 0],
            points[:, 4] - points[:, 3],
            points[:, 2] - eyes,
        )
        return Shape(
            height=height,
            lean=np.degrees(np.arccos(np.clip(down[:, 1], -1, 1))),
            eyes=along(of_eyes, right),
            mouth=along(of_mouth, right),
            nose_down=along(of_nose, down),
            nose_aside=along(of_nose, right),
            eyes_slant=along(of_eyes, down),
            mouth_slant=along(of_mouth, down),
            outside=beyond / longer,
            of_image=height / longer,
            of_box=height / side,
        )


def implausible(
    points: np.ndarray, sizes: np.ndarray, boxes: np.ndarray | None = None
) -> list[str]:
    """Why five points cannot be those of a face, one of `RULES`; empty where they can.

    Args:
        points, sizes, boxes: as for `shape_of`.
    """
    shape, reasons = shape_of(points, sizes, boxes), [""] * len(points)
    for reason, holds in reversed(RULES.items()):
        for index in np.flatnonzero(holds(shape)):
            reasons[index] = reason
    return reasons


def average_points(points: np.ndarray) -> np.ndarray:
    """The median of (N, 5, 2) relative points, or `CANONICAL_POINTS` if they are few: (5, 2)."""
    if len(points) < FEWEST:
        return CANONICAL_POINTS
    return np.median(points, axis=0).astype(np.float32)
