"""`face2exp data inspect`, `audit` and `draw`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.cli import data as cli_data
from face2exp_lib.cli.main import main
from face2exp_lib.rendering import layouts
from tests.cli.commands import MARKS, Capture, fail, succeed

pytestmark = MARKS


def test_inspect(capsys: Capture, squares_root: Path) -> None:
    out = succeed(capsys, "data", "inspect", squares_root / "squares")
    assert "squares/train: format class_folders, 48 images" in out
    assert "labels looked up as codes: names" in out
    assert [line.split() for line in out.splitlines() if "happy" in line] == [
        ["happy", "3"],
        ["happy", "11"],
    ]
    assert out.count("unreadable        0") == 2
    out = succeed(capsys, "data", "inspect", squares_root / "people")
    assert "people: format identity_folders, 12 images" in out
    assert "identities        6, no expression labels" in out


def test_audit_writes_a_table_that_training_drops_by(
    capsys: Capture, config_path: Path, data: Path, tmp_path: Path
) -> None:
    """The squares' noise of its own leaves no near copies; `copy.png` lies in test, too."""
    squares, table = data / "squares", tmp_path / "new" / "drop.csv"
    options = ("--distance", 8, "--out", table)
    out = succeed(capsys, "data", "audit", f"{squares}:train", f"{squares}:test", *options)
    assert "squares/train: 48 images, for training" in out
    assert "squares/test: 21 images, for evaluation" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["redundant", "copies", "2", "images"] in lines
    assert ["copies", "with", "conflicting", "labels", "0", "groups"] in lines
    assert ["to", "drop", "from", "squares/train:", "2"] in lines
    dropped = [line for line in table.read_text().splitlines() if ",yes," in line]
    assert sorted(line.split(",")[2] for line in dropped) == ["happy/copy.png", "sad/copy.png"]
    run = tmp_path / "run"
    changes = ("--set", f"data.drop={table}", "--data-root", data)
    succeed(capsys, "train", config_path, *changes, "--run-dir", run)
    left_out = json.loads((run / "data.json").read_text())["left_out"]["labelled"]
    assert left_out["listed in data.drop"] == 2
    assert left_out["copies of test images"] == 0


def test_audit_of_a_config_and_of_named_evaluation_sets(
    capsys: Capture, config_path: Path, squares_root: Path
) -> None:
    options = ("--data-root", squares_root, "--distance", -1)
    out = succeed(capsys, "data", "audit", "--config", config_path, *options)
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == [
        "squares/train",
        "squares/test",
        "people",
    ]
    people, squares = squares_root / "people", squares_root / "squares"
    named = ("data", "audit", people, f"{squares}:test", "--evaluation", f"{squares}:train")
    out = succeed(capsys, *named, "--distance", "-1")
    assert "squares/test: 21 images, for training" in out
    assert "squares/train: 48 images, for evaluation" in out
    assert "to drop from squares/test: 2" in out


def test_audit_of_nothing(capsys: Capture, tmp_path: Path) -> None:
    assert "nothing to audit: name a PATH" in fail(capsys, "data", "audit")
    assert "gone: no such file or folder" in fail(capsys, "data", "audit", tmp_path / "gone")


def test_draw_is_shared_without_the_images(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    path, root = tmp_path / "draw.csv", ("--data-root", squares_root)
    out = succeed(capsys, "data", "draw", config_path, *root, "--set", "seed=4", "--out", path)
    assert "train: 21 images: neutral 3, happy 3" in out
    assert "validation: 14 images: neutral 2" in out
    head = path.read_text().splitlines()[:6]
    assert [line.split(":")[0] for line in head] == [
        "# set",
        "# seed",
        "# config",
        "# train",
        "# validation",
        "image,label,part",
    ]
    assert head[1] == "# seed: 4"
    again = tmp_path / "again.csv"
    succeed(capsys, "data", "draw", config_path, *root, "--set", "seed=4", "--out", again)
    assert again.read_bytes() == path.read_bytes()
    from_list = ("--set", f"data.draw={path}", "--out", again)  # another seed, the same images
    succeed(capsys, "data", "draw", config_path, *root, *from_list)
    assert again.read_text().splitlines()[5:] == path.read_text().splitlines()[5:]


def test_inspect_lists_unreadable_images_and_fails(capsys: Capture, data: Path) -> None:
    (data / "squares" / "train" / "sad" / "1.png").write_bytes(b"broken")
    status = main(["data", "inspect", str(data / "squares")])
    out, err = capsys.readouterr()
    assert status == 1
    assert "unreadable        1\n    sad/1.png: not a readable image" in out
    assert err == f"face2exp: error: {data / 'squares'}: 1 unreadable images, listed above\n"


def test_inspect_writes_the_list_of_what_is_bad_and_a_report(
    capsys: Capture, data: Path, tmp_path: Path
) -> None:
    (data / "squares" / "train" / "sad" / "1.png").write_bytes(b"broken")
    listed, page = tmp_path / "bad.csv", tmp_path / "report.html"
    options = ("--skip-bad", listed, "--html", page)
    out = succeed(capsys, "data", "inspect", data / "squares", *options)
    assert f"{listed}: 1 rows" in out
    head, row = listed.read_text().splitlines()
    assert head == "set,path,image,drop,reason"
    assert row.startswith(f"squares/train,{data.resolve()}/squares/train,sad/1.png,yes,")
    assert "sad/1.png" in page.read_text()
    assert "webp;base64," in page.read_text()


def test_inspect_counts_bad_rows_and_fails(
    capsys: Capture, tmp_path: Path, picture: Callable[[int, int], bytes]
) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("path,label\ngone.png,happy\n")
    assert "faces.csv: no usable row" in fail(capsys, "data", "inspect", table)
    (tmp_path / "1.png").write_bytes(picture(0, 0))
    table.write_text("path,label\ngone.png,happy\n1.png,sad\n")
    status = main(["data", "inspect", str(table)])
    out, err = capsys.readouterr()
    assert status == 1
    assert "  left out          1: no such image, e.g. gone.png" in out
    assert err.endswith("faces.csv: 0 unreadable images and 1 bad rows, listed above\n")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(bytes(range(256))),
        lambda path: path.write_bytes(b"emotion,pixels,Usage\n\xff\xfe"),
        lambda path: path.symlink_to(path),
    ],
    ids=["gone", "empty", "binary", "not UTF-8", "loop"],
)
def test_inspect_of_nothing_known(
    capsys: Capture, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    path = tmp_path / "what"
    make(path)
    assert str(path) in fail(capsys, "data", "inspect", path)


def test_formats_are_those_that_exist() -> None:
    assert tuple(layouts.LAYOUTS) == cli_data.LAYOUTS


def test_audit_defaults_are_those_of_the_library() -> None:
    # cli/data.py names them itself, so that drawing faces does not import the hashing library
    from face2exp_lib.preparation import audit, fingerprints

    assert (cli_data.NEAR, cli_data.BITS) == (audit.NEAR, fingerprints.BITS)
