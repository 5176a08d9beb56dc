"""Whole pictures cropped to their faces by a detector, as the networks want them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image
from tqdm import tqdm

from face2exp_lib.data.sets.images import FaceSquares, Images, decode_whole
from face2exp_lib.data.sets.landmark_table import squares_round
from face2exp_lib.runtime.errors import Face2ExpError

BATCH = 8  # whole photos in memory at a time


class Detector(Protocol):
    """Finds faces in pictures, as `mtcnn.Detector`. Boxes are left, top, right, bottom in px."""

    def detect(self, images: Sequence[Image.Image]) -> Any:
        """What has `boxes`: (N, 4), NaN where no face was found."""
        ...

    def detect_all(self, images: Sequence[Image.Image]) -> Sequence[Any]:
        """For each picture what has `boxes`: (F, 4), and `probability`: (F,)."""
        ...


class PhotoFace(NamedTuple):
    """One of the faces of a photo.

    Attributes:
        number, of: from 1, from left to right, and how many the photo has.
        box: left, top, right, bottom in px of the upright image, which it may leave.
        score: the detector's, 0 to 1.
    """

    number: int
    of: int
    box: tuple[int, ...]
    score: float


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

    def detect(pictures: Sequence[Image.Image]) -> list[np.ndarray]:
        boxes = np.asarray(detector.detect(pictures).boxes)[:, None]
        return [box[np.isfinite(box).all(1)] for box in boxes]

    found = list(_look_through(images, detect, left_out))
    return _squares(images, [index for index, _ in found], [boxes for _, boxes in found])


def crop_to_every_face(
    images: Images, detector: Detector, left_out: list[str] | None = None
) -> tuple[FaceSquares, list[PhotoFace]]:
    """As `crop_to_faces` for all faces of each photo: a square for each, and which one it is."""
    scores: list[np.ndarray] = []

    def detect(pictures: Sequence[Image.Image]) -> list[np.ndarray]:
        all_faces = detector.detect_all(pictures)
        scores.extend(faces.probability for faces in all_faces if len(faces.boxes))
        return [faces.boxes for faces in all_faces]

    found = list(_look_through(images, detect, left_out))
    faces = [
        PhotoFace(number, len(boxes), tuple(box.round().astype(int).tolist()), float(score))
        for (_, boxes), of_photo in zip(found, scores, strict=True)
        for number, (box, score) in enumerate(zip(boxes, of_photo, strict=True), 1)
    ]
    rows = [index for index, boxes in found for _ in boxes]
    return _squares(images, rows, [boxes for _, boxes in found]), faces


def _look_through(
    images: Images,
    detect: Callable[[Sequence[Image.Image]], list[np.ndarray]],
    left_out: list[str] | None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Each picture that shows a face, and the boxes (F, 4) that `detect` found in it."""
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
            found = detect(pictures) if pictures else ()
            for index, boxes in zip(readable, found, strict=True):
                if len(boxes):
                    yield index, boxes
                    continue
                message = f"{images.ids[index]}: no face found: crop it by hand, or leave it out"
                if left_out is None:
                    raise Face2ExpError(message)
                left_out.append(message)
            bar.update(len(batch))


def _squares(images: Images, rows: list[int], boxes: list[np.ndarray]) -> FaceSquares:
    squares = squares_round(np.concatenate([np.empty((0, 4), np.float32), *boxes]))
    return FaceSquares(images.take(np.array(rows, dtype=np.int64)), squares)
