"""The detector on the embedded faces, whose true points are known."""

import csv
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.preparation.mtcnn import SEARCHES, Detector, Search
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped

facenet = pytest.importorskip("facenet_pytorch", reason="the extra `landmarks` is missing")

COUNT = 24
NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@pytest.fixture(scope="module")
def faces() -> list[Image.Image]:
    """Enlarged to 128 px."""
    part = read_rendered(shipped("data/rendered"), "fer_test", "names")
    return [decode_whole(part.images, index).resize((128, 128)) for index in range(COUNT)]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    with (shipped("data/rendered") / "fer_test.csv").open(newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(COUNT), strict=False)]
    return 2 * np.array([[[float(r[f"{n}_{axis}"]) for axis in "xy"] for n in NAMES] for r in rows])


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


def error(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N,) in interocular distances."""
    interocular = np.linalg.norm(truth[:, 1] - truth[:, 0], axis=1)
    of_faces: np.ndarray = np.linalg.norm(found - truth, axis=2).mean(1) / interocular
    return of_faces


def test_points_are_near_the_truth(
    detector: Detector, faces: list[Image.Image], truth: np.ndarray
) -> None:
    found = detector.detect(faces)
    assert (found.faces == 1).all()
    assert (found.probability > 0.7).all()
    assert np.median(error(found.points, truth)) < 0.09
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    assert (np.abs(middle - truth[:, 2]) < 30).all()


def test_a_face_does_not_depend_on_the_images_beside_it(
    detector: Detector, faces: list[Image.Image]
) -> None:
    """Nor on their sizes: every value is the same to the last bit."""
    together = detector.detect(faces)
    alone = [detector.detect([face]) for face in faces]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert np.array_equal(whole, np.concatenate(parts))
    mixed = detector.detect([faces[0], faces[1].resize((90, 140)), faces[2].crop((0, 0, 128, 100))])
    assert np.array_equal(mixed.points[0], together.points[0])


def test_points_are_in_px_of_each_image(
    detector: Detector, faces: list[Image.Image], truth: np.ndarray
) -> None:
    wide = [ImageOps.expand(face, (0, 0, 60, 0), fill=(90, 90, 90)) for face in faces]
    large = [face.resize((512, 512)) for face in faces]
    for images, scale in ((wide, 1), (large, 4)):
        found = detector.detect(images)
        assert np.median(error(found.points / scale, truth)) < 0.09


def test_a_box_may_leave_the_image(
    detector: Detector, faces: list[Image.Image], truth: np.ndarray
) -> None:
    """Cut just above the eyes and just below the mouth, where facenet-pytorch bends the face."""
    top = (truth[:, :2, 1].min(1) - 14).astype(int)
    bottom = (truth[:, 3:, 1].max(1) + 10).astype(int)
    cut = [face.crop((0, t, 128, b)) for face, t, b in zip(faces, top, bottom, strict=True)]
    found = detector.detect(cut)
    seen = found.faces > 0
    assert seen.mean() > 0.8
    outside = (found.boxes[seen, 1] < 0) | (found.boxes[seen, 3] > (bottom - top)[seen])
    assert outside.mean() > 0.8
    moved = truth - np.stack([0 * top, top], 1)[:, None]
    assert np.median(error(found.points[seen], moved[seen])) < 0.12


def test_nothing_is_found_where_nothing_is(detector: Detector, faces: list[Image.Image]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    found = detector.detect([Image.new("RGB", (64, 64)), faces[0], Image.fromarray(noise)])
    assert found.faces.tolist() == [0, 1, 0]
    assert np.isnan(found.points[[0, 2]]).all()
    assert np.isnan(found.boxes[[0, 2]]).all()
    assert np.isnan(found.probability[[0, 2]]).all()
    assert len(detector.detect([]).faces) == 0


def test_of_two_faces_the_large_central_one_is_kept(faces: list[Image.Image]) -> None:
    photo = Image.new("RGB", (400, 300), (120, 120, 120))
    photo.paste(faces[0].resize((150, 150)), (130, 80))
    photo.paste(faces[1].resize((90, 90)), (300, 10))
    found = Detector("photo").detect([photo])
    assert found.faces.tolist() == [2]
    left, top, right, bottom = found.boxes[0]
    assert 130 < (left + right) / 2 < 280
    assert 80 < (top + bottom) / 2 < 230


def photo(
    faces: list[Image.Image], *places: tuple[int, int, int], size: tuple[int, int] = (900, 400)
) -> Image.Image:
    """Faces pasted at x, y, side, the first at the first place."""
    picture = Image.new("RGB", size, (120, 120, 120))
    for face, (x, y, side) in zip(faces, places, strict=False):
        picture.paste(face.resize((side, side)), (x, y))
    return picture


def middles(boxes: np.ndarray) -> np.ndarray:
    middle: np.ndarray = (boxes[:, :2] + boxes[:, 2:]) / 2
    return middle


def test_all_faces_of_photos_from_left_to_right(faces: list[Image.Image]) -> None:
    """Three, the first pasted on the right; none; one that the left edge cuts."""
    places = ((640, 90, 200), (340, 60, 240), (40, 80, 200))
    photos = [photo(faces, *places), photo(faces), photo(faces, (-40, 100, 200))]
    found = Detector("group").detect_all(photos)
    assert [len(of_photo.boxes) for of_photo in found] == [3, 0, 1]
    expected = [(140, 180), (460, 180), (740, 190)]
    assert np.abs(middles(found[0].boxes) - expected).max() < 50
    assert np.abs(middles(found[2].boxes) - (60, 200)).max() < 50
    assert found[2].boxes[0, 0] < 20
    for of_photo in found:
        assert of_photo.probability.shape == (len(of_photo.boxes),)
        assert ((of_photo.probability > 0.7) & (of_photo.probability <= 1)).all()


def test_all_faces_do_not_depend_on_the_photos_beside_them(faces: list[Image.Image]) -> None:
    detector = Detector("group")
    photos = [photo(faces, (40, 80, 200), (500, 60, 90)), photo(faces[3:], (10, 10, 380))]
    together = detector.detect_all(photos)
    alone = [detector.detect_all([each])[0] for each in photos]
    assert [len(each.boxes) for each in together] == [2, 1]
    for one, other in zip(together, alone, strict=True):
        for values, same in zip(one, other, strict=True):
            assert np.array_equal(values, same)
    assert detector.detect_all([]) == []


def test_a_group_is_told_whole(faces: list[Image.Image]) -> None:
    """More, and smaller ones, than `detect` looks for."""
    places = [(20 + 90 * column, 20 + 100 * row, 70) for row in range(4) for column in range(6)]
    (found,) = Detector("group").detect_all([photo(faces, *places, size=(1200, 500))])
    assert len(found.boxes) == 24 == len({tuple(middle // 90) for middle in middles(found.boxes)})
    assert (np.diff(middles(found.boxes)[:, 0]) >= 0).all()


def test_one_face_has_one_box_and_none_beyond_the_picture(
    faces: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three boxes of one face, and one whose middle is outside."""
    detector = Detector("group")
    boxes = torch.tensor(
        [[400, 400, 600, 600], [410, 400, 610, 600], [390, 410, 590, 610], [0, 0, 90, 90]]
    ).float()
    score, margin = torch.tensor([2.0, 3.0, 1.0, 4.0]), round(0.1 * 1024)
    monkeypatch.setattr(
        detector, "_find", lambda images, search: (torch.empty(0), boxes, torch.zeros(4).long())
    )
    monkeypatch.setattr(detector, "_look", lambda canvas, looked, of_image: (boxes, score, None))
    (found,) = detector.detect_all([Image.new("RGB", (1024, 1024))])
    assert found.boxes.tolist() == [[410 - margin, 400 - margin, 610 - margin, 600 - margin]]
    assert found.probability.tolist() == pytest.approx([1 / (1 + np.exp(-3))])


def test_scales_are_chosen_by_the_faces_that_are_looked_for() -> None:
    search = Search(canvas=100, margin=0.5, smallest=0.5, largest=0.8, boxes=1, faces=1)
    # A face of half the image is a quarter of the canvas with its margins: 12 of 48 px.
    assert search.scaled_sides() == [48, 34]
    assert max(SEARCHES["crop"][0].scaled_sides()) < 50
    assert max(SEARCHES["photo"][0].scaled_sides()) > 300


def test_without_facenet_pytorch_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(Face2ExpError, match=r"pip install 'face2exp-lib\[landmarks\]'"):
        Detector()
