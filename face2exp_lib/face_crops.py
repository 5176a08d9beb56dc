"""Whole pictures cropped to their face by a detector, as the networks want them."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.images import CroppedImages, Images, decode_whole

BATCH = 8  # whole photos in memory at a time
MARGIN = 0.15  # of the box's longer side, added on each side: a detector's box cuts brow and chin


class Detector(Protocol):
    """Finds one face in each picture, such as `mtcnn.Detector`."""

    def detect(self, images: Sequence[Image.Image]) -> Any:
        """What has `boxes`: (N, 4) left, top, right, bottom in px, NaN where no face was found."""
        ...


def crop_to_faces(
    images: Images, detector: Detector, left_out: list[str] | None = None
) -> CroppedImages:
    """The square around the face of each picture, `MARGIN` wider than its box.

    Where the square reaches over the picture's edge it ends there.

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
                    boxes.append(_square(box))
                    continue
                message = f"{images.ids[index]}: no face found: crop it by hand, or leave it out"
                if left_out is None:
                    raise Face2ExpError(message)
                left_out.append(message)
            bar.update(len(batch))
    rows = SomeImages(images, kept)
    return CroppedImages(rows, rows.ids, np.array(boxes).reshape(-1, 4))


class SomeImages:
    """Some rows of other images."""

    def __init__(self, images: Images, rows: Sequence[int]) -> None:
        self.ids: Sequence[str] = [images.ids[row] for row in rows]
        self._images, self._rows = images, rows

    def read(self, index: int) -> bytes:
        return self._images.read(self._rows[index])

    def open(self, index: int) -> Image.Image:
        return self._images.open(self._rows[index])


def _square(box: np.ndarray) -> np.ndarray:
    centre = (box[:2] + box[2:]) / 2
    half = (0.5 + MARGIN) * (box[2:] - box[:2]).max()
    return np.concatenate([centre - half, centre + half])
