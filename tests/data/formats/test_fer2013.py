"""Kaggle's table and FERPlus's votes."""

from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.formats.fer2013 import (
    read_fer2013_csv,
    read_ferplus,
    recognise_fer2013_csv,
    recognise_ferplus,
)
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import fer2013, fer2013_row, ferplus, jpeg, put

PIXELS = " ".join(str(i % 256) for i in range(48 * 48))


def fer_csv(tmp_path: Path, *rows: str, header: str = "emotion,pixels,Usage") -> Path:
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_fer2013_csv(tmp_path: Path) -> None:
    path = fer_csv(
        tmp_path, f"3,{PIXELS},Training", f"0,{PIXELS},PublicTest", f"6,{PIXELS},Training"
    )
    faces = read_fer2013_csv(path, "Training", "fer2013")
    assert faces.ids == ["Training_2", "Training_4"]
    assert faces.known_labels().tolist() == [Expression.HAPPY, Expression.NEUTRAL]
    image = decode(faces.images, 1, 48)
    assert image[:, 0, :3].tolist() == [[0, 1, 2]] * 3
    assert image[0, 1, 0] == 48
    assert len(read_fer2013_csv(path, "", "fer2013")) == 3


def test_fer2013_csv_as_a_spreadsheet_saves_it(tmp_path: Path) -> None:
    path = fer_csv(tmp_path, f"3,{PIXELS},Training")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_fer2013_csv(path, "Training", "fer2013")) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"9,{PIXELS},Training", r"line 3: unknown label '9'"),
        (f"3,{PIXELS} 1,Training", r"line 3: needs 2,304 pixels from 0 to 255"),
        (f"3,{PIXELS[:-3]}999,Training", r"line 3: needs 2,304 pixels"),
        (f"3,{PIXELS[:-3]}-1,Training", r"line 3: needs 2,304 pixels"),
        (f"3,{PIXELS[:-3]}1e3,Training", r"line 3: needs 2,304 pixels"),
        (f"3,{PIXELS[:-3]}{'9' * 30},Training", r"line 3: needs 2,304 pixels"),
        ("3,,Training", r"line 3: needs 2,304 pixels"),
        ("3", r"line 3: too few values"),
    ],
)
def test_broken_row_of_fer2013_csv(tmp_path: Path, row: str, message: str) -> None:
    path = fer_csv(tmp_path, f"3,{PIXELS},Training", row)
    with pytest.raises(Face2ExpError, match=r"fer2013\.csv, " + message):
        read_fer2013_csv(path, "Training", "fer2013")


def test_other_columns_other_part_and_no_row(tmp_path: Path) -> None:
    path = fer_csv(tmp_path, f"3,{PIXELS}", header="emotion,pixels")
    with pytest.raises(Face2ExpError, match=r"fer2013\.csv: column 'usage' is missing"):
        read_fer2013_csv(path, "Training", "fer2013")
    path = fer_csv(tmp_path, f"3,{PIXELS},Training")
    with pytest.raises(
        Face2ExpError, match=r"fer2013\.csv: no usable row with Usage 'PrivateTest'"
    ):
        read_fer2013_csv(path, "PrivateTest", "fer2013")


@pytest.mark.parametrize("name", ["fer2013.csv", "icml_face_data.csv", "any.csv"])
def test_kaggles_table_is_told_by_its_columns(tmp_path: Path, name: str) -> None:
    """`icml_face_data.csv` has blanks in its first line and another order."""
    put(tmp_path / "notes.csv", "a,b\n1,2\n")
    put(tmp_path / name, f"emotion, Usage, pixels\n3,Training,{PIXELS}\n0.0,Training,{PIXELS}\n")
    for root in (tmp_path, tmp_path / name):
        assert recognise_fer2013_csv(root) == ["Training"]
        faces = read_fer2013_csv(root, "Training", None)
        assert faces.known_labels().tolist() == [Expression.HAPPY, Expression.ANGER]
        assert faces.ids == ["Training_2", "Training_3"]


def test_the_challenges_train_csv_has_no_usage(tmp_path: Path) -> None:
    put(tmp_path / "train.csv", f"emotion,pixels\n6,{PIXELS}\n")
    assert recognise_fer2013_csv(tmp_path) == [""]
    assert read_fer2013_csv(tmp_path, "", None).ids == ["2"]


def test_table_given_by_its_folder(tmp_path: Path) -> None:
    fer_csv(tmp_path, f"3,{PIXELS},Training", f"3,{PIXELS},PublicTest")
    assert len(read_fer2013_csv(tmp_path, "Training", "fer2013")) == 1
    assert recognise_fer2013_csv(tmp_path) == ["PublicTest", "Training"]


def test_bad_rows_are_counted_on_demand(tmp_path: Path) -> None:
    path = fer_csv(tmp_path, "3,7,Training", f"9,{PIXELS},Training", f"3,{PIXELS},Training", "3")
    faces = read_fer2013_csv(path, "Training", "fer2013", skip_bad=True)
    assert faces.ids == ["Training_4"]
    assert [s.image for s in faces.skipped] == ["Training_2", "Training_3", "fer2013.csv, line 5"]


# FERPlus

# neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF
VOTES = [
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",
    "Training,fer0000001.png,0,0,0,0,1,0,0,9,0,0",
    "PublicTest,fer0000002.png,0,10,0,0,0,0,0,0,0,0",
    "Training,fer0000003.png,5,0,0,0,5,0,0,0,0,0",
    "Training,fer0000004.png,1,0,0,0,1,0,0,0,8,0",
    "Training,,0,0,0,0,0,0,0,0,0,10",
]
KAGGLE = [
    fer2013_row(6, "Training", 10),
    fer2013_row(0, "Training", 11),
    fer2013_row(3, "PublicTest", 12),
    fer2013_row(3, "Training", 13),
    fer2013_row(3, "Training", 14),
    fer2013_row(3, "Training", 15),
]


def test_ferplus_with_kaggles_table(tmp_path: Path) -> None:
    fer2013(tmp_path, KAGGLE)
    ferplus(tmp_path, VOTES)
    faces = read_ferplus(tmp_path, "Training", "names")
    assert faces.ids == ["fer0000000.png", "fer0000001.png"]
    assert faces.known_labels().tolist() == [Expression.NEUTRAL, Expression.CONTEMPT]
    assert [int(decode(faces.images, i, 48)[0, 0, 0]) for i in range(2)] == [10, 11]
    assert faces.distributions is not None
    expected = np.zeros((2, 8))
    expected[0, [Expression.NEUTRAL, Expression.SAD, Expression.ANGER, Expression.DISGUST]] = (
        np.array([4, 1, 3, 2]) / 10
    )
    expected[1, [Expression.ANGER, Expression.CONTEMPT]] = 0.1, 0.9
    assert np.allclose(faces.distributions, expected)
    assert [(s.image, s.reason, s.bad) for s in faces.skipped] == [
        ("fer0000003.png", "votes are level", False),
        ("fer0000004.png", "most votes for unknown", False),
        ("row 5", "no image name (no face)", False),
    ]
    assert len(read_ferplus(tmp_path, "", "names")) == 3
    assert recognise_ferplus(tmp_path) == ["PublicTest", "Training"]
    half = faces.subset(np.array([1]))
    assert half.distributions is not None
    assert half.distributions[0, Expression.CONTEMPT] == pytest.approx(0.9)


@pytest.mark.parametrize("folder", ["FER2013Train", "data/FER2013Train", ""])
def test_ferplus_with_folders(tmp_path: Path, folder: str) -> None:
    ferplus(tmp_path, VOTES)
    for number in range(2):
        put(tmp_path / folder / f"fer000000{number}.png", jpeg(number))
    faces = read_ferplus(tmp_path, "Training", "names")
    assert faces.images.read(1) == jpeg(1)
    with pytest.raises(Face2ExpError, match=r"line 4: no such image"):
        read_ferplus(tmp_path, "PublicTest", "names")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Training,fer0000009.png,9,0,0,0,0,0,0,0,0,0", r"no such image: fer2013\.csv has no row"),
        ("Training,fer2.png.exe,9,0,0,0,0,0,0,0,0,0", "no such image"),
        ("Training,fer0000002.png,9,0,0,0,0,0,0,0,0,0", "another Usage than row 2 of fer2013"),
        ("Training,fer0000000.png,x,0,0,0,0,0,0,0,0,0", "needs whole numbers of votes"),
        ("Training,fer0000000.png,-1,0,0,0,0,0,0,0,0,5", "needs whole numbers of votes"),
        ("Training,fer0000000.png,0,0,0,0,0,0,0,0,0,0", "needs whole numbers of votes"),
        (VOTES[1], "an image's second row"),
    ],
)
def test_broken_votes(tmp_path: Path, row: str, message: str) -> None:
    fer2013(tmp_path, KAGGLE)
    ferplus(tmp_path, [VOTES[1], row])
    with pytest.raises(Face2ExpError, match=r"fer2013new\.csv, line 3: " + message):
        read_ferplus(tmp_path, "Training", "names")
    assert len(read_ferplus(tmp_path, "Training", "names", skip_bad=True)) == 1
