"""AffectNet as it came in 2017 and in 2021, and its re-packs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face2exp_lib.data.formats.affectnet import AnnotationReader, read_affectnet, recognise
from face2exp_lib.data.sets.images import FileImages, decode
from face2exp_lib.data.sets.labels import Expression
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import affectnet_2017, affectnet_2021, class_folders, npy, put

ROWS = [
    ("1/a.jpg", "10,5,20,20", "0"),
    ("1/b.jpg", "0,0,40,30", "6"),
    ("2/c.jpg", "3,3,9,9", "7"),
    ("2/d.jpg", "3,3,9,9", "9"),
]


@pytest.mark.parametrize("header", [True, False], ids=["with header", "without header"])
@pytest.mark.parametrize("table", ["training.csv", "Manually_annotated_file_lists/training.csv"])
def test_tables_of_2017(tmp_path: Path, header: bool, table: str) -> None:
    root = affectnet_2017(tmp_path, ROWS, table, header)
    faces = read_affectnet(root, "train", "affectnet")
    assert faces.ids == ["1/a.jpg", "1/b.jpg", "2/c.jpg"]
    assert faces.known_labels().tolist() == [
        Expression.NEUTRAL,
        Expression.ANGER,
        Expression.CONTEMPT,
    ]
    assert [(s.image, s.reason, s.bad) for s in faces.skipped] == [
        ("2/d.jpg", "labelled 9 (uncertain)", False)
    ]
    assert recognise(root) == ["train"]


def test_the_face_is_cut_out_by_its_box(tmp_path: Path) -> None:
    root = affectnet_2017(tmp_path, ROWS)
    faces = read_affectnet(root, "train", "affectnet")
    whole = decode(FileImages(root / "Manually_Annotated_Images", ["1/a.jpg"]), 0, 40)
    face = decode(faces.images, 0, 20)
    with faces.images.open(0) as image:
        assert image.size == (20, 20)
    assert not np.allclose(face.float().mean(), whole.float().mean(), atol=0.01)


def test_no_box_takes_the_whole_image(tmp_path: Path) -> None:
    root = affectnet_2017(tmp_path, [("1/a.jpg", ",,,", "0"), ("1/b.jpg", "0,0,10,12", "1")])
    faces = read_affectnet(root, "train", "affectnet")
    sizes = []
    for index in range(2):
        with faces.images.open(index) as image:
            sizes.append(image.size)
    assert sizes == [(40, 30), (10, 12)]
    put(root / "training.csv", "subDirectory_filePath,expression\n1/a.jpg,0\n")
    assert isinstance(read_affectnet(root, "train", "affectnet").images, FileImages)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("1/a.jpg", "nan,0,9,9", "0"), r"the face's box is none \(nan, 0, 9, 9\)"),
        (("1/a.jpg", "0,0,inf,9", "0"), "the face's box is none"),
        (("1/a.jpg", "0,0,-5,9", "0"), "the face's box is none"),
        (("1/a.jpg", "0,0,0,9", "0"), "the face's box is none"),
        (("1/a.jpg", "-50,0,9,9", "0"), "the face's box is none"),
        (("1/a.jpg", "0,0,1e9,9", "0"), "the face's box is none"),
        (("1/a.jpg", "0,,9,9", "0"), "the face's box is none"),
        (("1/a.jpg", "x,0,9,9", "0"), "the face's box is none"),
        (("1/a.jpg", "0,0,9,9", "11"), "unknown label '11'"),
        (("1/a.jpg", "0,0,9,9", "-1"), "unknown label '-1'"),
        (("1/a.jpg", "0,0,9,9", ""), "unknown label ''"),
    ],
)
def test_broken_row(tmp_path: Path, row: tuple[str, str, str], message: str) -> None:
    root = affectnet_2017(tmp_path, [row, ROWS[1]])
    with pytest.raises(Face2ExpError, match=r"training\.csv, line 2: " + message):
        read_affectnet(root, "train", "affectnet")
    faces = read_affectnet(root, "train", "affectnet", skip_bad=True)
    assert faces.ids == ["1/b.jpg"]
    assert [(s.image, s.bad) for s in faces.skipped] == [("1/a.jpg", True)]


def test_paths_of_the_table_stay_inside_and_exist(tmp_path: Path) -> None:
    root = affectnet_2017(tmp_path, ROWS)
    text = (root / "training.csv").read_text()
    for path in ("../training.csv", "/etc/passwd", "1/gone.jpg"):
        put(root / "training.csv", text.replace("1/a.jpg", path))
        with pytest.raises(Face2ExpError, match=r"line 2: (the path leaves|no such image)"):
            read_affectnet(root, "train", "affectnet")
        faces = read_affectnet(root, "train", "affectnet", skip_bad=True)
        assert (len(faces), faces.skipped[0].image) == (2, path)


def test_a_box_outside_of_its_image_is_found_when_it_is_decoded(tmp_path: Path) -> None:
    faces = read_affectnet(
        affectnet_2017(tmp_path, [("1/a.jpg", "50,0,9,9", "0")]), "train", "affectnet"
    )
    with pytest.raises(
        Face2ExpError, match=r"1/a\.jpg: .*50, 0, 59, 9 lies outside of its 40 x 30"
    ):
        decode(faces.images, 0, 8)


def test_a_table_with_a_part_of_the_box_only(tmp_path: Path) -> None:
    root = affectnet_2017(tmp_path, ROWS[:1])
    put(root / "training.csv", "subDirectory_filePath,face_x,expression\n1/a.jpg,3,0\n")
    with pytest.raises(Face2ExpError, match=r"line 2: the face's box is none \(3, , , \)"):
        read_affectnet(root, "train", "affectnet")


def test_missing_pieces(tmp_path: Path) -> None:
    with pytest.raises(
        Face2ExpError, match=r"neither training\.csv, nor train_set/annotations, nor"
    ):
        read_affectnet(tmp_path, "train", "affectnet")
    put(tmp_path / "training.csv", "x")
    with pytest.raises(
        Face2ExpError, match=r"images is missing: expected Manually_Annotated_Images"
    ):
        read_affectnet(tmp_path, "train", "affectnet")


# 2021


def test_annotation_files_of_2021(tmp_path: Path) -> None:
    """Their type differs between copies: text, whole numbers and others."""
    values = {"0": "0", "1": 6, "2": np.float32(7), "3": np.int64(8), "4": b"1", "5": ["3"]}
    root = affectnet_2021(tmp_path, "train_set", values)
    faces = read_affectnet(root, "train", "affectnet")
    assert faces.ids == ["0.jpg", "1.jpg", "2.jpg", "4.jpg", "5.jpg"]
    assert faces.known_labels().tolist() == [
        Expression.NEUTRAL,
        Expression.ANGER,
        Expression.CONTEMPT,
        Expression.HAPPY,
        Expression.SURPRISE,
    ]
    assert [(s.image, s.reason) for s in faces.skipped] == [("3.jpg", "labelled 8 (none)")]
    affectnet_2021(root, "val_set", {"0": "1"})
    assert recognise(root) == ["train", "val"]
    assert len(read_affectnet(root, "val", "affectnet")) == 1


class Loads:
    """An object whose unpickling is seen."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("an annotation was unpickled",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"not an array",
        npy("3")[:-1],
        npy("3") + b"\0",
        npy([1, 2]),
        npy([]),
        npy(np.zeros(1000)),
        npy(None),
        npy({"a": 1}),
        npy(3 + 4j),
        npy(np.zeros((), dtype="V4")),
        npy(3).replace(b"'shape': ()", b"'shape':(9999999999999,)"),
        npy(3).replace(b"<i8", b"<U9"),
        npy("3").replace(b"<U1", b"<U2"),
        npy("x")[:-4] + b"\xff\xff\xff\x7f",
        npy(3).replace(b"NUMPY\x01", b"NUMPY\x07"),
    ],
)
def test_annotation_that_is_no_single_number(tmp_path: Path, content: bytes) -> None:
    root = affectnet_2021(tmp_path, "train_set", {"0": "0", "1": "1"})
    put(root / "train_set" / "annotations" / "0_exp.npy", content)
    with pytest.raises(Face2ExpError, match=r"0_exp\.npy: (no single number|unknown label)"):
        read_affectnet(root, "train", "affectnet")
    faces = read_affectnet(root, "train", "affectnet", skip_bad=True)
    assert (faces.ids, faces.skipped[0].image) == (["1.jpg"], "0.jpg")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    path = put(tmp_path / "x_exp.npy", npy([Loads()]))
    with pytest.raises(ValueError, match="an array of object"):
        AnnotationReader()(path)


def test_image_without_annotation_and_annotation_without_image(tmp_path: Path) -> None:
    root = affectnet_2021(tmp_path, "train_set", {"0": "0", "1": "1", "2": "2"})
    (root / "train_set" / "images" / "0.jpg").unlink()
    (root / "train_set" / "annotations" / "1_exp.npy").unlink()
    with pytest.raises(Face2ExpError, match=r"0_exp\.npy: no such image: fetch images/0\.jpg"):
        read_affectnet(root, "train", "affectnet")
    faces = read_affectnet(root, "train", "affectnet", skip_bad=True)
    assert faces.ids == ["2.jpg"]
    assert [(s.image, s.reason) for s in faces.skipped] == [
        ("0.jpg", "no such image"),
        ("1.jpg", "an image without annotation"),
    ]


# Re-packs


@pytest.mark.parametrize(
    "folders", [("0", "1", "7", "8"), ("Neutral", "Happy", "Contempt", "None")]
)
def test_folders(tmp_path: Path, folders: tuple[str, ...]) -> None:
    class_folders(tmp_path / "train", dict.fromkeys(folders, 1))
    faces = read_affectnet(tmp_path, "train", "affectnet")
    assert sorted(faces.known_labels().tolist()) == [
        Expression.NEUTRAL,
        Expression.HAPPY,
        Expression.CONTEMPT,
    ]
    assert [s.bad for s in faces.skipped] == [False]
