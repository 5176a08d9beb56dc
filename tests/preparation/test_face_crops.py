"""Pictures cropped to what a detector of known answers finds."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.preparation import face_crops
from face2exp_lib.preparation.face_crops import PhotoFace, crop_to_every_face, crop_to_faces
from face2exp_lib.runtime.errors import Face2ExpError


class ByWhite:
    """Finds the white rectangle of a picture; and, of all, its left and its right half."""

    def detect(self, images: Sequence[Image.Image]) -> SimpleNamespace:
        boxes = []
        for image in images:
            rows, columns = np.nonzero(np.asarray(image)[..., 0] > 200)
            boxes.append(
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                if len(rows)
                else [np.nan] * 4
            )
        return SimpleNamespace(boxes=np.array(boxes, np.float32))

    def detect_all(self, images: Sequence[Image.Image]) -> list[SimpleNamespace]:
        found = []
        for left, top, right, bottom in self.detect(images).boxes:
            middle = (left + right) / 2
            halves = [[left, top, middle, bottom], [middle, top, right, bottom]]
            boxes = np.array(halves if left >= 0 else (), np.float32).reshape(-1, 4)
            scores = np.array([0.75, 1])[: len(boxes)]
            found.append(SimpleNamespace(boxes=boxes, probability=scores))
        return found


@pytest.fixture
def pictures(tmp_path: Path) -> FileImages:
    boxes = {"middle": (40, 30, 60, 50), "corner": (0, 0, 20, 10), "none": None}
    for name, box in boxes.items():
        image = Image.new("RGB", (100, 80))
        if box:
            image.paste((255, 255, 255), box)
        image.save(tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    return FileImages(tmp_path, ["middle.png", "broken.png", "none.png", "corner.png"])


def test_squares_around_the_faces(pictures: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 px wide: 2 px more on each side. Beyond the corner the edge goes on."""
    monkeypatch.setattr(face_crops, "BATCH", 2)
    left_out: list[str] = []
    cropped = crop_to_faces(pictures, ByWhite(), left_out)
    assert cropped.ids == ["middle.png", "corner.png"]
    assert cropped.squares.tolist() == [[38, 28, 62, 52], [-2, -7, 22, 17]]
    middle = np.asarray(cropped.open(0))[..., 0]
    assert middle.shape == (24, 24)
    assert middle[2:22, 2:22].min() == 255
    assert middle.sum() == 255 * 400
    corner = np.asarray(cropped.open(1))[..., 0]
    assert corner.shape == (24, 24)
    assert corner[:17, :22].min() == 255
    assert corner.sum() == 255 * 17 * 22
    assert [text.split(": ", 1)[1][:13] for text in left_out] == ["not a readabl", "no face found"]


def test_squares_around_every_face(pictures: FileImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of 10 px in width and 20 in height: squares of 24 px round their middles."""
    monkeypatch.setattr(face_crops, "BATCH", 2)
    left_out: list[str] = []
    cropped, faces = crop_to_every_face(pictures, ByWhite(), left_out)
    assert cropped.ids == ["middle.png", "middle.png", "corner.png", "corner.png"]
    assert cropped.squares[:2].tolist() == [[33, 28, 57, 52], [43, 28, 67, 52]]
    assert faces[:2] == [
        PhotoFace(1, 2, (40, 30, 50, 50), 0.75),
        PhotoFace(2, 2, (50, 30, 60, 50), 1.0),
    ]
    assert [face.box for face in faces[2:]] == [(0, 0, 10, 10), (10, 0, 20, 10)]
    assert np.asarray(cropped.open(1))[..., 0].sum() == 255 * 20 * (60 - 43)
    assert [text.split(": ", 1)[1][:13] for text in left_out] == ["not a readabl", "no face found"]
    with pytest.raises(Face2ExpError, match=r"broken\.png: not a readable image"):
        crop_to_every_face(pictures, ByWhite())
    pictures.ids = ["none.png"]
    with pytest.raises(Face2ExpError, match=r"none\.png: no face found: crop it by hand"):
        crop_to_every_face(pictures, ByWhite())
    cropped, faces = crop_to_every_face(pictures, ByWhite(), [])
    assert (list(cropped.ids), cropped.squares.shape, faces) == ([], (0, 4), [])


def test_without_a_list_the_first_is_an_error(pictures: FileImages) -> None:
    with pytest.raises(Face2ExpError, match=r"broken\.png: not a readable image"):
        crop_to_faces(pictures, ByWhite())
    pictures.ids = ["middle.png", "none.png"]
    with pytest.raises(Face2ExpError, match=r"none\.png: no face found: crop it by hand"):
        crop_to_faces(pictures, ByWhite())


def test_no_face_at_all_gives_no_crop(pictures: FileImages) -> None:
    pictures.ids = ["none.png"]
    cropped = crop_to_faces(pictures, ByWhite(), [])
    assert list(cropped.ids) == []
    assert cropped.squares.shape == (0, 4)
