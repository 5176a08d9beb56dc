"""The commands that look at a run's network, as a user types them."""

import argparse
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from face2exp_lib.cli_model import add_model_commands
from face2exp_lib.errors import Face2ExpError

Run = Callable[..., str]


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command, gives back what it printed."""

    def call(*words: object) -> str:
        parser = argparse.ArgumentParser()
        add_model_commands(parser.add_subparsers(required=True))
        options = parser.parse_args([str(word) for word in words])
        options.run(options)
        return capsys.readouterr().out

    return call


def test_evaluate_shows_intervals(typed: Run, run: Path, squares_root: Path) -> None:
    out = typed("evaluate", run, "--split", "test", "--data-root", squares_root)
    result = json.loads((run / "evaluation-test.json").read_text())
    low, high = result["intervals"]["bootstrap"]["mean_class_accuracy"]
    mean = result["mean_class_accuracy"]
    assert out.startswith("meta, test part, 21 images\n")
    assert f"  mean_class_accuracy  {mean:6.2f} %  [{low:.1f}, {high:.1f}]\n" in out
    assert "in brackets: 95 % intervals for other images, the same seed" in out
    again = typed("evaluate", run, "--split", "test")
    assert again == f"Evaluated before; this is what {run} holds.\n{out}"
    with pytest.raises(Face2ExpError, match="its test part was read without flip averaging"):
        typed("evaluate", run, "--split", "test", "--flip", "--data-root", squares_root)
    (run / "evaluation-test.json").unlink()
    out = typed("evaluate", run, "--split", "test", "--flip", "--data-root", squares_root)
    assert out.startswith("meta, test part, 21 images, mirror images averaged\n")
    assert "the test part was read 2 times: not an untouched test" in out


def test_predict_a_folder(typed: Run, run: Path, squares_root: Path, tmp_path: Path) -> None:
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
    typed: Run,
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


@pytest.mark.filterwarnings("ignore")  # the exporter's, about its own insides
def test_export(typed: Run, run: Path, squares_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the export extra is not installed")
    pytest.importorskip("onnxscript", reason="the export extra is not installed")
    out = typed("export", run, "--out", tmp_path / "m.onnx", "--data-root", squares_root)
    assert out.startswith(f"{tmp_path / 'm.onnx'}: agrees with torch to ")
    assert out.endswith(" on 14 faces and 4 images of noise\n")
    assert (tmp_path / "m.onnx").stat().st_size > 1_000_000


def test_explain(typed: Run, run: Path, squares_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="the explain extra is not installed")
    folder = squares_root / "squares" / "test" / "sad"
    out = typed("explain", run, folder, "--out", tmp_path / "maps", "--label", "fear")
    assert len(out.splitlines()) == 3
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        f"000{number}-{number}-fear.png" for number in range(3)
    ]


def test_card(typed: Run, run: Path, squares_root: Path, tmp_path: Path) -> None:
    typed("evaluate", run, "--data-root", squares_root)
    assert typed("card", run) == f"{run / 'MODEL_CARD.md'}: the model card\n"
    typed("card", run, "--out", tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# Model card: tiny, Meta-Face2Exp\n")
    assert card == (run / "MODEL_CARD.md").read_text()


def test_mismatch(typed: Run, run: Path, squares_root: Path, tmp_path: Path) -> None:
    html = tmp_path / "planes.html"
    out = typed("mismatch", run, "--data-root", squares_root, "--html", html)
    result = json.loads((run / "mismatch.json").read_text())
    told = result["after"]["classifier_two_sample_test"]
    assert f"  told apart: AUC {told['auc']:.3f}, " in out
    assert "before: initial weights" in out
    page = html.read_text()
    assert "initial weights" in page
    assert 'src="http' not in page


def test_too_few_faces_are_refused(typed: Run, run: Path) -> None:
    with pytest.raises(SystemExit):
        typed("mismatch", run, "--most-faces", "9")
