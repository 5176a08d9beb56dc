"""The README's results table says what the files under results/ hold."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from face2exp_lib.runs.analyse import WINDOWS

ROOT = Path(__file__).parents[2]
MEASURES = ("overall_accuracy", "mean_class_accuracy", "std_class_accuracy")
# Faces and method in the README's table -> whose numbers stand there.
ROWS = {
    ("rendered faces", "Meta-Face2Exp, ours"): ("compare_main", "meta"),
    ("rendered faces", "supervised"): ("compare_main", "supervised"),
    ("rendered faces", "UDA"): ("compare_main", "uda"),
    ("rendered faces", "Meta-Face2Exp, losses of the paper"): ("compare_paper", "meta"),
    ("FER2013 + LFW", "Meta-Face2Exp, ours"): ("compare_fer2013", "meta"),
    ("FER2013 + LFW", "supervised"): ("compare_fer2013", "supervised"),
    ("FER2013 + LFW", "UDA"): ("compare_fer2013", "uda"),
}


def main_arms(name: str) -> dict[str, Any]:
    folder = ROOT / "results" / name
    found = json.loads((folder / "comparison.json").read_text())["compared"]["compute"]["arms"]
    return dict(found)


def test_readme_tells_the_comparisons_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text()
    for (faces, title), (name, arm) in ROWS.items():
        found = main_arms(name)[arm]
        cells = [f"{found[m]['mean']:.1f} ± {found[m]['std']:.1f}" for m in MEASURES]
        cells += [f"{found['image_passes']:,}", f"{found['label_budget']['total']:,}"]
        assert f"| {faces} | {title} | {' | '.join(cells)} |" in readme
    told = " ".join(readme.split())
    mean = main_arms("compare_main")["meta"]["mean_class_accuracy"]["mean"]
    assert f"names {mean:.1f} % of the rendered" in told
    for name in ("compare_main", "compare_paper", "compare_fer2013"):
        less = main_arms(name)["meta"]["paired"]["mean_class_accuracy"]
        low, high = less["interval"]
        assert f"{less['mean']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f})" in told


def test_readme_tells_the_feedback_of_the_first_edition_as_it_was() -> None:
    told = " ".join((ROOT / "README.md").read_text().split())
    folder = ROOT / "results" / "compare_feedback"
    arms = json.loads((folder / "comparison.json").read_text())["compared"]["own"]["arms"]
    less = arms["exact"]["paired"]["mean_class_accuracy"]
    low, high = less["interval"]
    assert f"{less['mean']:+.1f} points against none" in told
    assert f"95 % interval {low:+.1f} to {high:+.1f}" in told


def test_pseudo_labels_of_the_longer_runs_are_of_that_comparison() -> None:
    folder = ROOT / "results" / "compare_longer"
    named = json.loads((folder / "pseudo_labels.json").read_text())
    compared = json.loads((folder / "comparison.json").read_text())["comparison"]
    assert named["comparison"]["arms"] == compared["arms"]
    for runs in named["arms"].values():
        assert [run["seed"] for run in runs] == list(compared["seeds"])
        for run in runs:
            assert run["first"]["last_step"] < run["last"]["first_step"]


def test_published_numbers_agree_with_each_other() -> None:
    """The paper gives some of them in two tables."""
    published = json.loads((ROOT / "results" / "published" / "face2exp.json").read_text())
    last = {"AffectNet": "Meta-Face2Exp, 10 %", "RAF-DB": "Meta-Face2Exp, 100 %"}
    for by_method, by_size in (("table_2", "table_4"), ("table_3", "table_5")):
        name = published[by_method]["set"]
        assert published[by_size]["set"].startswith(name)
        arms = published[by_size]["arms"]
        assert published[by_method]["accuracy"]["SL"] == arms["SL, 100 %"]["mean"]
        assert published[by_method]["accuracy"]["Meta-Face2Exp"] == arms[last[name]]["mean"]
        assert published["table_6"][name][-1] == arms[last[name]]["mean"]
        assert len(published["table_6"][name]) == len(published["table_6"]["losses"])


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "configs").glob("compare_*.yaml"))
)
def test_a_comparison_is_that_of_its_config_and_carries_its_provenance(name: str) -> None:
    stored = json.loads((ROOT / "results" / name / "comparison.json").read_text())
    config = yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    assert stored["comparison"]["arms"] == config["arms"]
    assert stored["environment"]["packages"]["torch"]
    assert all(len(commit) == 40 for commit in stored["commits"])
    for budget, arms in stored["runs"].items():
        for arm, runs in arms.items():
            values = [run["mean_class_accuracy"] for run in runs]
            found = stored["compared"][budget]["arms"][arm]["mean_class_accuracy"]
            assert found["mean"] == pytest.approx(np.mean(values))
            assert [run["seed"] for run in runs] == list(stored["comparison"]["seeds"])


def test_results_of_real_faces_name_no_image() -> None:
    files = [path for path in (ROOT / "results" / "compare_fer2013").rglob("*") if path.is_file()]
    assert len(files) > 60
    for path in files:
        assert ".jpg" not in path.read_text()


def test_the_stored_analysis_is_that_of_the_library() -> None:
    """Of the stored run, in as many stretches as `face2exp analyse` makes now."""
    folder = ROOT / "results" / "rendered_paper"
    windows = json.loads((folder / "analysis.json").read_text())["over_time"]
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    steps = [record["step"] for record in map(json.loads, lines) if record["phase"] == "meta"]
    assert len(windows) == WINDOWS
    assert (windows[0]["first_step"], windows[-1]["last_step"]) == (steps[0], steps[-1])
    lengths = {window["last_step"] - window["first_step"] + 1 for window in windows}
    assert lengths == {len(steps) // WINDOWS}
