"""CelebA's lists of persons, landmarks and parts."""

from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.formats.celeba import read_celeba, recognise
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import celeba, put

PEOPLE = {"000001.jpg": 2880, "000002.jpg": 2937, "000003.jpg": 2880}


def test_identities_and_landmarks(tmp_path: Path) -> None:
    root = celeba(tmp_path, PEOPLE)
    faces = read_celeba(root, "", "")
    assert faces.labels is None
    assert faces.identities is not None
    assert faces.identities.tolist() == ["2880", "2937", "2880"]
    assert faces.landmarks is not None
    assert faces.landmarks.shape == (3, 5, 2)
    assert faces.landmarks[1].tolist() == [[69, 109], [106, 113], [77, 142], [73, 152], [108, 155]]
    assert recognise(root) == [""]
    assert read_celeba(root, "val", "").ids == ["000002.jpg"]
    with pytest.raises(Face2ExpError, match="no part 'dev': CelebA has train, val, test"):
        read_celeba(root, "dev", "")


def test_lists_in_the_folders_of_the_download(tmp_path: Path) -> None:
    root = celeba(tmp_path, PEOPLE)
    for name in ("identity_CelebA.txt", "list_landmarks_align_celeba.txt"):
        put(root / "Anno" / name, (root / name).read_bytes())
        (root / name).unlink()
    (root / "Img").mkdir()
    (root / "img_align_celeba").rename(root / "Img" / "img_align_celeba")
    faces = read_celeba(root, "train", "")
    assert (faces.ids, faces.landmarks is None) == (["000001.jpg"], False)


def test_every_line_of_the_partition_counts(tmp_path: Path) -> None:
    root = celeba(tmp_path, PEOPLE)
    table = root / "list_eval_partition.txt"
    table.write_text("000001.jpg 0\n000002.jpg\n")
    with pytest.raises(Face2ExpError, match=r"partition\.txt, line 2: needs a name and its part's"):
        read_celeba(root, "train", "")
    faces = read_celeba(root, "train", "", skip_bad=True)
    assert faces.ids == ["000001.jpg"]
    assert [(s.image, s.reason) for s in faces.skipped] == [
        ("line 2", "needs a name and its part's number, 0 to 2"),
        ("000002.jpg", "an image of no part"),
        ("000003.jpg", "an image of no part"),
    ]


def test_landmarks_without_the_two_lines_before_them(tmp_path: Path) -> None:
    root = celeba(tmp_path, PEOPLE)
    table = root / "list_landmarks_align_celeba.txt"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[2:]))
    assert len(read_celeba(root, "", "")) == 3


def test_without_landmarks(tmp_path: Path) -> None:
    faces = read_celeba(celeba(tmp_path, PEOPLE, landmarks=False), "", "")
    assert faces.landmarks is None
    assert len(faces) == 3


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("identity_CelebA.txt", "000002.jpg 2937", "000002.jpg", "line 2: needs a name and a pers"),
        ("identity_CelebA.txt", "000002.jpg", "000009.jpg", "line 2: no such image"),
        ("identity_CelebA.txt", "000002.jpg", "../x.jpg", "line 2: the path leaves"),
        ("identity_CelebA.txt", "000002.jpg", "000001.jpg", "line 2: two rows of one image"),
        ("list_landmarks_align_celeba.txt", "  155\n", "\n", "line 4: needs 10 finite"),
        ("list_landmarks_align_celeba.txt", "  155\n", "  nan\n", "line 4: needs 10 finite"),
        ("list_landmarks_align_celeba.txt", "000002.jpg", "000007.jpg", "no landmarks of 000002"),
    ],
)
def test_broken_lists(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    root = celeba(tmp_path, PEOPLE)
    text = (root / name).read_text()
    assert old in text
    put(root / name, text.replace(old, new, 1))
    with pytest.raises(Face2ExpError, match=message):
        read_celeba(root, "", "")
    faces = read_celeba(root, "", "", skip_bad=True)
    assert len(faces) == (1 if "two rows" in message else 2)
    assert faces.landmarks is not None
    assert np.isfinite(faces.landmarks).all()
