"""What every set of faces has, whatever its layout."""

from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.sets.facesets import FaceSet, without_copies
from face2exp_lib.data.sets.images import CroppedImages, FileImages
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def test_subset_keeps_rows_together() -> None:
    labels, identities = np.array([5, 6, 7]), np.array(["x", "y", "z"])
    faces = FaceSet("all", FileImages(Path(), ["a", "b", "c"]), np.arange(3), labels, identities)
    part = faces.subset(np.array([2, 0]), "part").subset(np.array([0]))
    assert (part.name, part.ids, len(part)) == ("part", ["c"], 1)
    assert part.known_labels().tolist() == [7]
    assert part.identities is not None
    assert part.identities.tolist() == ["z"]


def test_without_copies_drops_candidates_whatever_their_name_and_label(tmp_path: Path) -> None:
    fill(tmp_path, {"train/happy/1.png": b"A", "train/sad/2.png": b"B", "train/sad/3.png": b"A"})
    fill(tmp_path, {"test/fear/9.png": b"A", "test/fear/8.png": b"C"})
    train = read_class_folders(tmp_path, "train", "names")
    test = read_class_folders(tmp_path, "test", "names")
    kept = without_copies(train, [test])
    assert kept.ids == ["sad/2.png"]
    assert kept.known_labels().tolist() == [Expression.SAD]
    assert len(test) == 2
    assert without_copies(train, []).ids == train.ids


@pytest.mark.parametrize("kind", ["gone", "folder", "dangling link"])
def test_image_that_cannot_be_hashed_is_named(tmp_path: Path, kind: str) -> None:
    fill(tmp_path, {"sad/1.png": b"A"})
    faces = read_class_folders(tmp_path, "", "names")
    path = tmp_path / "sad" / "1.png"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(Face2ExpError, match=r"sad/1\.png: not a readable image"):
        faces.digests()


def test_landmarks_and_distributions_follow_their_rows() -> None:
    points = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    shares = np.eye(3, 8, dtype=np.float32)
    faces = FaceSet(
        "all",
        FileImages(Path(), ["a", "b", "c"]),
        np.arange(3),
        landmarks=points,
        distributions=shares,
    )
    part = faces.subset(np.array([2, 1]))
    assert part.landmarks is not None
    assert part.distributions is not None
    assert part.landmarks[0, 0].tolist() == [20, 21]
    assert part.distributions[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]


def test_two_faces_of_one_photo_are_no_copies(tmp_path: Path) -> None:
    fill(tmp_path, {"a.jpg": b"A"})
    boxes = np.array([[0, 0, 9, 9], [9, 0, 20, 9], [0, 0, 9, 9]], dtype=np.float32)
    photos = FileImages(tmp_path, ["a.jpg"] * 3)
    faces = FaceSet("x", CroppedImages(photos, ["a#0", "a#1", "a#2"], boxes), np.arange(3))
    first, second, third = faces.digests()
    assert first == third != second
