"""Class folders and identity folders."""

from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.formats.folders import (
    class_counts,
    read_class_folders,
    read_identity_folders,
    recognise_class_folders,
    recognise_identity_folders,
)
from face2exp_lib.data.sets.labels import Expression, own_codes
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import class_folders, put


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        put(root / name, content)
    return root


def test_class_folders(tmp_path: Path) -> None:
    fill(
        tmp_path, {"train/happy/b.png": b"1", "train/happy/a.png": b"2", "train/angry/a.png": b"3"}
    )
    faces = read_class_folders(tmp_path, "train", "names")
    assert faces.name == f"{tmp_path.name}/train"
    assert faces.ids == ["angry/a.png", "happy/a.png", "happy/b.png"]
    assert faces.known_labels().tolist() == [Expression.ANGER, Expression.HAPPY, Expression.HAPPY]
    assert faces.images.read(2) == b"1"


def test_class_folders_by_code(tmp_path: Path) -> None:
    fill(tmp_path, {"1/a.png": b"", "7/a.png": b""})
    faces = read_class_folders(tmp_path, "", "rafdb")
    assert faces.known_labels().tolist() == [Expression.SURPRISE, Expression.NEUTRAL]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"smug/a.png": b"", "wry/a.png": b""},
            r"set: folder with unknown label 'smug': the code table 'names'",
        ),
        ({"a.png": b"", "happy/b.png": b""}, r"set/a\.png: lies in no class folder"),
        ({"happy/a.txt": b""}, r"set: no image found: expected set/<class>/<image>"),
    ],
)
def test_broken_class_folders(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    fill(tmp_path / "set", files)
    with pytest.raises(Face2ExpError, match=message):
        read_class_folders(tmp_path, "set", "names")


def test_bad_images_are_counted_on_demand(tmp_path: Path) -> None:
    fill(tmp_path, {"a.png": b"", "happy/b.png": b"", "smug/c.png": b"", "none/d.png": b""})
    faces = read_class_folders(tmp_path, "", "names", skip_bad=True)
    assert faces.ids == ["happy/b.png"]
    assert [(s.image, s.bad) for s in faces.skipped] == [
        ("a.png", True),
        ("none/d.png", False),
        ("smug/c.png", True),
    ]


def test_folders_of_affectnet_that_show_no_expression(tmp_path: Path) -> None:
    class_folders(tmp_path, {"0": 1, "7": 1, "8": 2, "10": 1})
    faces = read_class_folders(tmp_path, "", "affectnet")
    assert faces.known_labels().tolist() == [Expression.NEUTRAL, Expression.CONTEMPT]
    assert [s.reason for s in faces.skipped] == [
        "in folder 10 (non-face)",
        "in folder 8 (none)",
        "in folder 8 (none)",
    ]


def test_a_linked_folder_is_no_silent_hole(tmp_path: Path) -> None:
    fill(tmp_path, {"set/happy/a.png": b"", "elsewhere/b.png": b""})
    (tmp_path / "set" / "sad").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    for read in (read_class_folders, read_identity_folders):
        with pytest.raises(Face2ExpError, match=r"set/sad: a linked folder is not entered"):
            read(tmp_path, "set", "names")
        faces = read(tmp_path, "set", "names", skip_bad=True)
        assert faces.ids == ["happy/a.png"]
        assert [s.image for s in faces.skipped] == ["sad"]


def test_missing_folder_and_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"set: no such file or folder: check the data root"):
        read_class_folders(tmp_path, "set", "names")
    (tmp_path / "set").write_text("")
    with pytest.raises(Face2ExpError, match=r"set: cannot be listed \(Not a directory\)"):
        read_identity_folders(tmp_path, "set", "names")


def test_identity_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"people/ann/1.jpg": b"", "people/bob/1.jpg": b"", "people/bob/x/2.jpg": b""})
    faces = read_identity_folders(tmp_path, "people", "")
    assert faces.identities is not None
    assert faces.identities.tolist() == ["ann", "bob", "bob/x"]
    assert faces.labels is None
    with pytest.raises(Face2ExpError, match=r"people: this set has no labels: choose a labelled"):
        faces.known_labels()


def test_webface_in_its_parts(tmp_path: Path) -> None:
    for part in range(10):
        put(tmp_path / f"{part}" / f"{part}_0_0000000" / f"{part}_0.jpg", b"")
    assert recognise_class_folders(tmp_path) == []
    assert recognise_identity_folders(tmp_path) == [""]
    faces = read_identity_folders(tmp_path, "", "")
    assert faces.identities is not None
    assert faces.identities[3] == "3/3_0_0000000"
    assert len(read_identity_folders(tmp_path, "3", "")) == 1


def test_empty_identity_folders(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"no image found: expected .*/<identity>/<image>"):
        read_identity_folders(tmp_path, "", "")


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("happy", "sad"), True),
        (("Anger", "Happiness", "smug"), True),  # the reader then names `smug`
        (("happy", "smug", "wry"), False),
        (("happy",), False),
        (("1", "2", "7"), True),
        (("0", "1", "7", "8", "10"), True),
        (("0", "11"), False),
        (("0000001", "0000002"), False),  # persons of CASIA-WebFace
        (("Aaron", "Bob"), False),
    ],
)
def test_class_folders_by_their_names(
    tmp_path: Path, folders: tuple[str, ...], classes: bool
) -> None:
    class_folders(tmp_path, dict.fromkeys(folders, 1))
    assert bool(class_counts(tmp_path)) is classes


def test_counts_decide_between_sets_that_number_alike(tmp_path: Path) -> None:
    """Shares of FER2013 (0 anger, 1 disgust, ...), then of AffectNet (0 neutral, 1 happy, ...)."""
    fer2013 = class_folders(
        tmp_path / "f", {"0": 40, "1": 4, "2": 41, "3": 72, "4": 48, "5": 32, "6": 50}, b"x"
    )
    affectnet = class_folders(
        tmp_path / "a", {"0": 75, "1": 134, "2": 25, "3": 14, "4": 6, "5": 4, "6": 25}, b"x"
    )
    with pytest.raises(Face2ExpError, match=r"may be those of 'fer2013'.* do not tell"):
        read_class_folders(fer2013, "", None)  # 287 images: sad and neutral might be exchanged
    read = read_class_folders(affectnet, "", None)
    assert read.codes == "affectnet"
    assert "counts are like those of AffectNet train" in read.notes[0]


def test_a_test_part_with_as_many_of_each_is_numbered_as_the_part_beside_it(
    tmp_path: Path,
) -> None:
    counts = {"0": 750, "1": 1340, "2": 250, "3": 140, "4": 60, "5": 40, "6": 250, "7": 40}
    class_folders(tmp_path / "train", counts, b"x")
    class_folders(tmp_path / "val", dict.fromkeys(counts, 5), b"x")
    assert read_class_folders(tmp_path, "val", None).codes == "affectnet"
    assert read_class_folders(tmp_path / "val", "", None).codes == "affectnet"
    (tmp_path / "train").rename(tmp_path / "persons")
    with pytest.raises(Face2ExpError, match=r"val: its labels 0 to 7 may be those of 'affectnet'"):
        read_class_folders(tmp_path, "val", None)


def test_folders_between_class_and_image(tmp_path: Path) -> None:
    """CK+ as it is often packed: a folder a person in each class."""
    fill(tmp_path, {f"train/{c}/S{k:03d}/0.jpg": b"" for c in ("anger", "sad") for k in range(3)})
    assert recognise_class_folders(tmp_path) == ["train"]
    assert recognise_identity_folders(tmp_path) == []
    faces = read_class_folders(tmp_path, "train", None)
    assert faces.ids[0] == "anger/S000/0.jpg"
    assert faces.known_labels().tolist() == [Expression.ANGER] * 3 + [Expression.SAD] * 3


def test_persons_in_numbered_folders_are_classes_only_by_their_counts(tmp_path: Path) -> None:
    fill(tmp_path, {f"a/{n}/p{n}/0.jpg": b"" for n in range(7)})
    assert recognise_class_folders(tmp_path / "a") == []
    assert recognise_identity_folders(tmp_path / "a") == [""]
    counts = {"0": 750, "1": 1340, "2": 250, "3": 140, "4": 60, "5": 40, "6": 250}
    for name, count in counts.items():
        class_folders(tmp_path / "b" / name, {f"p{name}": count}, b"x")
    assert recognise_class_folders(tmp_path / "b") == [""]


def test_a_linked_part_is_entered(tmp_path: Path) -> None:
    class_folders(tmp_path / "elsewhere", {"happy": 1, "sad": 1})
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert recognise_class_folders(tmp_path / "set") == ["train"]
    faces = read_class_folders(tmp_path / "set", "train", None)
    assert len(faces) == 2
    assert faces.origin == f"{tmp_path.resolve()}/elsewhere"


def test_what_a_system_left_behind_is_no_class_no_image_and_no_person(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "train/happy/a.png": b"",
            "train/sad/a.png": b"",
            "train/happy/._a.png": b"",
            "train/happy/.ipynb_checkpoints/a-checkpoint.png": b"",
            "train/.ipynb_checkpoints/a.png": b"",
            "train/Thumbs.db": b"",
            "__MACOSX/train/happy/._a.png": b"",
        },
    )
    assert recognise_class_folders(tmp_path) == ["train"]
    assert recognise_identity_folders(tmp_path) == []
    faces = read_class_folders(tmp_path, "train", None)
    assert faces.ids == ["happy/a.png", "sad/a.png"]
    assert [s.image for s in faces.skipped] == [
        ".ipynb_checkpoints", "Thumbs.db", "happy/._a.png", "happy/.ipynb_checkpoints"
    ]  # fmt: skip
    assert not any(s.bad for s in faces.skipped)
    persons = read_identity_folders(tmp_path, "", "")
    assert persons.identities is not None
    assert set(persons.identities) == {"train/happy", "train/sad"}


def test_numbered_names_are_names(tmp_path: Path) -> None:
    class_folders(tmp_path, {"0_neutral": 1, "1_happy": 2, "2_sad": 1})
    assert recognise_class_folders(tmp_path) == [""]
    assert recognise_identity_folders(tmp_path) == []
    faces = read_class_folders(tmp_path, "", None)
    assert faces.known_labels().tolist() == [
        Expression.NEUTRAL, Expression.HAPPY, Expression.HAPPY, Expression.SAD
    ]  # fmt: skip


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    class_folders(tmp_path, {"0": 1, "1": 1, "2": 1})
    faces = read_class_folders(tmp_path, "", own_codes({0: "sad", 1: "Happy", 2: "none"}))
    assert faces.known_labels().tolist() == [Expression.SAD, Expression.HAPPY]
    assert faces.codes == "your own"
    assert [(s.image, s.bad) for s in faces.skipped] == [("2/0.jpg", False)]


def test_a_folder_of_many_is_one_of_persons(tmp_path: Path) -> None:
    class_folders(tmp_path, {"happy": 1, "sad": 1, **{f"p{i}": 1 for i in range(80)}}, b"x")
    assert recognise_class_folders(tmp_path) == []
    assert recognise_identity_folders(tmp_path) == [""]


def test_real_faces_as_they_are_published(real_faces: Path) -> None:
    test = read_class_folders(real_faces, "validation", "names")
    assert len(test) == 3_589
    people = read_identity_folders(real_faces / "lfw", "", "names")
    assert people.identities is not None
    assert (len(people), len(np.unique(people.identities))) == (13_233, 5_749)
