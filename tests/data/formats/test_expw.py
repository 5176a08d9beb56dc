"""ExpW's list of faces in photos."""

from pathlib import Path

import pytest

from face2exp_lib.data.formats.expw import read_expw, recognise
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import expw, put

# name, face_id, top, left, right, bottom, confidence, label
LINES = [
    "angry_actor_1.jpg 0 2 10 30 22 22.9 0",
    "angry_actor_1.jpg 1 5 35 50 20 12.1 3",
    "happy_boy_2.jpg 0 0 0 60 40 50.0 6",
]


def test_every_face_of_a_photo(tmp_path: Path) -> None:
    root = expw(tmp_path, LINES)
    faces = read_expw(root, "", "fer2013")
    assert faces.ids == ["angry_actor_1.jpg#0", "angry_actor_1.jpg#1", "happy_boy_2.jpg#0"]
    assert faces.known_labels().tolist() == [
        Expression.ANGER,
        Expression.HAPPY,
        Expression.NEUTRAL,
    ]
    sizes = []
    for index in range(3):
        with faces.images.open(index) as image:
            sizes.append(image.size)
    assert sizes == [(20, 20), (15, 15), (60, 40)]
    assert recognise(root) == [""]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("happy_boy_2.jpg 1 0 0 60 40 50.0", "needs 8 values"),
        ("happy_boy_2.jpg 1 nan 0 60 40 50.0 6", r"the face's box is none \(nan, 0, 60, 40\)"),
        ("happy_boy_2.jpg 1 0 60 0 40 50.0 6", "the face's box is none"),
        ("happy_boy_2.jpg 1 0 0 60 40 50.0 7", "unknown label '7'"),
        ("gone.jpg 1 0 0 60 40 50.0 6", "no such image"),
        ("../label/label.lst 1 0 0 60 40 50.0 6", "the path leaves the folder"),
        (LINES[2], "an image's second row"),
        ("happy_boy_2.jpg 0 0 0 60 40 50.0 3", "two rows of one image contradict"),
    ],
)
def test_broken_line(tmp_path: Path, line: str, message: str) -> None:
    root = expw(tmp_path, LINES)
    put(root / "label" / "label.lst", "\n".join([*LINES, line]) + "\n")
    with pytest.raises(Face2ExpError, match=r"label\.lst, line 4: " + message):
        read_expw(root, "", "fer2013")
    faces = read_expw(root, "", "fer2013", skip_bad=True)
    assert len(faces) == (2 if "contradict" in message else 3)
    assert all(skipped.bad for skipped in faces.skipped)


def test_missing_pieces(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"list of labels is missing: expected label\.lst or"):
        read_expw(tmp_path, "", "fer2013")
    put(tmp_path / "label.lst", LINES[0])
    with pytest.raises(Face2ExpError, match="folder of images is missing: expected image/origin"):
        read_expw(tmp_path, "", "fer2013")
