"""RAF-DB's list of labels with aligned images, and its re-pack."""

from pathlib import Path

import pytest

from face2exp_lib.data.formats.rafdb import LIST, read_rafdb, recognise
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import class_folders, jpeg, put, rafdb

LABELS = [
    ("train_00001.jpg", "5"),
    ("train_00002.jpg", "1"),
    ("test_0001.jpg", "7"),
    ("train_00003.jpg", "6"),
]


@pytest.mark.parametrize("folder", ["RAF-DB/basic", "raf-basic"])
def test_list_and_aligned_images(tmp_path: Path, folder: str) -> None:
    root = rafdb(tmp_path / folder, LABELS)
    faces = read_rafdb(root, "train", "rafdb")
    assert faces.ids == [f"train_0000{i}_aligned.jpg" for i in (1, 2, 3)]
    expected = [Expression.SAD, Expression.SURPRISE, Expression.ANGER]
    assert faces.known_labels().tolist() == expected
    assert faces.images.read(2) == jpeg(3, (100, 100))
    assert read_rafdb(root, "test", "rafdb").known_labels().tolist() == [Expression.NEUTRAL]
    assert len(read_rafdb(root, "", "rafdb")) == 4
    assert recognise(root) == ["train", "test"]


def test_the_folder_above_basic_will_do(tmp_path: Path) -> None:
    rafdb(tmp_path / "basic", LABELS)
    assert len(read_rafdb(tmp_path, "train", "rafdb")) == 3


def test_repack(tmp_path: Path) -> None:
    class_folders(tmp_path / "train", {"1": 1, "7": 2})
    faces = read_rafdb(tmp_path, "train", "rafdb")
    assert faces.known_labels().tolist() == [
        Expression.SURPRISE,
        Expression.NEUTRAL,
        Expression.NEUTRAL,
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train_00009.jpg 3", r"no such image \('train_00009_aligned\.jpg' below .*aligned\)"),
        ("train_00001.jpg 0", r"unknown label '0': the code table 'rafdb' knows 1, 2"),
        ("train_00001.jpg", "needs a name and a label, and nothing else"),
        ("train_00001.jpg 5 0", "needs a name and a label, and nothing else"),
        ("valid_00001.jpg 5", "is of no part: its name begins with neither train_ nor test_"),
        ("train_/../../../../x.jpg 3", "the path leaves the folder"),
        ("train_00001.jpg 5", r"an image's second row \(train_00001_aligned\.jpg, see line 1\)"),
        ("train_00001.jpg 4", "two rows of one image contradict each other"),
        ("train_ 3", r"no such image \('train_'"),
    ],
)
def test_broken_line(tmp_path: Path, line: str, message: str) -> None:
    root = rafdb(tmp_path, LABELS[:2])
    path = root / LIST
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(Face2ExpError, match=r"list_patition_label\.txt, line 3: " + message):
        read_rafdb(root, "train", "rafdb")
    kept = read_rafdb(root, "train", "rafdb", skip_bad=True)
    assert len(kept) == (1 if "contradict" in message else 2)
    assert all(skipped.bad for skipped in kept.skipped)
    assert kept.skipped


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="expected RAF-DB's folder `basic`"):
        read_rafdb(tmp_path, "train", "rafdb")
    put(tmp_path / LIST, "test_0001.jpg 3\n")
    with pytest.raises(Face2ExpError, match="no usable line of part 'train'"):
        read_rafdb(tmp_path, "train", "rafdb")
