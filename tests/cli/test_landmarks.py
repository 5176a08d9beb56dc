"""`face2exp data landmarks` as a user types it."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from face2exp_lib.cli import landmarks as cli_landmarks
from face2exp_lib.cli.main import main
from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.preparation import mtcnn
from face2exp_lib.runtime.resources import shipped

pytest.importorskip("facenet_pytorch", reason="the extra `landmarks` is missing")

Capture = pytest.CaptureFixture[str]
FACES = 4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    part = read_rendered(shipped("data/rendered"), "fer_test", "names")
    person = tmp_path / "people" / "person"
    person.mkdir(parents=True)
    for index in range(FACES):
        (person / f"{index}.webp").write_bytes(part.images.read(index))
    Image.new("RGB", (50, 30)).save(person / "dark.png")
    return tmp_path / "people"


def run(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    status = main(["data", "landmarks", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out, err


def test_the_table_and_the_report(
    capsys: Capture, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, folder, "--workers", 1)
    assert status == 0
    lines = out.splitlines()
    assert lines[0] == "people: 5 images"
    assert lines[1].split() == ["detected", "4", "80.0", "%"]
    assert lines[2].split() == ["undetected", "1", "20.0", "%", "canonical", "points"]
    assert [line.split()[0] for line in lines[3:6]] == ["implausible", "unreadable", "several"]
    assert lines[-1].startswith("landmarks-people.parquet: the table")
    assert pq.read_table("landmarks-people.parquet").num_rows == FACES + 1
    assert "image/s" in err
    status, out, _ = run(capsys, folder)
    assert status == 0
    assert out.splitlines()[0] == "Looked at before; this is what landmarks-people.parquet holds."


def test_unreadable_images_stop_it_or_are_listed(
    capsys: Capture, folder: Path, tmp_path: Path
) -> None:
    (folder / "person" / "x.png").write_bytes(b"")
    table, bad = tmp_path / "a.parquet", tmp_path / "bad.csv"
    status, _, err = run(capsys, folder, "--out", table, "--workers", 1)
    assert status == 1
    assert "1 unreadable images; the first is person/x.png" in err.splitlines()[-1]
    assert not table.exists()
    status, out, _ = run(capsys, folder, "--out", table, "--workers", 1, "--skip-bad", bad)
    assert status == 0
    assert f"{bad}: 1 rows" in out
    with bad.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["set"], row["image"], row["drop"]) == ("people", "person/x.png", "yes")


def test_mistakes_are_named(capsys: Capture, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("text")
    for arguments, message in (
        ((folder, "--address", "x:1"), "--address is of a Ray cluster: add --engine ray"),
        ((tmp_path / "none",), "no such file or folder"),
        ((shipped("data/rendered"),), "name one as PATH:PART"),
        ((folder, "--out", tmp_path / "text.parquet"), "not a readable Parquet file"),
        ((folder, "--out", folder / "person" / "dark.png" / "x"), "cannot write here"),
    ):
        status, _, err = run(capsys, *arguments)
        assert status == 1
        assert message in err


def test_choices_are_those_of_the_library() -> None:
    """But for the search for all faces, of which a table has no room."""
    assert tuple(mtcnn.SEARCHES) == (*cli_landmarks.SEARCHES, "group")
