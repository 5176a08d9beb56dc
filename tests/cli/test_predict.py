"""`face2exp predict`: of folders, of photos, of what cannot be read."""

import argparse
import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from face2exp_lib.cli.runs import add_model_commands
from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from tests.cli.commands import MARKS, Capture, Typed, fail

pytestmark = MARKS


def test_predict_a_folder(typed: Typed, run: Path, squares_root: Path, tmp_path: Path) -> None:
    folder = squares_root / "squares" / "test"
    lines = typed("predict", run, folder).splitlines()
    assert len(lines) == 21
    assert lines[0].startswith(f"{folder / 'anger' / '0.png'}: ")
    found = json.loads(typed("predict", run, folder / "sad", "--json"))
    assert [one["image"] for one in found] == [str(folder / "sad" / f"{i}.png") for i in range(3)]
    out = typed("predict", run, folder, "--out", tmp_path / "r.csv", "--flip")
    assert out == f"{tmp_path / 'r.csv'}: 21 images\n"
    with (tmp_path / "r.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 21
    with pytest.raises(Face2ExpError, match=r"r\.txt: unknown kind of table"):
        typed("predict", run, folder, "--out", tmp_path / "r.txt")


def test_predict_skips_what_is_broken(
    run: Path,
    squares_root: Path,
    tmp_path: Path,
    typed: Typed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = Path(shutil.copytree(squares_root / "squares" / "test" / "sad", tmp_path / "sad"))
    (folder / "1.png").write_bytes(b"broken")
    with pytest.raises(Face2ExpError, match=r"1\.png: not a readable image"):
        typed("predict", run, folder)
    capsys.readouterr()
    parser = argparse.ArgumentParser()
    add_model_commands(parser.add_subparsers())
    options = parser.parse_args(["predict", str(run), str(folder), "--skip-bad"])
    options.run(options)
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 2
    assert told.err.startswith(f"face2exp: {folder / '1.png'}: not a readable image")


def test_predict_counts_what_a_folder_holds_beside_images(
    run: Path, squares_root: Path, tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("captum", reason="the explain extra is not installed")
    folder = Path(shutil.copytree(squares_root / "squares" / "test" / "sad", tmp_path / "sad"))
    for name in ("1.txt", "2.txt", "clip.mov"):
        (folder / name).write_bytes(b"")
    line = f"{folder}: 3 files left out: no image by the end of the name: .txt 2, .mov 1"
    for options in (["predict", run, folder], ["explain", run, folder, "--out", tmp_path / "maps"]):
        parser = argparse.ArgumentParser()
        add_model_commands(parser.add_subparsers())
        parsed = parser.parse_args([str(word) for word in options])
        parsed.run(parsed)
        told = capsys.readouterr()
        assert len(told.out.splitlines()) == 3
        # On a busy machine the bar of `explain` shows behind it.
        assert told.err.split("\n")[0] == f"face2exp: {line}"


def test_faces_of_photos(
    run: Path, tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three faces in one photo, none in another, side by side in one command."""
    pytest.importorskip("facenet_pytorch", reason="the extra `landmarks` is missing")
    part = read_rendered(shipped("data/rendered"), "fer_test", "names")
    photo = Image.new("RGB", (900, 400), (120, 120, 120))
    for index, place in zip((3, 5, 6), ((640, 90), (340, 60), (40, 80)), strict=True):
        photo.paste(decode_whole(part.images, index).resize((50, 50)), place)
    three, none = tmp_path / "three.png", tmp_path / "none.png"
    photo.save(three)
    Image.new("RGB", (300, 200), (120, 120, 120)).save(none)
    with pytest.raises(Face2ExpError, match=r"none\.png: no face found"):
        typed("predict", run, three, none, "--crop", "photo")
    capsys.readouterr()
    parser = argparse.ArgumentParser()
    add_model_commands(parser.add_subparsers())
    words = ["predict", run, three, none, "--crop", "photo", "--skip-bad"]
    parsed = parser.parse_args([str(word) for word in words])
    parsed.run(parsed)
    told = capsys.readouterr()
    pattern = rf"{three}: face (\d) of 3 at (\d+), \d+, "
    places = [re.match(pattern, line) for line in told.out.splitlines()]
    assert [place and place[1] for place in places] == ["1", "2", "3"]
    lefts = [int(place[2]) for place in places if place]
    assert lefts == sorted(lefts)
    said = [line for line in told.err.splitlines() if line.startswith("face2exp: ")]  # no bars
    assert [line.split(": ", 2)[1] for line in said] == [str(none), "3 faces in 1 photos"]
    out = tmp_path / "faces.csv"
    assert typed(*words, "--out", out) == f"{out}: 3 faces in 1 photos\n"
    with out.open(newline="") as file:
        assert [row["face"] + row["faces"] for row in csv.DictReader(file)] == ["13", "23", "33"]
    assert [one["face"] for one in json.loads(typed(*words, "--json"))] == [1, 2, 3]


@pytest.mark.parametrize(
    "make",
    [
        lambda path, whole: None,
        lambda path, whole: path.write_bytes(b""),
        lambda path, whole: path.write_bytes(b"broken"),
        lambda path, whole: path.write_bytes(whole[:300]),
        lambda path, whole: path.write_bytes(whole.replace(b"IDAT", b"IDOT")),
    ],
    ids=["gone", "empty", "text", "cut off", "odd chunk"],
)
def test_predict_of_a_broken_image(
    capsys: Capture,
    finished_runs: dict[str, Path],
    squares_root: Path,
    tmp_path: Path,
    make: Callable[[Path, bytes], Any],
) -> None:
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    path = tmp_path / "face.png"
    make(path, good.read_bytes())
    line = fail(capsys, "predict", finished_runs["meta"], good, path, "--json")
    assert line.startswith(f"{path}: not a readable image")
    assert capsys.readouterr().out == ""
