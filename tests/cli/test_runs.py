"""The commands that look at a run's network, as a user types them."""

import json
from pathlib import Path

import pytest

from face2exp_lib.runtime.errors import Face2ExpError
from tests.cli.commands import Typed


def test_evaluate_shows_intervals(typed: Typed, run: Path, squares_root: Path) -> None:
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


@pytest.mark.filterwarnings("ignore")  # the exporter's, about its own insides
def test_export(typed: Typed, run: Path, squares_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the export extra is not installed")
    pytest.importorskip("onnxscript", reason="the export extra is not installed")
    out = typed("export", run, "--out", tmp_path / "m.onnx", "--data-root", squares_root)
    assert out.startswith(f"{tmp_path / 'm.onnx'}: agrees with torch to ")
    assert out.endswith(" on 14 faces and 4 images of noise\n")
    assert (tmp_path / "m.onnx").stat().st_size > 1_000_000


def test_explain(typed: Typed, run: Path, squares_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("captum", reason="the explain extra is not installed")
    folder = squares_root / "squares" / "test" / "sad"
    out = typed("explain", run, folder, "--out", tmp_path / "maps", "--label", "fear")
    assert len(out.splitlines()) == 3
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        f"000{number}-{number}-fear.png" for number in range(3)
    ]


def test_card(typed: Typed, run: Path, squares_root: Path, tmp_path: Path) -> None:
    typed("evaluate", run, "--data-root", squares_root)
    assert typed("card", run) == f"{run / 'MODEL_CARD.md'}: the model card\n"
    typed("card", run, "--out", tmp_path / "card.md")
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# Model card: tiny, Meta-Face2Exp\n")
    assert card == (run / "MODEL_CARD.md").read_text()


def test_mismatch(typed: Typed, run: Path, squares_root: Path, tmp_path: Path) -> None:
    html = tmp_path / "planes.html"
    out = typed("mismatch", run, "--data-root", squares_root, "--html", html)
    result = json.loads((run / "mismatch.json").read_text())
    told = result["after"]["classifier_two_sample_test"]
    assert f"  told apart: AUC {told['auc']:.3f}, " in out
    assert "before: initial weights" in out
    page = html.read_text()
    assert "initial weights" in page
    assert 'src="http' not in page


def test_too_few_faces_are_refused(typed: Typed, run: Path) -> None:
    with pytest.raises(SystemExit):
        typed("mismatch", run, "--most-faces", "9")
