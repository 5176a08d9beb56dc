"""What `face2exp data inspect` recognises."""

import csv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.formats.published import (
    AFFECTNET_TRAIN,
    FER2013_PUBLIC,
    FER2013_TRAIN,
    RAFDB_TEST,
    RAFDB_TRAIN,
    Published,
)
from face2exp_lib.data.lists import read_drops
from face2exp_lib.data.sampling import class_counts
from face2exp_lib.data.sets.labels import CODES, class_names
from face2exp_lib.preparation.inspection import Inspection, inspect, write_bad
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats import trees
from tests.data.formats.trees import put

Picture = Callable[[int, int], bytes]
Counts = dict[str, int]


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
    assert {part.faces.codes for part in found} == {"names"}


def test_one_part_alone(squares_root: Path) -> None:
    assert summary(inspect(squares_root / "squares" / "train")) == [
        ("squares/train", "class_folders", 48, 0)
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
        (tuple("1234567"), "rafdb", dict.fromkeys(class_names(7), 1)),
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
    assert (found.format, found.faces.codes) == ("class_folders", codes)
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
        (b"emotion,pixels\n3,7\n", "no usable row .*2: needs 2,304 pixels"),
        (b"emotion,pixels,Usage\n3,7,Training\n", "no usable row .*Training_2: needs 2,304 pixels"),
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


def test_a_folder_that_names_no_expression_among_the_classes(
    tmp_path: Path, picture: Picture
) -> None:
    for name in ("happy", "sad", "smug"):
        put(tmp_path / name / "1.png", picture(0, 0))
    (found,) = inspect(tmp_path)
    assert (found.format, len(found.faces)) == ("class_folders", 2)
    assert found.faces.notes == ("folder 'smug' names no expression: its 1 images are left out",)
    assert [skipped.image for skipped in found.faces.skipped] == ["smug/1.png"]
    assert found.num_bad == 1


# Each layout by its own files


def test_rafdb(tmp_path: Path) -> None:
    labels = [(f"train_0000{i}.jpg", str(i)) for i in range(1, 8)] + [("test_0001.jpg", "3")]
    found = inspect(trees.rafdb(tmp_path / "basic", labels))
    assert summary(found) == [("basic/train", "rafdb", 7, 0), ("basic/test", "rafdb", 1, 0)]
    assert [part.faces.codes for part in found] == ["rafdb", "rafdb"]


def test_affectnet_of_2017_and_2021(tmp_path: Path) -> None:
    rows = [("1/a.jpg", "0,0,9,9", "0"), ("2/a.jpg", "nan,0,9,9", "1"), ("2/b.jpg", ",,,", "8")]
    (old,) = inspect(trees.affectnet_2017(tmp_path / "2017", rows))
    assert (old.format, old.part, len(old.faces), old.num_bad) == ("affectnet", "train", 1, 1)
    assert len(old.faces.skipped) == 2
    root = trees.affectnet_2021(tmp_path / "2021", "val_set", {"0": "6"})
    (new,) = inspect(root)
    assert (new.format, new.part, new.counts["anger"]) == ("affectnet", "val", 1)


def test_the_other_layouts(tmp_path: Path) -> None:
    image = trees.jpeg(0)
    trees.fer2013(tmp_path / "plus", [trees.fer2013_row(3, "Training")])
    trees.ferplus(tmp_path / "plus", ["Training,fer0000000.png,0,9,1,0,0,0,0,0,0,0"])
    trees.expw(tmp_path / "expw", ["a.jpg 0 0 0 9 9 50 3"])
    trees.celeba(tmp_path / "celeba", {"000001.jpg": 7})
    trees.recordio(tmp_path / "rec", [(image, (1,))])
    put(tmp_path / "listed" / "1.jpg", image)
    put(tmp_path / "listed" / "faces.csv", "path,label\n1.jpg,happy\n")
    formats = {
        name: [part.format for part in inspect(tmp_path / name)]
        for name in ("plus", "expw", "celeba", "rec", "listed/faces.csv")
    }
    assert formats == {
        "plus": ["ferplus", "fer2013_csv"],
        "expw": ["expw"],
        "celeba": ["celeba"],
        "rec": ["recordio"],
        "listed/faces.csv": ["listed"],
    }


# What looks wrong


def shares(published: Published, scale: float, order: dict[str, str] | None = None) -> Counts:
    """Folder by code -> number of images; `order` exchanges the codes of classes."""
    code_of = {label.name.lower(): code for code, label in CODES[published.codes].items()}
    order = order or {}
    return {
        code_of[order.get(name, name)]: max(1, round(count * scale))
        for name, count in published.counts.items()
    }


SWAPPED = {"anger": "disgust", "disgust": "anger"}


@pytest.mark.parametrize("folder", ["train", "my_faces"])
def test_swapped_codes_of_affectnet(tmp_path: Path, folder: str) -> None:
    root = tmp_path / folder
    trees.class_folders(root, shares(AFFECTNET_TRAIN, 1 / 500, SWAPPED), trees.jpeg(0))
    with pytest.raises(Face2ExpError, match=r"may be those of 'affectnet'.* do not tell which"):
        inspect(root)
    (found,) = inspect(root, "affectnet")
    assert found.published is AFFECTNET_TRAIN
    assert found.faces.notes == (
        "the class counts fit AffectNet train better in another order: anger and disgust look "
        "exchanged: check the label codes",
    )


def test_right_codes_give_no_warning(tmp_path: Path) -> None:
    trees.class_folders(tmp_path / "a", shares(AFFECTNET_TRAIN, 1 / 500), trees.jpeg(0))
    trees.class_folders(tmp_path / "r" / "train", shares(RAFDB_TRAIN, 1 / 20), trees.jpeg(0))
    assert inspect(tmp_path / "a", "affectnet")[0].faces.notes == ()
    (found,) = inspect(tmp_path / "r", "rafdb")
    assert (found.published, found.faces.notes) == (RAFDB_TRAIN, ())
    (found,) = inspect(tmp_path / "r")
    assert found.faces.codes == "rafdb"
    assert found.faces.notes == (
        "its labels 1 to 7 are read by the codes 'rafdb', since their counts are like those of "
        "RAF-DB train: `codes: rafdb` settles it",
    )


def test_names_in_the_order_of_the_alphabet(tmp_path: Path) -> None:
    """Classes numbered as folders are sorted: the counts say so, and against RAF-DB's codes."""
    names = sorted(RAFDB_TRAIN.counts)
    counts = {str(i + 1): RAFDB_TRAIN.counts[name] // 20 for i, name in enumerate(names)}
    trees.class_folders(tmp_path / "train", counts, trees.jpeg(0))
    (found,) = inspect(tmp_path)
    assert found.faces.codes == "alphabetical_from_1"
    assert found.counts["happy"] == RAFDB_TRAIN.counts["happy"] // 20
    (found,) = inspect(tmp_path, "rafdb")
    assert "fit RAF-DB train better in another order" in found.faces.notes[0]
    assert found.faces.notes[0].endswith("(those of 'alphabetical_from_1' are likeliest)")


def test_numbers_that_two_sets_use(tmp_path: Path) -> None:
    even = trees.class_folders(tmp_path / "even", dict.fromkeys("0123456", 2))
    with pytest.raises(
        Face2ExpError, match=r"even: its labels 0 to 6 may be those of 'fer2013' \(0 is anger\), .*"
        r"'affectnet' \(0 is neutral\).*--codes NAME, or give a mapping of your own"
    ):  # fmt: skip
        inspect(even)
    assert inspect(even, "fer2013")[0].faces.codes == "fer2013"
    counts = shares(FER2013_TRAIN, 1 / 40)
    (found,) = inspect(trees.class_folders(tmp_path / "fer", counts, trees.jpeg(0)))
    assert found.faces.codes == "fer2013"
    assert "their counts are like those of FER2013 Training" in found.faces.notes[0]


def test_mixed_up_parts(tmp_path: Path) -> None:
    for name in ("happy", "sad"):
        put(tmp_path / "train" / name / "train_1.jpg", trees.jpeg(0))
        put(tmp_path / "train" / name / "test_1.jpg", trees.jpeg(1))
        put(tmp_path / "test" / name / "train_2.jpg", trees.jpeg(2))
    test, train = inspect(tmp_path)
    assert test.faces.notes == ("the part is called test, its images train_*: are they mixed up?",)
    assert train.faces.notes == (
        "images of several parts are mixed here, by their names: 2 test_*, 2 train_*",
    )


def test_parts_by_their_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "face2exp_lib.preparation.inspection.decode", lambda *_: None
    )  # 18,407 times
    both = {name: RAFDB_TRAIN.counts[name] + RAFDB_TEST.counts[name] for name in RAFDB_TEST.counts}
    code_of = {label.name.lower(): code for code, label in CODES["rafdb"].items()}
    for folder, counts in (("all/train", both), ("wrong/train", RAFDB_TEST.counts)):
        for name, count in counts.items():
            (tmp_path / folder / code_of[name]).mkdir(parents=True)
            for number in range(count):
                (tmp_path / folder / code_of[name] / f"{number}.jpg").touch()
    (found,) = inspect(tmp_path / "all", "rafdb")
    assert found.faces.notes == (
        "as many images as RAF-DB train and RAF-DB test hold together: separate them",
    )
    (found,) = inspect(tmp_path / "wrong", "rafdb")
    assert found.faces.notes == (
        "the part is called train, but its counts are those of RAF-DB test",
    )


def test_an_outer_folder_names_the_inner_ones(tmp_path: Path) -> None:
    trees.rafdb(tmp_path / "sets" / "RAF-DB" / "basic", [("train_00001.jpg", "5")])
    trees.class_folders(tmp_path / "sets" / "mine" / "train", {"happy": 1, "sad": 1})
    with pytest.raises(Face2ExpError, match=r"sets: an outer folder: give .*RAF-DB/basic \(raf"
                       r"db\) or .*sets/mine \(class_folders\)|mine .* or .*basic"):  # fmt: skip
        inspect(tmp_path / "sets")


def test_a_set_beside_parts_is_not_taken_for_persons(tmp_path: Path) -> None:
    trees.class_folders(tmp_path / "train", {"happy": 1, "sad": 1})
    trees.rafdb(tmp_path / "raf-basic", [("train_00001.jpg", "5")])
    (found,) = inspect(tmp_path)
    assert found.format == "class_folders"
    assert found.faces.notes == (f"raf-basic is a set by itself: give {tmp_path / 'raf-basic'}",)


def test_missing_files_are_counted_and_listed(tmp_path: Path) -> None:
    labels = [(f"train_0000{i}.jpg", str(i)) for i in range(1, 8)]
    root = trees.rafdb(tmp_path / "basic", labels)
    for number in (2, 3):
        (root / "Image" / "aligned" / f"train_0000{number}_aligned.jpg").unlink()
    put(root / "Image" / "aligned" / "train_00004_aligned.jpg", b"")
    found = inspect(root)
    assert (len(found[0].faces), found[0].num_bad) == (5, 3)
    assert write_bad(found, tmp_path / "bad.csv") == 3
    with (tmp_path / "bad.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["set"], row["image"]) for row in rows] == [
        ("basic/train", "train_00002_aligned.jpg"),
        ("basic/train", "train_00003_aligned.jpg"),
        ("basic/train", "train_00004_aligned.jpg"),
    ]
    assert [row["reason"].split(":")[0] for row in rows[:2]] == ["no such image"] * 2
    # The reader leaves the missing ones out; training has to drop what cannot be read.
    train = found[0].faces
    listed = read_drops(tmp_path / "bad.csv").ids(train.name, train.origin)
    assert listed == {"train_00004_aligned.jpg"}


def test_real_faces_fit_what_is_published(real_faces: Path) -> None:
    adapter = FORMATS["class_folders"]
    for part, published in (("train", FER2013_TRAIN), ("validation", FER2013_PUBLIC)):
        faces = adapter.read(real_faces, part, "names")
        counts = class_counts(faces.known_labels(), class_names(7))
        assert counts == {name: published.counts[name] for name in class_names(7)}
