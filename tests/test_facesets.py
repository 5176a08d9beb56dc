"""The four layouts, read from tiny sets, and what is wrong with broken ones."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import (
    FaceSet,
    read_class_folders,
    read_fer2013_csv,
    read_identity_folders,
    read_rendered,
    read_table,
    without_copies,
)
from face2exp_lib.images import FileImages, decode
from face2exp_lib.labels import Expression

Picture = Callable[[int, int], bytes]


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


# Class folders


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


def test_missing_folder_and_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"set: no such file or folder: check the data root"):
        read_class_folders(tmp_path, "set", "names")
    (tmp_path / "set").write_text("")
    with pytest.raises(Face2ExpError, match=r"set: cannot be listed \(Not a directory\)"):
        read_identity_folders(tmp_path, "set", "names")


# Identity folders


def test_identity_folders(tmp_path: Path) -> None:
    fill(tmp_path, {"people/ann/1.jpg": b"", "people/bob/1.jpg": b"", "people/bob/x/2.jpg": b""})
    faces = read_identity_folders(tmp_path, "people", "names")
    assert faces.identities is not None
    assert faces.identities.tolist() == ["ann", "bob", "bob/x"]
    assert faces.labels is None
    with pytest.raises(Face2ExpError, match=r"people: this set has no labels: choose a labelled"):
        faces.known_labels()


def test_empty_identity_folders(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"no image found: expected .*/<identity>/<image>"):
        read_identity_folders(tmp_path, "", "names")


# fer2013.csv

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
    with pytest.raises(Face2ExpError, match=r"fer2013\.csv: column 'Usage' is missing"):
        read_fer2013_csv(path, "Training", "fer2013")
    path = fer_csv(tmp_path, f"3,{PIXELS},Training")
    with pytest.raises(Face2ExpError, match=r"fer2013\.csv: no row with Usage 'PrivateTest'"):
        read_fer2013_csv(path, "PrivateTest", "fer2013")


# Tables in general


@pytest.mark.parametrize(
    "content",
    [b"image,identity\n\xff\xfe,1\n", bytes(range(256)) * 4, b"image,identity\n" + b'"x' * 2**24],
    ids=["not UTF-8", "binary", "a field without an end"],
)
def test_table_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"t\.csv: not readable as a csv table .*UTF-8"):
        list(read_table(path, {"image", "identity"}))


def test_folder_instead_of_a_table_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"not readable as a csv table .*Is a directory"):
        list(read_table(tmp_path, {"image"}))
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(Face2ExpError, match=r"t\.csv: column 'image' is missing"):
        list(read_table(tmp_path / "t.csv", {"image"}))


# Rendered packs


def write_pack(root: Path, part: str, table: str, members: dict[str, bytes]) -> Path:
    (root / f"{part}.csv").write_text(table)
    with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return root


def test_rendered_pack(tmp_path: Path, picture: Picture) -> None:
    table = "image,expression,identity\na.png,fear,7\nb.png,happy,8\n"
    write_pack(tmp_path, "fer", table, {"b.png": picture(1, 0), "a.png": picture(6, 0)})
    faces = read_rendered(tmp_path, "fer", "names")
    assert faces.known_labels().tolist() == [Expression.FEAR, Expression.HAPPY]
    assert faces.identities is not None
    assert faces.identities.tolist() == ["7", "8"]
    assert faces.images.read(0) == picture(6, 0)


def test_rendered_pack_without_expressions_has_no_labels(tmp_path: Path, picture: Picture) -> None:
    write_pack(tmp_path, "fr", "image,identity\na.png,7\n", {"a.png": picture(6, 0)})
    # The truth about the unlabelled part may lie beside it: it is not read.
    (tmp_path / "fr_truth.csv").write_text("image,expression\na.png,fear\n")
    assert read_rendered(tmp_path, "fr", "names").labels is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,expression,identity\n", r"fer\.csv: no row"),
        ("expression,identity\nfear,1\n", r"fer\.csv: column 'image' is missing"),
        ("image,expression\na.png,fear\n", r"fer\.csv: column 'identity' is missing"),
        ("image,expression,identity\na.png,smug,1\n", r"fer\.csv, line 2: unknown label 'smug'"),
        ("image,expression,identity\na.png,fear\n", r"fer\.csv, line 2: too few values"),
        ("image,expression,identity\nb.png,fear,1\n", r"line 2: fer\.zip has no b\.png"),
        ("image,expression,identity\n../a.png,fear,1\n", r"line 2: fer\.zip has no \.\./a\.png"),
        ("image,expression,identity\n/a.png,fear,1\n", r"line 2: fer\.zip has no /a\.png"),
    ],
)
def test_broken_table_of_a_pack(tmp_path: Path, picture: Picture, table: str, message: str) -> None:
    write_pack(tmp_path, "fer", table, {"a.png": picture(6, 0)})
    with pytest.raises(Face2ExpError, match=message):
        read_rendered(tmp_path, "fer", "names")


@pytest.mark.parametrize("content", [b"", b"no zip", "cut"], ids=["empty", "text", "cut off"])
def test_broken_zip_of_a_pack(tmp_path: Path, picture: Picture, content: bytes | str) -> None:
    table = "image,expression,identity\na.png,fear,1\n"
    write_pack(tmp_path, "fer", table, {"a.png": picture(6, 0)})
    archive = tmp_path / "fer.zip"
    archive.write_bytes(archive.read_bytes()[:-30] if isinstance(content, str) else content)
    with pytest.raises(Face2ExpError, match=r"fer\.zip: not a readable zip"):
        read_rendered(tmp_path, "fer", "names")


def test_pack_without_one_of_its_files(tmp_path: Path, picture: Picture) -> None:
    write_pack(tmp_path, "fer", "image,identity\na.png,1\n", {"a.png": picture(6, 0)})
    with pytest.raises(Face2ExpError, match=r"fr\.csv: no such file .* parts .* are fer$"):
        read_rendered(tmp_path, "fr", "names")
    (tmp_path / "fer.zip").unlink()
    with pytest.raises(Face2ExpError, match=r"fer\.zip: no such file .*: the pack is incomplete"):
        read_rendered(tmp_path, "fer", "names")


# Subsets and copies


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


def test_real_faces_as_they_are_published(real_faces: Path) -> None:
    test = read_class_folders(real_faces, "validation", "names")
    assert len(test) == 3_589
    people = read_identity_folders(real_faces / "lfw", "", "names")
    assert people.identities is not None
    assert (len(people), len(np.unique(people.identities))) == (13_233, 5_749)
