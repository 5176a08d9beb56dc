"""Tables, paths in them, repeated rows."""

import os
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.data.formats import tables
from face2exp_lib.data.formats.paths import Root, find_image
from face2exp_lib.data.formats.tables import BadRows, Entry, read_lines, read_table, unique
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import put


def all_rows(path: Path, columns: set[str]) -> list[tuple[int, dict[str, str]]]:
    return list(read_table(path, columns, BadRows(skip_bad=False)))


@pytest.mark.parametrize(
    "content",
    [b"image,identity\n\xff\xfe,1\n", bytes(range(256)) * 4, b"image,identity\n" + b'"x' * 2**24],
    ids=["not UTF-8", "binary", "a field without an end"],
)
def test_table_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "t.csv", content)
    with pytest.raises(Face2ExpError, match=r"t\.csv: not readable as a csv table .*UTF-8"):
        all_rows(path, {"image", "identity"})


def test_folder_instead_of_a_table_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"not readable as a csv table .*is a directory"):
        all_rows(tmp_path, {"image"})
    with pytest.raises(Face2ExpError, match=r"t\.csv: column 'image' is missing"):
        all_rows(put(tmp_path / "t.csv", ""), {"image"})


def test_rows_with_too_few_or_too_many_values(tmp_path: Path) -> None:
    path = put(tmp_path / "t.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n")
    with pytest.raises(Face2ExpError, match=r"t\.csv, line 3: too few values: mend or delete it"):
        all_rows(path, {"a"})
    bad = BadRows(skip_bad=True)
    assert [row["a"] for _, row in read_table(path, {"a"}, bad)] == ["1", "7"]
    assert [(s.image, s.reason, s.bad) for s in bad.skipped] == [
        ("t.csv, line 3", "too few values", True),
        ("t.csv, line 4", "too many values", True),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na.jpg,sad\n",
        "\ufeffPath , LABEL\na.jpg,sad\n",
        '"path";"label"\n"a.jpg";sad\n',
        "label\tpath\nsad\ta.jpg\n",
        ",path,label\n0,a.jpg,sad\n",  # pandas numbers its rows
        "Unnamed: 0,path,label\n0,a.jpg,sad\n",
        "path,label,\na.jpg,sad,\n",
        "path,label\na.jpg,sad,\n\n",  # a comma at the line's end
        "filename,emotion\na.jpg,sad\n",
        "Image;Expression\na.jpg;sad\n",
        "image,path,label\nother,a.jpg,sad\n",  # its own name comes first
    ],
)
def test_headers_as_people_write_them(tmp_path: Path, content: str) -> None:
    path = put(tmp_path / "t.csv", content)
    also = {"filename": "path", "image": "path", "emotion": "label", "expression": "label"}
    rows = list(read_table(path, {"path", "label"}, BadRows(skip_bad=False), also=also))
    assert [(line, row["path"], row["label"]) for line, row in rows] == [(2, "a.jpg", "sad")]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("filename,image,label", "both 'filename' and 'image' may be its column 'path'"),
        ("path,label,label", "two columns are called 'label': delete one"),
        ("path,smile", "column 'label' is missing: its first line has to name label, path"),
    ],
)
def test_headers_that_say_two_things_or_too_little(
    tmp_path: Path, header: str, message: str
) -> None:
    path = put(tmp_path / "t.csv", f"{header}\na.jpg,sad,1\n")
    also = {"filename": "path", "image": "path"}
    with pytest.raises(Face2ExpError, match=message):
        list(read_table(path, {"path", "label"}, BadRows(skip_bad=False), also=also))


def test_accents_and_capitals_do_not_matter_where_one_file_is_meant(tmp_path: Path) -> None:
    apart, whole = "Zoe\u0308", "Zo\u00eb"
    put(tmp_path / apart / f"{apart}.JPG", "")
    root = Root(tmp_path)
    for text in (f"{apart}/{apart}.JPG", f"{whole}/{whole}.jpg", f"{whole.upper()}\\{apart}.jpg"):
        assert root.find(text) == f"{apart}/{apart}.JPG"
    put(tmp_path / "b" / "x.jpg", "")
    put(tmp_path / "b" / "X.jpg", "")
    assert Root(tmp_path).find("b/x.jpg") == "b/x.jpg"
    if len(os.listdir(tmp_path / "b")) == 2:  # a file system that tells them apart
        with pytest.raises(ValueError, match="no such image"):
            Root(tmp_path).find("b/x.JPG")


@pytest.mark.parametrize(
    "name", ["._a.jpg", ".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "x\\._a.jpg"]
)
def test_what_a_system_left_behind_is_no_image_of_a_table(tmp_path: Path, name: str) -> None:
    bad = BadRows(skip_bad=False)
    assert find_image(Root(tmp_path), name, "t.csv, line 2", bad) is None
    assert [(s.image, s.bad) for s in bad.skipped] == [(name, False)]


def test_lines_without_blank_ones_and_mark(tmp_path: Path) -> None:
    path = put(tmp_path / "t.txt", b"\xef\xbb\xbfa 1\r\n\r\n  b 2")
    assert list(read_lines(path)) == [(1, "a 1"), (3, "b 2")]


@pytest.mark.parametrize("content", [b"a\n\xff\n", b"x" * 2**17], ids=["not UTF-8", "no end"])
def test_list_that_is_no_text(tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path / "t.txt", content)
    with pytest.raises(Face2ExpError, match=r"t\.txt: not readable as a list"):
        list(read_lines(path))
    with pytest.raises(Face2ExpError, match=r"gone: not readable as a list"):
        list(read_lines(tmp_path / "gone"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    put(tmp_path / "outside.jpg", b"")
    put(tmp_path / "set" / "a" / "1.jpg", b"")
    put(tmp_path / "set" / "2.jpg", b"")
    return Root(tmp_path / "set")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a/1.jpg", "a/1.jpg"),
        ("./a//1.jpg", "a/1.jpg"),
        ("a\\1.jpg", "a/1.jpg"),
        (" 2.jpg ", "2.jpg"),
    ],
)
def test_path_in_its_one_form(root: Root, text: str, path: str) -> None:
    assert root.find(text) == path


@pytest.mark.parametrize(
    "text",
    ["../outside.jpg", "a/../../outside.jpg", "a/../2.jpg", "/etc/passwd", "C:\\x.jpg", "c:x.jpg",
     "\\\\server\\x.jpg", "..\\outside.jpg"],
)  # fmt: skip
def test_path_that_leaves_the_folder(root: Root, text: str) -> None:
    with pytest.raises(ValueError, match="leaves the folder"):
        root.find(text)


@pytest.mark.parametrize("text", ["", "  ", "a/", "x\0y"])
def test_path_of_no_file(root: Root, text: str) -> None:
    with pytest.raises(ValueError, match="names no file"):
        root.find(text)


@pytest.mark.parametrize("text", ["3.jpg", "b/1.jpg", "2.jpg/x", "." + "/x" * 3000, "y" * 5000])
def test_path_of_nothing(root: Root, text: str) -> None:
    with pytest.raises(ValueError, match="no such image"):
        root.find(text)


def test_links_inside_are_followed_and_links_that_leave_are_refused(root: Root) -> None:
    folder = root.folder
    (folder / "inside.jpg").symlink_to("2.jpg")
    (folder / "out.jpg").symlink_to(folder.parent / "outside.jpg")
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    (folder / "loop").symlink_to(folder / "loop")
    assert Root(folder).find("inside.jpg") == "inside.jpg"
    for text in ("out.jpg", "up/outside.jpg"):
        with pytest.raises(ValueError, match="leaves the folder"):
            Root(folder).find(text)
    with pytest.raises(ValueError, match="no such image"):
        Root(folder).find("loop/1.jpg")


def test_a_folder_whose_name_begins_alike_is_outside(tmp_path: Path) -> None:
    put(tmp_path / "set-two" / "x.jpg", b"")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "l").symlink_to(tmp_path / "set-two")
    with pytest.raises(ValueError, match="leaves the folder"):
        Root(tmp_path / "set").find("l/x.jpg")


def test_each_folder_is_listed_once(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = []
    scandir = os.scandir

    def watched(path: Any) -> Any:
        listed.append(path)
        return scandir(path)

    monkeypatch.setattr("os.scandir", watched)
    for _ in range(5):
        root.find("a/1.jpg")
    assert len(listed) == 2  # the folder, and the one in it


def test_unique_keeps_the_first_of_equal_rows() -> None:
    bad = BadRows(skip_bad=True)
    entries = [Entry(2, "a", (1,)), Entry(3, "b", (1,)), Entry(4, "a", (1,))]
    assert unique(entries, Path("t.csv"), bad) == entries[:2]
    assert [(s.image, s.reason) for s in bad.skipped] == [("a", "an image's second row")]
    with pytest.raises(
        Face2ExpError, match=r"t\.csv, line 4: an image's second row \(a, see line 2"
    ):
        unique(entries, Path("t.csv"), BadRows(skip_bad=False))


def test_unique_drops_all_rows_of_an_image_that_contradict_each_other() -> None:
    bad = BadRows(skip_bad=True)
    entries = [Entry(2, "a", (1,)), Entry(3, "b", (1,)), Entry(4, "a", (2,)), Entry(5, "a", (1,))]
    assert unique(entries, Path("t.csv"), bad) == [entries[1]]
    assert [s.image for s in bad.skipped] == ["a", "a", "a"]
    with pytest.raises(Face2ExpError, match=r"t\.csv, line 4: two rows of one image contradict"):
        unique(entries, Path("t.csv"), BadRows(skip_bad=False))


def test_label_that_the_set_marks_as_none_is_no_error() -> None:
    bad = BadRows(skip_bad=False)
    assert bad.label("9", "affectnet", "a.jpg", "t.csv, line 2") is None
    assert bad.skipped == [tables.Skipped("a.jpg", "labelled 9 (uncertain)", False)]
    with pytest.raises(Face2ExpError, match=r"t\.csv, line 2: unknown label '11'.*set skip_bad"):
        bad.label("11", "affectnet", "a.jpg", "t.csv, line 2")


def test_nothing_left_tells_the_first_reason() -> None:
    bad = BadRows(skip_bad=True)
    bad.add("a.jpg", "", "no such image")
    bad.add("b.jpg", "", "another")
    with pytest.raises(
        Face2ExpError, match=r"t: no row \(2 left out, the first: a\.jpg: no such image\)"
    ):
        bad.must_leave(0, Path("t"), "no row")


def test_a_whole_path_is_read_where_it_lies_in_the_folder(tmp_path: Path) -> None:
    """As scripts write it that list a folder."""
    put(tmp_path / "set" / "a" / "1.jpg", "")
    put(tmp_path / "outside.jpg", "")
    (tmp_path / "link").symlink_to(tmp_path / "set", target_is_directory=True)
    root = Root(tmp_path / "set")
    for folder in ("set", "link"):
        assert root.find(f"{tmp_path}/{folder}/a/1.jpg") == "a/1.jpg"
    for outside in (f"{tmp_path}/outside.jpg", f"{tmp_path}/set/../outside.jpg"):
        with pytest.raises(ValueError, match="the path leaves the folder of the images"):
            root.find(outside)
