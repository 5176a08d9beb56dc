"""Any csv of path and label."""

from pathlib import Path

import pytest

from face2exp_lib.data.formats.listed import read_listed, recognise
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import jpeg, put


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for name in ("a/1.jpg", "a/2.jpg", "b 3.jpg"):
        put(tmp_path / name, jpeg(1))
    return put(
        tmp_path / "faces.csv",
        "path,label,part,identity\na/1.jpg,happy,train,x\na\\2.jpg,Sadness,test,y\n"
        "b 3.jpg,fear,train,z\n",
    )


def test_parts_labels_and_identities(table: Path) -> None:
    faces = read_listed(table, "train", "names")
    assert faces.ids == ["a/1.jpg", "b 3.jpg"]
    assert faces.known_labels().tolist() == [Expression.HAPPY, Expression.FEAR]
    assert faces.identities is not None
    assert faces.identities.tolist() == ["x", "z"]
    assert len(read_listed(table, "", "names")) == 3
    assert recognise(table) == ["test", "train"]


def test_two_columns_by_code(table: Path) -> None:
    put(table, "path,label\na/1.jpg,7\na/2.jpg,1\n")
    assert recognise(table) == [""]
    faces = read_listed(table, "", "rafdb")
    assert faces.known_labels().tolist() == [Expression.NEUTRAL, Expression.SURPRISE]
    with pytest.raises(Face2ExpError, match=r"faces\.csv: column 'part' is missing"):
        read_listed(table, "train", "rafdb")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../x.jpg,happy", "the path leaves the folder of the images"),
        ("/etc/passwd,happy", "the path leaves the folder"),
        ("C:\\faces\\1.jpg,happy", "the path leaves the folder"),
        ("gone.jpg,happy", "no such image"),
        (",happy", "names no file"),
        ("a/2.jpg,smug", "unknown label 'smug'"),
        ("a/2.jpg", "too few values"),
        ("a/2.jpg,happy,1", "too many values"),
        ("./a/1.jpg,happy", "an image's second row"),
        ("a/1.jpg,sad", "two rows of one image contradict"),
    ],
)
def test_broken_row(table: Path, row: str, message: str) -> None:
    put(table, f"path,label\na/1.jpg,happy\nb 3.jpg,fear\n{row}\n")
    with pytest.raises(Face2ExpError, match=r"faces\.csv, line 4: " + message):
        read_listed(table, "", "names")
    faces = read_listed(table, "", "names", skip_bad=True)
    assert faces.ids[-1] == "b 3.jpg"
    assert faces.skipped
