"""InsightFace's packs, whole and damaged."""

import os
import pickle
import struct
from pathlib import Path

import pytest

from face2exp_lib.data.formats import recordio
from face2exp_lib.data.formats.recordio import read_recordio, recognise
from face2exp_lib.data.sets.images import decode
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import MAGIC, jpeg, labelled, pack, put, record
from tests.data.formats.trees import recordio as insightface

FACES = [jpeg(i, (112, 112)) for i in range(5)]
IMAGES = [(FACES[0], (0,)), (FACES[1], (0,)), (FACES[2], (7,)), (FACES[3], (7.0, 2.0))]


def test_images_identities_and_numbers(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)
    faces = read_recordio(root, "", "")
    assert faces.identities is not None
    assert faces.identities.tolist() == [0, 0, 7, 7]
    assert faces.ids == ["1", "2", "3", "4"]
    assert [faces.images.read(i) for i in range(4)] == FACES[:4]
    assert decode(faces.images, 3, 112).shape == (3, 112, 112)
    assert recognise(root) == ["train"]
    assert faces.images.ids[1:3][0] == "2"


def test_a_pack_without_record_0_is_images_only(tmp_path: Path) -> None:
    records = [record(labelled(FACES[i], (i,), i)) for i in range(3)]
    faces = read_recordio(pack(tmp_path, records), "train", "")
    assert faces.ids == ["0", "1", "2"]


def test_an_image_with_several_labels_is_no_head(tmp_path: Path) -> None:
    """Its labels, taken for the number after the last image, would cut the pack off."""
    records = [record(labelled(FACES[i], (3.0, 9.0), i)) for i in range(5)]
    faces = read_recordio(pack(tmp_path, records), "train", "")
    assert faces.ids == ["0", "1", "2", "3", "4"]
    assert faces.identities is not None
    assert faces.identities.tolist() == [3] * 5


def test_an_index_with_other_records_than_the_head_counts(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)  # images 1 to 4, persons 5 and 6
    index = root / "train.idx"
    lines = index.read_text().splitlines(keepends=True)
    index.write_text("".join(lines) + lines[-1].replace("6\t", "7\t"))
    with pytest.raises(Face2ExpError, match=r"train\.rec: its index has 1 records more than the 7"):
        read_recordio(root, "", "", skip_bad=True)
    index.write_text("".join(line for line in lines if not line.startswith(("2\t", "3\t"))))
    with pytest.raises(Face2ExpError, match=r"the index lacks images .*: 2 of 4"):
        read_recordio(root, "", "")
    faces = read_recordio(root, "", "", skip_bad=True)
    assert faces.ids == ["1", "4"]
    assert [skipped.bad for skipped in faces.skipped] == [True]


def test_a_label_that_is_no_number_of_a_person(tmp_path: Path) -> None:
    records = [record(labelled(FACES[i], (i + 0.5 * (i == 1),), i)) for i in range(3)]
    with pytest.raises(Face2ExpError, match="no sound record: image 1"):
        read_recordio(pack(tmp_path, records), "train", "")


def test_a_record_in_pieces_had_the_magic_number_between_them(tmp_path: Path) -> None:
    content = labelled(FACES[0][:100] + MAGIC + FACES[0][100:300] + MAGIC + b"end", (5,), 1)
    pieces = content.split(MAGIC)
    assert len(pieces) == 3
    cut = b"".join(record(piece, kind) for kind, piece in zip((1, 2, 3), pieces, strict=True))
    whole = record(labelled(FACES[1], (6,), 2))
    faces = read_recordio(pack(tmp_path, [cut, whole]), "", "")
    assert faces.images.read(0) == content[24:]
    assert faces.identities is not None
    assert faces.identities.tolist() == [5, 6]


def test_index_in_any_order(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)
    lines = (root / "train.idx").read_text().splitlines()
    put(root / "train.idx", "\r\n".join(reversed(lines)))
    faces = read_recordio(root, "", "")
    assert [faces.images.read(i) for i in range(4)] == FACES[:4]


def test_index_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = insightface(tmp_path, IMAGES)
    monkeypatch.setattr(recordio, "IDX_CHARS", 13)
    monkeypatch.setattr(recordio, "CHUNK", 3)
    assert read_recordio(root, "", "").images.read(3) == FACES[3]


def test_open_pack_crosses_to_a_spawned_process(tmp_path: Path) -> None:
    images = read_recordio(insightface(tmp_path, IMAGES), "", "").images
    images.read(0)
    assert pickle.loads(pickle.dumps(images)).read(1) == FACES[1]


def test_a_pack_that_is_cut_off(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)
    offset = int((root / "train.idx").read_text().split()[7])  # of image 3
    os.truncate(root / "train.rec", offset + 50)
    with pytest.raises(Face2ExpError, match=r"train\.rec: no sound record: image 3 at byte [\d,]+"):
        read_recordio(root, "", "")
    faces = read_recordio(root, "", "", skip_bad=True)
    assert faces.ids == ["1", "2"]
    assert [(s.image, s.reason, s.bad) for s in faces.skipped] == [
        ("3", "no sound record", True),
        ("4", "no sound record", True),
    ]


def damaged(root: Path, at: int, content: bytes, image: int) -> Path:
    """The pack with other bytes at a place in the record of an image."""
    offset = int((root / "train.idx").read_text().split()[2 * image + 1])
    whole = bytearray((root / "train.rec").read_bytes())
    whole[offset + at : offset + at + len(content)] = content
    put(root / "train.rec", bytes(whole))
    return root


@pytest.mark.parametrize(
    ("at", "content"),
    [
        (0, b"abcd"),
        (4, struct.pack("<I", 2**29 - 1)),
        (4, struct.pack("<I", 10)),
        (4, struct.pack("<I", 2 << 29 | 5000)),
        (8, struct.pack("<I", 2**31)),
        (12, struct.pack("<f", float("nan"))),
        (12, struct.pack("<f", 1e30)),
    ],
    ids=["magic", "length beyond the file", "shorter than the header", "middle piece", "flag",
         "NaN label", "huge label"],
)  # fmt: skip
def test_a_broken_record_is_named(tmp_path: Path, at: int, content: bytes) -> None:
    root = damaged(insightface(tmp_path, IMAGES), at, content, 2)
    with pytest.raises(Face2ExpError, match="no sound record: image 2 at byte"):
        read_recordio(root, "", "")
    assert read_recordio(root, "", "", skip_bad=True).ids == ["1", "3", "4"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (1, "no record begins there|a piece of a record is missing"),
        (0, "its content is no image of a kind that is read"),
    ],
)
def test_damage_that_shows_only_when_the_image_is_read(
    tmp_path: Path, kind: int, message: str
) -> None:
    root = insightface(tmp_path, IMAGES)
    if kind:
        length = 24 + len(FACES[1])
        damaged(root, 4, struct.pack("<I", kind << 29 | length), 2)
    else:
        damaged(root, 32, bytes(2000), 2)
    faces = read_recordio(root, "", "")
    with pytest.raises(Face2ExpError, match=rf"^2: not a readable image .*({message})"):
        decode(faces.images, 1, 32)


def test_pieces_without_end_stop_at_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = labelled(FACES[0], (5,), 1)
    endless = record(content, 1) + record(bytes(5000), 2) * 50
    whole = record(labelled(FACES[1], (6,), 0))
    faces = read_recordio(pack(tmp_path, [whole, endless]), "", "")
    with pytest.raises(ValueError, match="the file ends within a record"):
        faces.images.read(1)
    monkeypatch.setattr(recordio, "MAX_MEMBER_BYTES", 20_000)
    with pytest.raises(ValueError, match=r"the record holds 2[0-9,]+ bytes or more"):
        faces.images.read(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "its index is empty"),
        ("0\tx\n", "not readable as an index"),
        ("0\t0\n1\n", "a line without two numbers"),
        ("0\t0\n1\t2\t3\n4\n", "a line without two numbers"),
        ("0\t0\n0\t0\n", "a key stands there twice"),
        ("0\t-8\n", "a number below 0"),
        ("0\t" + "9" * 40, "a number too long"),
        ("0\t7\n", "its first record is broken"),
        ("0\t99999999\n", "its first record is broken"),
    ],
)
def test_broken_index(tmp_path: Path, text: str, message: str) -> None:
    root = insightface(tmp_path, IMAGES)
    put(root / "train.idx", text)
    with pytest.raises(Face2ExpError, match=message):
        read_recordio(root, "", "", skip_bad=True)


def test_index_that_names_a_record_twice(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)
    lines = (root / "train.idx").read_text().splitlines()
    lines[3] = "3\t" + lines[2].split("\t")[1]
    put(root / "train.idx", "\n".join(lines))
    with pytest.raises(Face2ExpError, match="the index names its record twice: image 3"):
        read_recordio(root, "", "")
    assert read_recordio(root, "", "", skip_bad=True).ids == ["1", "2", "4"]


def test_record_0_that_tells_no_number(tmp_path: Path) -> None:
    root = damaged(insightface(tmp_path, IMAGES), 32, struct.pack("<f", float("nan")), 0)
    with pytest.raises(Face2ExpError, match="the number after the last image is nan"):
        read_recordio(root, "", "")


def test_missing_file(tmp_path: Path) -> None:
    root = insightface(tmp_path, IMAGES)
    (root / "train.idx").unlink()
    with pytest.raises(
        Face2ExpError, match=r"train\.idx: no such file .*train\.rec with train\.idx"
    ):
        read_recordio(root, "", "")
