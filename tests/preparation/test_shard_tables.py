"""Tables of tars that others wrote: nothing is guessed, and nothing lost without a word."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from face2exp_lib.data.sets.labels import CODES
from face2exp_lib.data.shards.tar import members
from face2exp_lib.data.shards.writer import content_digest, read_remarks
from face2exp_lib.preparation.shard_tables import IndexJob, Told, index_tar, told_beside
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import jpeg
from tests.data.shards.small_shards import tiny
from tests.data.shards.test_tar import entry

HAPPY, SAD = 1, 3
Files = list[tuple[str, bytes]]


def tar(path: Path, files: Files, *odd: tarfile.TarInfo) -> Path:
    """As Python's tarfile writes it by default."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            archive.addfile(entry(name, size=len(content)), io.BytesIO(content))
        for info in odd:
            archive.addfile(info)
    return path


def rows_of(path: Path, codes: str | None = None, skip_bad: bool = False) -> list[dict]:
    index_tar(IndexJob(path, codes, skip_bad))
    rows: list[dict] = pq.read_table(path.with_suffix(".parquet")).to_pylist()
    return rows


def remarks(path: Path) -> dict:
    found = read_remarks(path.parent, path.name)
    assert found is not None
    return found[1]


def test_a_row_for_each_image(tmp_path: Path) -> None:
    files = [
        ("0.jpg", jpeg(0)), ("0.json", b'{"label": "Happiness", "identity": 7}'),
        ("1.png", tiny(1)), ("1.cls", b"sad\n"),
        ("2.JPEG", jpeg(2)), ("2.txt", b"a man who smiles"), ("2.npy", b"x"),
        ("sub.d/3.webp.jpg", jpeg(3)),
    ]  # fmt: skip
    path = tar(tmp_path / "a.tar", files)
    before = path.read_bytes()
    rows = rows_of(path)
    assert path.read_bytes() == before
    assert [row["image"] for row in rows] == ["0.jpg", "1.png", "2.JPEG", "sub.d/3.webp.jpg"]
    assert [row["id"] for row in rows] == [f"a.tar/{row['image']}" for row in rows]
    assert [row["label"] for row in rows] == [HAPPY, SAD, None, None]
    assert [row["identity"] for row in rows] == ["7", None, None, None]
    contents = dict(files)
    for row in rows:
        stored = contents[row["image"]]
        assert before[row["offset"] : row["offset"] + row["length"]] == stored
        assert row["digest"].hex() == content_digest(stored)
        assert (row["landmarks"], row["detected"]) == (None, None)
    assert {(row["width"], row["height"]) for row in rows if row["image"] != "1.png"} == {(24, 24)}
    assert (rows[1]["width"], rows[1]["height"]) == (8, 8)
    assert remarks(path)["labelled"] == 2
    assert remarks(path)["unlabelled"] == {"no name of a class": 1}


def test_what_lies_apart_belongs_together(tmp_path: Path) -> None:
    """All images first, as `tar c *.jpg *.cls` has them."""
    files = [("0.jpg", jpeg(0)), ("1.jpg", jpeg(1)), ("0.cls", b"sad"), ("1.cls", b"happy")]
    assert [row["label"] for row in rows_of(tar(tmp_path / "a.tar", files))] == [SAD, HAPPY]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    files = [
        ("a/0.jpg", jpeg(0)), ("a/._0.jpg", jpeg(1)), ("__MACOSX/a/x.jpg", jpeg(1)),
        (".cache/b.jpg", jpeg(1)), ("README", b""), ("alone.json", b"{}"), ("alone.cls", b"0"),
    ]  # fmt: skip
    path = tar(tmp_path / "a.tar", files)
    assert [row["image"] for row in rows_of(path)] == ["a/0.jpg"]
    assert remarks(path)["left_out"] == {
        "left behind by a system or a tool": 3,
        "no image by the end of the name": 3,
    }


BAD: dict[str, tuple[Files, list[tarfile.TarInfo], str, list[str]]] = {
    "broken": ([("1.jpg", b"broken")], [], "1.jpg: not a readable image", ["1.jpg"]),
    "cut off": ([("1.jpg", jpeg(1)[:300])], [], "1.jpg: not a readable image", ["1.jpg"]),
    "link": ([], [entry("1.jpg", tarfile.SYMTYPE)], "1.jpg: is no plain file", ["1.jpg"]),
    "path": ([("../1.jpg", b"")], [], "../1.jpg: the name leaves the tar", ["../1.jpg"]),
    "two": (
        [("1.jpg", jpeg(1)), ("1.png", tiny(1))], [],
        "1.jpg: several images of one key", ["1.jpg", "1.png"],
    ),
    "twice": (
        [("1.jpg", jpeg(1)), ("1.jpg", jpeg(2))], [],
        "1.jpg: several images of one key", ["1.jpg", "1.jpg"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_images_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    files, odd, message, skipped = BAD[kind]
    path = tar(tmp_path / "a.tar", [("0.jpg", jpeg(0)), *files], *odd)
    with pytest.raises(Face2ExpError, match=rf"^{path}: {message}.*--skip-bad FILE") as raised:
        index_tar(IndexJob(path, None, False))
    assert " object at 0x" not in str(raised.value)
    assert not path.with_suffix(".parquet").exists()
    assert [row["image"] for row in rows_of(path, skip_bad=True)] == ["0.jpg"]
    assert [image for image, _ in remarks(path)["skipped"]] == [f"a.tar/{name}" for name in skipped]


NUMBER = "a number, whose code table --codes would name"
APART = "labels that contradict each other"


@pytest.mark.parametrize(
    ("told", "codes", "expected"),
    [
        ([], None, Told(None, None)),
        ([("cls", b" Happy \n")], None, Told(HAPPY, None)),
        ([("cls", b"3")], None, Told(None, None, NUMBER)),
        ([("cls", b"3")], "fer2013", Told(HAPPY, None)),
        ([("cls", b"3")], "rafdb", Told(5, None)),
        ([("json", b'{"label": 3}')], "fer2013", Told(HAPPY, None)),
        ([("json", b'{"emotion": 3.0}')], "fer2013", Told(HAPPY, None)),
        ([("json", b'{"expression": "sad"}')], "fer2013", Told(SAD, None)),
        ([("json", b'{"label": true}')], "fer2013", Told(None, None)),
        ([("json", b'"sad"')], None, Told(SAD, None)),
        ([("json", b"{")], None, Told(None, None, "a .json that is none")),
        ([("json", b"[" * 100_000)], None, Told(None, None, "a .json that is none")),
        ([("json", b"\xff")], None, Told(None, None, "a .json that is none")),
        ([("json", b'{"label": "sad"}'), ("cls", b"sadness")], None, Told(SAD, None)),
        ([("json", b'{"label": "sad"}'), ("cls", b"3")], None, Told(SAD, None)),
        ([("json", b'{"label": "sad"}'), ("txt", b"a man")], None, Told(SAD, None)),
        ([("json", b'{"label": "sad"}'), ("cls", b"happy")], None, Told(None, None, APART)),
        ([("json", b'{"label": "sad"}'), ("cls", b"3")], "fer2013", Told(None, None, APART)),
        ([("json", b'{"label": "sad"}'), ("cls", b"8")], "affectnet", Told(None, None, APART)),
        ([("cls", b"8")], "affectnet", Told(None, None, "marked as no expression", True)),
        ([("txt", b"none")], "names", Told(None, None, "marked as no expression", True)),
        ([("cls", b"77")], "affectnet", Told(None, None, "no label of the code table")),
        ([("txt", b"a man")], None, Told(None, None, "no name of a class")),
        ([("json", b'{"identity": "ann"}')], None, Told(None, "ann")),
        ([("json", b'{"identity": {}}')], None, Told(None, None)),
        ([("json", b'{"identity": 1}'), ("json", b'{"identity": 2}')], None, Told(None, None)),
    ],
)
def test_what_is_told_beside_an_image(
    told: list[tuple[str, bytes]], codes: str | None, expected: Told
) -> None:
    assert told_beside(told, codes) == expected


@pytest.mark.parametrize("codes", sorted(CODES))
def test_with_a_code_table_every_image_needs_a_label(tmp_path: Path, codes: str) -> None:
    told = min(CODES[codes])
    files = [("0.jpg", jpeg(0)), ("0.cls", told.encode()), ("1.jpg", jpeg(1))]
    path = tar(tmp_path / "a.tar", files)
    with pytest.raises(Face2ExpError, match=r"1\.jpg: no label beside it; --skip-bad FILE"):
        index_tar(IndexJob(path, codes, False))
    (row,) = rows_of(path, codes, skip_bad=True)
    assert row["label"] == CODES[codes][told]


def test_what_is_marked_as_no_expression_is_left_out(tmp_path: Path) -> None:
    images = [(f"{n}.jpg", jpeg(n)) for n in range(3)]
    path = tar(tmp_path / "a.tar", [*images, ("0.cls", b"1"), ("1.cls", b"8"), ("2.cls", b"none")])
    assert [row["label"] for row in rows_of(path, "affectnet")] == [HAPPY]
    assert remarks(path)["left_out"] == {"marked as no expression": 2}
    assert [row["label"] for row in rows_of(path)] == [None, None, None]
    assert remarks(path)["unlabelled"] == {NUMBER: 2, "marked as no expression": 1}


def test_a_long_text_beside_an_image_is_not_read(tmp_path: Path) -> None:
    files = [("0.jpg", jpeg(0)), ("0.json", b'{"label": "sad"}' + b" " * 2**20)]
    assert [row["label"] for row in rows_of(tar(tmp_path / "a.tar", files))] == [None]


def test_a_table_that_fits_is_kept_and_another_made_anew(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", [("0.jpg", jpeg(0)), ("0.cls", b"3")])
    table = path.with_suffix(".parquet")
    rows_of(path)
    made = table.stat().st_ino
    rows_of(path)
    assert table.stat().st_ino == made
    assert [row["label"] for row in rows_of(path, "fer2013")] == [HAPPY]
    tar(path, [("0.jpg", jpeg(0)), ("0.cls", b"4")])
    assert [row["label"] for row in rows_of(path, "fer2013")] == [SAD]


def test_a_table_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    """img2dataset leaves one beside each tar."""
    path = tar(tmp_path / "00000.tar", [("0.jpg", jpeg(0))])
    path.with_suffix(".parquet").write_bytes(b"theirs")
    with pytest.raises(Face2ExpError, match=r"00000\.parquet: lies where the table of 00000\.tar"):
        rows_of(path)
    assert path.with_suffix(".parquet").read_bytes() == b"theirs"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "cut off after 0 bytes"), (b"x" * 2000, "no member begins at byte 0"),
     (b"\x1f\x8b" + bytes(2000), "it is compressed, and no image in it has a place: gunzip it")],
)  # fmt: skip
def test_what_is_no_tar(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(Face2ExpError, match=rf"a\.tar: not readable as a tar \({message}"):
        index_tar(IndexJob(tmp_path / "a.tar", None, True))


def test_the_places_are_those_of_a_reader_of_tars(tmp_path: Path) -> None:
    files = [("ü" * 80 + ".jpg", jpeg(0)), ("0.json", json.dumps({}).encode()), ("0.jpg", jpeg(1))]
    path = tar(tmp_path / "a.tar", files)
    told = {(member.name, member.offset, member.size) for member in members(path)}
    assert {(row["image"], row["offset"], row["length"]) for row in rows_of(path)} < told
