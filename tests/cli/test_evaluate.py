"""`face2exp evaluate`, as a user types it: another set with --on, and runs that are broken."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from face2exp_lib.cli.main import main
from tests.cli.commands import MARKS, Capture, fail

pytestmark = MARKS
Contents = Callable[[Path], dict[str, bytes]]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def source(squares_root: Path, tmp_path: Path) -> Path:
    """A set of one's own: `mine/test` with three images of each class but fear."""
    shutil.copytree(squares_root / "squares" / "test", tmp_path / "mine" / "test")
    shutil.rmtree(tmp_path / "mine" / "test" / "fear")
    return tmp_path / "mine"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Runs one command; its status, and what it printed on both ways."""

    def call(*words: object) -> tuple[int, str, str]:
        status = main([str(word) for word in words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def test_another_set(typed: Typed, run: Path, source: Path, squares_root: Path) -> None:
    status, out, _ = typed("evaluate", run, "--on", f"{source}:test", "--data-root", squares_root)
    assert status == 0
    (path,) = run.glob("evaluation-on-*.json")
    lines = out.splitlines()
    assert lines[0] == "meta, mine/test, 18 images"
    assert "    fear               no image: not measured, and in no mean" in lines
    assert lines[-1] == str(path)
    assert "warning" not in out
    result = json.loads(path.read_text())
    assert (result["set"], result["origin"]) == ("mine/test", str(source / "test"))
    again = typed("evaluate", run, "--on", f"{source}:test")
    assert again == (0, f"Evaluated before; this is what {run} holds.\n{out}", "")


@pytest.mark.parametrize(
    "spelt", ["mine:test", "./mine:test", "mine/:test", "mine/test/../../mine:test", "mine"]
)
def test_however_it_is_spelt(
    typed: Typed, run: Path, source: Path, monkeypatch: pytest.MonkeyPatch, spelt: str
) -> None:
    """`mine` alone has one part."""
    typed("evaluate", run, "--on", f"{source}:test")
    monkeypatch.chdir(source.parent)
    status, out, _ = typed("evaluate", run, "--on", spelt)
    assert status == 0
    assert out.startswith("Evaluated before")
    assert len(list(run.glob("evaluation-on-*.json"))) == 1


def test_warnings(typed: Typed, run: Path, source: Path, squares_root: Path) -> None:
    root = ("--data-root", squares_root)
    _, out, _ = typed("evaluate", run, "--on", f"{squares_root / 'squares'}:train", *root)
    assert "warning: the run learnt from exact copies of 35 of these images: not unseen" in out
    _, out, _ = typed("evaluate", run, "--on", f"{squares_root / 'squares'}:test", *root)
    assert "warning: these are the run's own test images, and this counts as a reading" in out
    _, out, _ = typed("evaluate", run, "--split", "test", *root)
    assert "the test part was read 2 times: not an untouched test" in out


def test_what_is_bad_is_listed(typed: Typed, run: Path, source: Path, tmp_path: Path) -> None:
    (source / "test" / "sad" / "1.png").write_bytes(b"broken")
    status, _, told = typed("evaluate", run, "--on", f"{source}:test")
    assert status == 1
    assert "sad/1.png: not a readable image" in told
    bad = tmp_path / "bad.csv"
    status, out, _ = typed("evaluate", run, "--on", f"{source}:test", "--skip-bad", bad)
    assert status == 0
    assert "  left out 1: cannot be read\n" in out
    with bad.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["set"], row["image"], row["drop"]) == ("mine/test", "sad/1.png", "yes")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--on", "gone"), "gone: no such file or folder"),
        (("--on", "mine:test", "--crop", "face"), "--crop face and --landmarks FILE go together"),
        (("--on", "mine:test", "--landmarks", "x"), "--crop face and --landmarks FILE go together"),
        (
            ("--on", "mine:test", "--crop", "face", "--landmarks", "x.parquet"),
            "x.parquet: no such file: `face2exp data landmarks` makes one",
        ),
        (("--split", "test", "--skip-bad", "x.csv"), "are of another set, which --on SOURCE names"),
    ],
)
def test_mistakes_are_named(
    typed: Typed,
    run: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(source.parent)
    status, _, told = typed("evaluate", run, *options)
    assert status == 1
    assert message in told
    assert len(told.splitlines()) == 1
    assert not list(run.glob("*-on-*"))


def test_a_part_or_a_set(typed: Typed, run: Path, source: Path) -> None:
    with pytest.raises(SystemExit):
        typed("evaluate", run, "--on", f"{source}:test", "--split", "test")


# Bad run directories


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoints/best.pt", None, "best.pt: no such checkpoint"),
        ("checkpoints/best.pt", b"", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", b"text", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", "half", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", "other", "best.pt: no checkpoint of face2exp"),
        ("config.yaml", None, "no run directory: `face2exp train` makes one"),
        ("config.yaml", b"", "config.yaml: holds no configuration"),
        ("config.yaml", b"\x00\xff", "config.yaml: not readable as YAML"),
    ],
)
def test_evaluate_and_predict_with_a_broken_run(
    capsys: Capture,
    squares_root: Path,
    run: Path,
    contents: Contents,
    command: str,
    file: str,
    content: bytes | str | None,
    message: str,
) -> None:
    path = run / file
    if content is None:
        path.unlink()
    elif content == "half":
        path.write_bytes(path.read_bytes()[:20_000])
    elif content == "other":
        torch.save({"weights": 1}, path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    before = contents(run)
    rest = (
        ("--data-root", squares_root)
        if command == "evaluate"
        else (squares_root / "squares" / "test" / "sad" / "0.png",)
    )
    assert message in fail(capsys, command, run, *rest)
    assert contents(run) == before


@pytest.mark.parametrize("kind", ["gone", "file", "empty folder"])
def test_evaluate_what_is_no_run(capsys: Capture, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("")
    elif kind == "empty folder":
        path.mkdir()
    assert f"{path}: no run directory" in fail(capsys, "evaluate", path)
    assert f"{path}: no run directory" in fail(capsys, "predict", path, "x.png")


def test_evaluate_without_the_data(capsys: Capture, run: Path, contents: Contents) -> None:
    before = contents(run)
    assert "give --data-root" in fail(capsys, "evaluate", run, "--split", "test")
    assert contents(run) == before
