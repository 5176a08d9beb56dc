"""Whole pictures cropped to their face by a detector, as the networks want them."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.images import FaceSquares, Images, decode_whole
from face2exp_lib.sidecars import squares_round

BATCH = 8  # whole photos in memory at a time


class Detector(Protocol):
    """Finds one face in each picture, such as `mtcnn.Detector`."""

    def detect(self, images: Sequence[Image.Image]) -> Any:
        """What has `boxes`: (N, 4) left, top, right, bottom in px, NaN where no face was found."""
        ...


def crop_to_faces(
    images: Images, detector: Detector, left_out: list[str] | None = None
) -> FaceSquares:
    """The square round the face of each picture, the same that `crop: face` of a config cuts out.

    Args:
        left_out: if given, pictures that cannot be read or show no face are left out, and what is
            wrong with each is added here.

    Raises:
        Face2ExpError: naming the picture that cannot be read or shows no face.
    """
    kept: list[int] = []
    boxes: list[np.ndarray] = []
    numbers = range(len(images.ids))
    with tqdm(total=len(numbers), desc="find faces", unit="image", leave=False, delay=2) as bar:
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            readable, pictures = [], []
            for index in batch:
                try:
                    pictures.append(decode_whole(images, index))
                    readable.append(index)
                except Face2ExpError as error:
                    if left_out is None:
                        raise
                    left_out.append(str(error))
            found = detector.detect(pictures).boxes if pictures else ()
            for index, box in zip(readable, found, strict=True):
                if np.isfinite(box).all():
                    kept.append(index)
                    boxes.append(box)
                    continue
                message = f"{images.ids[index]}: no face found: crop it by hand, or leave it out"
                if left_out is None:
                    raise Face2ExpError(message)
                left_out.append(message)
            bar.update(len(batch))
    squares = squares_round(np.array(boxes).reshape(-1, 4))
    return FaceSquares(images.take(np.array(kept, dtype=np.int64)), squares)
