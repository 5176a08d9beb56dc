"""What `face2exp data inspect` recognises."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.inspection import Inspection, inspect
from face2exp_lib.labels import class_names
from face2exp_lib.sampling import class_counts

Picture = Callable[[int, int], bytes]


def summary(found: list[Inspection]) -> list[tuple[str, str, int, int]]:
    return [(p.faces.name, p.format, len(p.faces), len(p.unreadable)) for p in found]


def test_a_root_with_parts_of_class_folders(squares_root: Path) -> None:
    found = inspect(squares_root / "squares")
    assert summary(found) == [
        ("squares/test", "class_folders", 21, 0),
        ("squares/train", "class_folders", 48, 0),
    ]
    counts = class_counts(found[1].faces.known_labels(), class_names(7))
    assert counts == {**dict.fromkeys(class_names(7), 6), "happy": 11, "sad": 7}
    assert {part.codes for part in found} == {"names"}


def test_one_part_alone(squares_root: Path) -> None:
    assert summary(inspect(squares_root / "squares" / "train")) == [
        ("train", "class_folders", 48, 0)
    ]


def test_identities(squares_root: Path) -> None:
    assert summary(inspect(squares_root / "people")) == [("people", "identity_folders", 12, 0)]


def test_labelled_parts_beside_identities(tmp_path: Path, picture: Picture) -> None:
    for name in ("train/happy/1.png", "train/sad/1.png", "lfw/ann/1.png", "lfw/bob/1.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(picture(0, 0))
    root = tmp_path.name
    assert summary(inspect(tmp_path)) == [
        (f"{root}/train", "class_folders", 2, 0),
        (f"{root}/lfw", "identity_folders", 2, 0),
    ]


@pytest.mark.parametrize(
    ("folders", "codes", "counts"),
    [
        (("1", "2", "7"), "rafdb", {"surprise": 1, "fear": 1, "neutral": 1}),
        (("0", "1", "7"), "affectnet", {"neutral": 1, "happy": 1, "contempt": 1}),
        (("Anger", "Happiness"), "names", {"anger": 1, "happy": 1}),
    ],
)
def test_folders_named_by_code(
    tmp_path: Path, picture: Picture, folders: tuple[str, ...], codes: str, counts: dict[str, int]
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(picture(0, 0))
    (found,) = inspect(tmp_path)
    assert (found.format, found.codes) == ("class_folders", codes)
    seen = class_counts(found.faces.known_labels(), class_names(8))
    assert {name: count for name, count in seen.items() if count} == counts


def test_unreadable_images_are_listed(tmp_path: Path, picture: Picture) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.png").write_bytes(picture(0, 0))
    (tmp_path / "sad" / "broken.png").write_bytes(b"broken")
    (tmp_path / "sad" / "cut.png").write_bytes(picture(1, 1)[:400])
    (found,) = inspect(tmp_path)
    assert len(found.faces) == 4
    assert [message.split(":")[0] for message in found.unreadable] == [
        "sad/broken.png",
        "sad/cut.png",
    ]


def test_a_rendered_pack(tmp_path: Path, picture: Picture) -> None:
    for part, header in (("fer", "image,expression,identity"), ("fr", "image,identity")):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            archive.writestr("1.png", picture(0, 0))
        values = "1.png,fear,7" if part == "fer" else "1.png,7"
        (tmp_path / f"{part}.csv").write_text(f"{header}\n{values}\n")
    (tmp_path / "fr_truth.csv").write_text("image,expression\n1.png,fear\n")
    assert summary(inspect(tmp_path)) == [("fer", "rendered", 1, 0), ("fr", "rendered", 1, 0)]


def test_fer2013_csv_by_its_usages(tmp_path: Path) -> None:
    path = tmp_path / "fer2013.csv"
    pixels = " ".join(["7"] * 2304)
    path.write_text(
        "emotion,pixels,Usage\n" + "".join(
            f"{code},{pixels},{usage}\n"
            for code, usage in ((0, "Training"), (3, "Training"), (6, "PublicTest"))
        )
    )  # fmt: skip
    assert summary(inspect(path)) == [
        ("fer2013.csv/PublicTest", "fer2013_csv", 1, 0),
        ("fer2013.csv/Training", "fer2013_csv", 2, 0),
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00" * 5000, b"a,b,c\n1,2,3\n", b"x" * 100_000],
    ids=["empty", "binary", "other columns", "one long line"],
)
def test_file_that_fits_no_layout(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"x\.csv: no layout fits: a file must be fer2013\.csv"):
        inspect(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"emotion,pixels,Usage\n3,\xff\xfe,Training\n", "not readable as a csv table"),
        (b"emotion,pixels\n3,7\n", "column 'Usage' is missing"),
        (b"emotion,pixels,Usage\n3,7,Training\n", "line 2: needs 2,304 pixels"),
    ],
)
def test_csv_that_looks_right_and_is_broken(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=rf"fer2013\.csv.*{message}"):
        inspect(path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="gone: no such file or folder"):
        inspect(tmp_path / "gone")
    with pytest.raises(Face2ExpError, match="no image found: expected"):
        inspect(tmp_path)


def test_a_loop_of_links_ends(tmp_path: Path, picture: Picture) -> None:
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(picture(0, 0))
        (tmp_path / name / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert summary(inspect(tmp_path)) == [(tmp_path.name, "class_folders", 2, 0)]


def test_a_folder_that_names_no_expression_among_the_classes_is_not_passed_over(
    tmp_path: Path, picture: Picture
) -> None:
    """The folders then count as identities, which the output says."""
    for name in ("happy", "sad", "smug"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(picture(0, 0))
    (found,) = inspect(tmp_path)
    assert found.format == "identity_folders"
    assert len(found.faces) == 3
