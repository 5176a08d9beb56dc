"""A run on sets that are none of its own: what is counted, left out, refused and told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.sets.facesets import FaceSet, Skipped
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.predictions import read_predictions
from face2exp_lib.runs import cross_evaluation
from face2exp_lib.runs import evaluate as evaluation
from face2exp_lib.runs.card import model_card
from face2exp_lib.runs.cross_evaluation import evaluate_on
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runtime.errors import Face2ExpError

Picture = Callable[[int, int], bytes]


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))


@pytest.fixture
def other(tmp_path: Path, picture: Picture) -> Path:
    """Class folders of another set: two images of each of eight classes, none of fear."""
    for code, name in enumerate(class_names(8)):
        for number in (0, 1) if name != "fear" else ():
            path = tmp_path / "other" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(code, 700 + number))
    return tmp_path / "other"


def read(folder: Path) -> FaceSet:
    return read_class_folders(folder, "", "names")


def written(run: Path, kind: str = "evaluation-on") -> list[Path]:
    return sorted(run.glob(f"{kind}-*"))


def test_evaluation_file(run: Path, other: Path, squares_root: Path) -> None:
    faces = read(other)
    result, fresh = evaluate_on(run, faces, data_root=squares_root)
    assert fresh
    (path,) = written(run)
    assert json.loads(path.read_text()) == result
    assert (result["set"], result["origin"]) == ("other", str(other))
    assert result["split"] == path.stem.removeprefix("evaluation-")
    assert result["num_images"] == 12
    assert result["left_out"] == {"contempt, which is none of the run's classes": 2}
    assert result["missing_classes"] == ["fear"]
    assert [sum(row) for row in result["confusion_matrix"]] == [2] * 6 + [0]
    assert (result["crop"], result["flip"], result["is_own_test_part"]) == ("whole", False, False)
    assert result["copies_of_training_images"] == 0
    assert result["test_readings"] == 1
    part = faces.subset(np.flatnonzero(faces.known_labels() < 7))
    assert result["list_digest"] == part.digest
    (kept,) = written(run, "predictions-on")
    assert read_predictions(kept).images == part.ids
    assert kept.stem.removeprefix("predictions-") == result["split"]


def test_it_is_the_evaluation_of_the_same_images_as_a_test_part(
    run: Path, squares_root: Path, tmp_path: Path
) -> None:
    """At another place the run's own test images are another list of the same pictures."""
    own, _ = evaluate_run(run, "test", squares_root)
    shutil.copytree(squares_root / "squares" / "test", tmp_path / "elsewhere")
    for image in (tmp_path / "elsewhere").glob("*/*.png"):
        image.rename(image.with_stem(f"x{image.stem}"))
    found, _ = evaluate_on(run, read(tmp_path / "elsewhere"))
    for key in ("confusion_matrix", "mean_class_accuracy", "macro_f1", "label_budget"):
        assert found[key] == own[key]
    assert not found["is_own_test_part"]
    assert found["copies_of_training_images"] is None  # the run's data are not here


def test_a_set_is_read_once(
    run: Path, other: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, _ = evaluate_on(run, read(other))

    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("the set was read again")

    monkeypatch.setattr(evaluation, "predict_faces", touched)
    monkeypatch.chdir(tmp_path)
    assert evaluate_on(run, read(Path("other") / ".." / "other")) == (first, False)
    with pytest.raises(Face2ExpError, match="other was read without flip averaging, and a second"):
        evaluate_on(run, read(other), flip=True)
    assert len(written(run)) == 1


def test_readings_are_counted_before_they_begin(
    run: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "predict_faces", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate_on(run, read(other))
    result, _ = evaluate_on(run, read(other), flip=True)
    assert result["test_readings"] == 2
    (path,) = written(run, "readings-on")
    assert [json.loads(line)["flip"] for line in path.read_text().splitlines()] == [False, True]
    assert not (run / "test-readings.jsonl").exists()


def test_sets_of_one_name_do_not_meet(run: Path, other: Path, tmp_path: Path) -> None:
    """Another place, or another list at the same place, is another set."""
    again = Path(shutil.copytree(other, tmp_path / "copy" / "other"))
    names = {evaluate_on(run, read(folder))[0]["split"] for folder in (other, again)}
    (other / "sad" / "0.png").unlink()
    names.add(evaluate_on(run, read(other))[0]["split"])
    assert len(names) == 3
    assert len(written(run)) == len(written(run, "readings-on")) == 3


@pytest.mark.parametrize(
    "name", ["a/b", "../x", "ä ö", "", "..", "x" * 300, "a\udcffb", "-rf", "a:b*?", "con\n"]
)
def test_any_name_makes_a_file(run: Path, other: Path, name: str) -> None:
    faces = read(other)
    named = faces.subset(np.arange(len(faces)), name)
    result, _ = evaluate_on(run, named)
    (path,) = written(run)
    assert path.parent == run
    assert path.name.isascii()
    assert len(path.name) < 100
    assert not set(path.name) & set(" /\\:*?\n")
    assert json.loads(path.read_text()) == result


def test_the_runs_own_test_part_is_counted_as_such(run: Path, squares_root: Path) -> None:
    faces = read_class_folders(squares_root / "squares", "test", "names")
    result, _ = evaluate_on(run, faces)
    assert result["is_own_test_part"]
    assert not written(run, "readings-on")
    assert evaluate_run(run, "test", squares_root)[0]["test_readings"] == 2


def test_the_runs_own_test_part_is_not_read_otherwise(run: Path, squares_root: Path) -> None:
    evaluate_run(run, "test", squares_root)
    faces = read_class_folders(squares_root / "squares", "test", "names")
    with pytest.raises(Face2ExpError, match="squares/test was read without flip averaging, and a"):
        evaluate_on(run, faces, flip=True)
    assert not written(run)


def test_copies_of_what_the_run_learnt_from_are_counted(
    run: Path, other: Path, squares_root: Path
) -> None:
    """All six images of sad that train has: the run drew three labels and two for validation; the
    seventh is a copy of a test image, which it was not trained on."""
    for image in (squares_root / "squares" / "train" / "sad").glob("*.png"):
        shutil.copy(image, other / "sad" / f"copied-{image.name}")
    result, _ = evaluate_on(run, read(other), data_root=squares_root)
    assert result["copies_of_training_images"] == 5
    assert "**5 of the images are exact copies of ones that trained it.**" in model_card(run)


def test_an_image_that_cannot_be_read(run: Path, other: Path) -> None:
    (other / "sad" / "1.png").write_bytes(b"broken")
    with pytest.raises(Face2ExpError, match=r"sad/1\.png: not a readable image"):
        evaluate_on(run, read(other))
    bad: list[Skipped] = []
    result, _ = evaluate_on(run, read(other), unreadable=bad)
    assert [one.image for one in bad] == ["sad/1.png"]
    assert result["num_images"] == 11
    assert result["left_out"]["cannot be read"] == 1


def test_rows_that_were_skipped_are_counted(run: Path, other: Path) -> None:
    faces = read(other)
    skipped = (Skipped("a", "labelled 8 (none)", bad=False),) * 3
    marked = FaceSet(faces.name, faces.images, faces.rows, faces.labels, skipped=skipped)
    assert evaluate_on(run, marked)[0]["left_out"]["labelled 8 (none)"] == 3


def test_card_has_a_section_for_each_set(run: Path, other: Path) -> None:
    evaluate_on(run, read(other))
    card = model_card(run)  # of a run that was evaluated on no part of its own
    assert "## Results on another set: other\n" in card
    assert "The set was read once" in card
    assert "| fear | 0 | not measured | |" in card


def test_crops_are_those_of_the_table(
    run: Path, other: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `attach` gives is what the network sees; another way of cutting is another reading."""
    asked = []

    def attached(faces: FaceSet, path: Path, crop: str) -> FaceSet:
        asked.append((faces.name, path, crop))
        return faces

    monkeypatch.setattr(cross_evaluation, "attach", attached)
    result, _ = evaluate_on(run, read(other), crop_by=tmp_path / "table.parquet")
    assert asked == [("other", tmp_path / "table.parquet", "face")]
    assert result["crop"] == "face"
    with pytest.raises(Face2ExpError, match="other was read, cut to the face, without flip"):
        evaluate_on(run, read(other))


def test_mistakes_are_named(run: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no run directory: `face2exp train` makes one"):
        evaluate_on(tmp_path, read(other))
    unlabelled = FaceSet("people", read(other).images, np.arange(3))
    with pytest.raises(Face2ExpError, match="people: this set has no labels"):
        evaluate_on(run, unlabelled)
    one = read(other).subset(np.array([0]))
    with pytest.raises(Face2ExpError, match="other: shows anger alone: add images of two"):
        evaluate_on(run, one)
    (run / "finished.json").unlink()
    with pytest.raises(Face2ExpError, match="the run has not finished: go on with"):
        evaluate_on(run, read(other))
    assert not written(run, "readings-on")
