"""Lists of images that travel without the images."""

from pathlib import Path

import numpy as np
import pytest

from face2exp_lib.data.lists import Draw, read_draw, read_drops, write_draw
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages, PixelImages
from face2exp_lib.runtime.errors import Face2ExpError

ODD = 'sad/"a, b"\n#\udcff é.png'  # commas, quotes, a line break, a byte that is no UTF-8


def faces(ids: list[str], labels: list[int] | None) -> FaceSet:
    images = FileImages(Path("nowhere"), ids)
    known = None if labels is None else np.array(labels)
    return FaceSet("set", images, np.arange(len(ids)), known)


def test_a_draw_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "draw.csv"
    parts = {"train": faces(["b.png", ODD], [1, 7]), "validation": faces(["a.png"], [0])}
    write_draw(path, parts, {"seed": 3, "train": "happy 1, contempt 1"})
    assert read_draw(path) == Draw({"b.png": 1, ODD: 7}, {"a.png": 0})
    head = path.read_bytes().split(b"b.png")[0].decode()
    assert head == "# seed: 3\n# train: happy 1, contempt 1\nimage,label,part\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_table_of_ones_own(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(mark + b"label,image,note\r\nHappiness,1.png,x\r\nsad,2.png,y\r\n")
    assert read_draw(path) == Draw({"1.png": 1, "2.png": 3}, {})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "column 'image' is missing"),
        (b"# only a remark", "column 'image' is missing"),
        (b"image\na.png\n", "column 'label' is missing: its first line has to name image, label"),
        (b"image,label\n", "lists no image for training"),
        (b"image,label,part\na.png,sad,validation\n", "lists no image for training"),
        (b"# x\nimage,label\na.png,sad\na.png,sad\n", r"line 4: a\.png is listed twice"),
        (b"image,label\na.png\n", "line 2: too (few|many) values"),
        (b"image,label\na.png,sad,x,y\n", "line 2: too (few|many) values"),
        (b"image,label\na.png,9\n", "line 2: unknown label '9'"),
        (b"image,label,part\na.png,sad,test\n", "line 2: part 'test' is neither"),
        (b'image,label\n"' + b"a" * 200_000, "line 2: too few values"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", "column 'image' is missing"),
    ],
)
def test_tables_that_are_no_draw(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "draw.csv"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=message) as caught:
        read_draw(path)
    assert str(path) in str(caught.value)


def test_missing_table_and_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"gone\.csv: no such table"):
        read_draw(tmp_path / "gone.csv")
    with pytest.raises(Face2ExpError, match="not readable as a csv table"):
        read_drops(tmp_path)


def test_drops_of_each_set(tmp_path: Path) -> None:
    path = tmp_path / "drop.csv"
    path.write_text("set,image,kind,drop\na,1,exact,yes\nb,1,near,no\na,2,near,no\na,3,x,yes\n")
    drops = read_drops(path)
    assert (drops.ids("a", ""), drops.ids("b", "")) == ({"1", "3"}, set())
    assert drops.knows("b", "")
    assert not drops.knows("c", "")
    path.write_text("set,image,drop\na,1,\n")
    with pytest.raises(Face2ExpError, match="line 2: drop '' is neither yes nor no"):
        read_drops(path)


def test_a_set_is_its_path_and_only_elsewhere_its_name(tmp_path: Path) -> None:
    path = tmp_path / "drop.csv"
    path.write_text("set,path,image,drop\nx,/a/x,1,yes\nx,/b/x,2,yes\n")
    drops = read_drops(path)
    assert drops.ids("renamed", "/a/x") == {"1"}
    assert drops.ids("x", "/b/x") == {"2"}
    assert drops.ids("x", "/moved/x") == {"1", "2"}
    assert not drops.knows("y", "/c/x")


def test_accents_that_a_mac_takes_apart_are_the_same_image(tmp_path: Path) -> None:
    apart, whole = "Zoe\u0308.jpg", "Zo\u00eb.jpg"
    (tmp_path / "drop.csv").write_text(f"set,image,drop\na,{apart},yes\n", encoding="utf-8")
    (tmp_path / "draw.csv").write_text(f"image,label\n{apart},happy\n", encoding="utf-8")
    assert read_draw(tmp_path / "draw.csv").train == {whole: 1}
    listed = faces([whole, "b"], [1, 2])
    left, number, _, lacking = listed.without(read_drops(tmp_path / "drop.csv").ids("a", ""), set())
    assert (left.ids, number, lacking) == (["b"], 1, set())


def test_a_set_without_some_and_without_copies() -> None:
    """By hand: `b` is dropped, and `d` has the bytes of `a`, which are held out."""
    pixels = np.array([[[0]], [[1]], [[2]], [[0]]], dtype=np.uint8)
    four = FaceSet("four", PixelImages(pixels, ["a", "b", "c", "d"]), np.arange(4))
    held_out = {four.digests()[0]}
    left, num_listed, num_copies, lacking = four.without({"b", "x"}, held_out)
    assert (left.ids, num_listed, num_copies, lacking) == (["c"], 1, 2, {"x"})
    assert four.listed is four


def test_digest_sees_ids_labels_and_order() -> None:
    first = faces(["a", "b"], [0, 1]).digest
    assert first == faces(["x", "a", "b"], [5, 0, 1]).subset(np.array([1, 2])).digest
    others = [
        faces(["a", "b"], [1, 0]),
        faces(["b", "a"], [1, 0]),
        faces(["a"], [0]),
        faces(["a", "b"], None),
        faces(["a 0\n1 b"], [1]),
        faces(["a", ODD], [0, 1]),
    ]
    assert len({first, *(other.digest for other in others)}) == 7
