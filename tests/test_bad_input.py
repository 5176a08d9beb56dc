"""One set with everything in it that goes wrong in practice, met as a user meets it."""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.cli.main import main
from face2exp_lib.data.formats import FORMATS
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole

Capture = pytest.CaptureFixture[str]
Picture = Callable[[int, int], bytes]

EXIF_ORIENTATION = 0x0112
GREY = np.linspace(0, 65535, 40 * 32).reshape(40, 32).astype(np.uint16)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def odd_images() -> dict[str, bytes]:
    """Image files that are unusual and sound."""
    rgb = Image.fromarray(np.full((40, 32, 3), (200, 120, 40), dtype=np.uint8))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    return {
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "grey16.png": encoded(Image.fromarray(GREY), "PNG"),
        "palette.png": encoded(rgb.quantize(4), "PNG", transparency=0),
        "alpha.png": encoded(rgb.convert("RGBA"), "PNG"),
        "rotated.jpg": encoded(rgb, "JPEG", exif=exif),
        "png_inside.jpg": encoded(rgb, "PNG"),
        "UPPER.JPEG": encoded(rgb, "JPEG"),
    }


def broken_images() -> dict[str, bytes]:
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 32, 3), dtype=np.uint8))
    jpeg = encoded(rgb, "JPEG")
    return {
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "zero.jpg": b"",
        "text.png": b"this is no picture",
        "header.png": encoded(rgb, "PNG")[:30],
    }


@pytest.fixture
def wild(tmp_path: Path, squares_root: Path) -> Path:
    """A data root: the squares, and `wild`, persons with odd, broken, linked and other files."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "squares").symlink_to(squares_root / "squares", target_is_directory=True)
    person = root / "wild" / "person0"
    person.mkdir(parents=True)
    for name, content in (odd_images() | broken_images()).items():
        (person / name).write_bytes(content)
    (person / "notes.txt").write_text("not an image")
    (person / "clip.mov").write_bytes(b"no picture either")
    (person / "._cmyk.jpg").write_bytes(b"\0\5\26\7")
    (person / ".ipynb_checkpoints").mkdir()
    (person / ".ipynb_checkpoints" / "cmyk-checkpoint.jpg").write_bytes(b"")
    (person / "loop").symlink_to(root / "wild", target_is_directory=True)
    (person / "gone.jpg").symlink_to(person / "nowhere.jpg")
    return root


UNREADABLE = {*broken_images(), "gone.jpg"}


def read(root: Path, skip_bad: bool) -> FaceSet:
    return FORMATS["identity_folders"].read(root / "wild", "", "", skip_bad)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_odd_images_come_out_right(wild: Path) -> None:
    faces = read(wild, skip_bad=True)
    whole = {
        Path(faces.ids[row]).name: decode_whole(faces.images, row)
        for row in range(len(faces))
        if Path(faces.ids[row]).name in odd_images()
    }
    assert {image.mode for image in whole.values()} == {"RGB"}
    assert whole.pop("rotated.jpg").size == (40, 32)
    assert {image.size for image in whole.values()} == {(32, 40)}
    assert np.array_equal(np.asarray(whole.pop("grey16.png"))[..., 0], GREY >> 8)
    for name, image in whole.items():
        assert np.allclose(np.asarray(image), (200, 120, 40), atol=6), name


def test_a_linked_folder_stops_a_reader_that_may_not_skip(wild: Path) -> None:
    with pytest.raises(Exception, match="person0/loop: a linked folder is not entered"):
        read(wild, skip_bad=False)


def test_everything_is_counted(wild: Path, capsys: Capture) -> None:
    """Each file is an image of the set, unreadable, or left out: none is gone."""
    listing = wild / "bad.csv"
    assert run("data", "inspect", wild / "wild") == 1
    assert "5 unreadable images and 1 bad rows, listed above" in capsys.readouterr().err
    assert run("data", "inspect", wild / "wild", "--skip-bad", listing) == 0
    out = capsys.readouterr().out
    assert f"{len(odd_images()) + len(UNREADABLE)} images" in out
    assert "2: no image by the end of its name" in out
    assert "2: left there by a system or a tool" in out
    assert "1: a linked folder is not entered" in out
    with listing.open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert {name for name, row in rows.items() if row["drop"] == "yes"} == UNREADABLE
    assert {name for name, row in rows.items() if row["drop"] == "no"} == {
        "notes.txt",
        "clip.mov",
        "._cmyk.jpg",
        ".ipynb_checkpoints",
        "loop",
    }
    assert rows.keys() | odd_images().keys() == set(os.listdir(wild / "wild" / "person0"))


def test_training_names_what_it_cannot_read_and_goes_on_without_it(
    wild: Path, config_path: Path, capsys: Capture
) -> None:
    unlabelled = "data.unlabelled={format: identity_folders, path: wild, skip_bad: true}"
    command = ("train", config_path, "--data-root", wild, "--set", unlabelled)
    assert run(*command, "--run-dir", wild / "first") == 1
    error = capsys.readouterr().err
    assert any(name in error for name in UNREADABLE)
    assert "data inspect" in error
    listing = wild / "bad.csv"
    assert run("data", "inspect", wild / "wild", "--skip-bad", listing) == 0
    drop = ("--set", f"data.drop={listing}")
    assert run(*command, *drop, "--run-dir", wild / "second") == 0
    record = json.loads((wild / "second" / "data.json").read_text())
    assert record["left_out"]["unlabelled"]["listed in data.drop"] == len(UNREADABLE)
    assert record["sets"]["unlabelled"]["num_images"] == len(odd_images())


@pytest.mark.parametrize("name", sorted(UNREADABLE - {"gone.jpg"}))
def test_prediction_names_the_image(
    wild: Path, finished_runs: dict[str, Path], capsys: Capture, name: str
) -> None:
    assert run("predict", finished_runs["supervised"], wild / "wild" / "person0" / name) == 1
    assert f"{name}: not a readable image" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("../outside.png,happy", "outside"),
        ("/etc/outside.png,happy", "outside"),
        ("a.png,9", "unknown label"),
        ("a.png,happy\na.png,happy", "an image's second row"),
        ("a.png,happy\na.png,sad", "two rows of one image contradict each other"),
    ],
)
def test_rows_of_a_table(tmp_path: Path, picture: Picture, row: str, message: str) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (tmp_path / "outside.png").write_bytes(picture(0, 0))
    for name in ("a.png", "b.png"):
        (root / name).write_bytes(picture(0, 0))
    table = root / "faces.csv"
    table.write_text(f"path,label\nb.png,sad\n{row}\n")
    with pytest.raises(Exception, match=message):
        FORMATS["listed"].read(table, "", "names", False)
    faces = FORMATS["listed"].read(table, "", "names", True)
    assert len(faces) + len(faces.skipped) == 1 + len(row.split("\n"))
    assert all(skipped.bad for skipped in faces.skipped)
