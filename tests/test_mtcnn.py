"""The detector on the embedded faces, whose true points are known."""

import csv
import sys

import numpy as np
import pytest
from PIL import Image, ImageOps

from face2exp_lib.adapters.rendered import read_rendered
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.images import decode_whole
from face2exp_lib.mtcnn import SEARCHES, Detector, Search
from face2exp_lib.shipped import shipped

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
