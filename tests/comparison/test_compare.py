"""Comparisons as they are run: budgets, search, resuming, what is written."""

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.cli.main import main
from face2exp_lib.cli.tables import NO_P
from face2exp_lib.comparison import compare
from face2exp_lib.comparison.arms import Comparison, read_comparison
from face2exp_lib.comparison.compare import Run, run_comparison
from face2exp_lib.config import load_config
from face2exp_lib.figures.comparison import comparison_figure
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl

pytestmark = pytest.mark.usefixtures("no_real_faces")

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def comparison(config_path: Path) -> Comparison:
    return Comparison(
        config=str(config_path),
        arms={"plain": {"method": "supervised"}, "ours": {}},
        budget_of="ours",
        budgets=("compute", "updates"),
        seeds=(0, 1),
        trials={"slow": {"training.eta_b": 1e-4}, "fast": {"training.eta_b": 0.05}},
    )


@pytest.fixture(scope="module")
def compared(
    comparison: Comparison, squares_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("compared")
    return run_comparison(comparison, out, squares_root), out


def test_arms_are_as_long_as_their_budgets(compared: tuple[dict[str, Any], Path]) -> None:
    """By hand in `test_arms`: 27 supervised steps cost what the 10 of Meta-Face2Exp do."""
    runs = compared[0]["runs"]
    assert [run["num_steps"] for run in runs["compute"]["plain"]] == [27, 27]
    assert [run["num_steps"] for run in runs["updates"]["plain"]] == [10, 10]
    for budget in ("compute", "updates"):
        assert [run["num_steps"] for run in runs[budget]["ours"]] == [10, 10]
    ours, plain = runs["compute"]["ours"][0], runs["compute"]["plain"][0]
    cost = [run["image_passes"] + 2 * run["image_backwards"] for run in (ours, plain)]
    assert cost == [486, 486]


def test_one_run_serves_budgets_that_agree(compared: tuple[dict[str, Any], Path]) -> None:
    result, out = compared
    folders = sorted(path.name for path in (out / "runs").iterdir())
    assert [name for name in folders if name.startswith("ours")] == [
        "ours-compute-seed0",
        "ours-compute-seed1",
    ]
    assert result["runs"]["compute"]["ours"] == result["runs"]["updates"]["ours"]


def test_the_search_takes_the_best_by_validation(compared: tuple[dict[str, Any], Path]) -> None:
    result, out = compared
    for arm, found in result["search"].items():
        assert found["trials"][found["chosen"]] == max(found["trials"].values())
        for trial in found["trials"]:
            run_dir = out / "runs" / f"search-{arm}-{trial}"
            assert not (run_dir / "evaluation-test.json").exists()
            config = (run_dir / "config.yaml").read_text()
            assert "seed: 100" in config
        rate = {"slow": "eta_b: 0.0001", "fast": "eta_b: 0.05"}[found["chosen"]]
        for run_dir in (out / "runs").glob(f"{arm}-[cu]*-seed*"):
            assert rate in (run_dir / "config.yaml").read_text()


def test_signals_are_means_over_the_methods_steps(compared: tuple[dict[str, Any], Path]) -> None:
    result, out = compared
    records = read_jsonl(out / "runs" / "ours-compute-seed0" / "metrics.jsonl")
    fs = [record["feedback"] for record in records if record["phase"] == "meta"]
    signals = result["runs"]["compute"]["ours"][0]["signals"]
    assert len(fs) == 4
    assert signals["feedback"] == pytest.approx(sum(fs) / 4)
    assert signals["feedback_negative_share"] == sum(f < 0 for f in fs) / 4
    assert "grad_norm_f" in signals


def test_what_is_written_is_what_came_out(compared: tuple[dict[str, Any], Path]) -> None:
    result, out = compared
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(result))
    assert result["compared"]["compute"]["arms"]["ours"]["paired"]
    assert result["environment"]["packages"]["torch"]


def test_a_killed_comparison_goes_on(
    comparison: Comparison,
    compared: tuple[dict[str, Any], Path],
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: Contents,
) -> None:
    """What is there is not made again; what is missing comes out as it was."""
    result, out = compared
    again = tmp_path / "again"
    shutil.copytree(out, again)
    for lost in ("ours-compute-seed1", "search-plain-fast"):
        shutil.rmtree(again / "runs" / lost)
    (again / "comparison.json").unlink()
    made = []
    train_and_evaluate = compare.train_and_evaluate

    def noted(run: Run) -> None:
        made.append(run.run_dir.name)
        train_and_evaluate(run)

    monkeypatch.setattr(compare, "train_and_evaluate", noted)
    second = run_comparison(comparison, again, squares_root)
    assert made == ["search-plain-fast", "ours-compute-seed1"]
    assert second["runs"] == result["runs"]
    assert second["compared"] == result["compared"]


def test_a_folder_keeps_its_runs(
    comparison: Comparison,
    compared: tuple[dict[str, Any], Path],
    squares_root: Path,
    tmp_path: Path,
) -> None:
    """More seeds are added; other settings under a run's name are refused."""
    result, out = compared
    again = tmp_path / "again"
    shutil.copytree(out, again)
    more = run_comparison(replace(comparison, seeds=(0, 1, 5)), again, squares_root)
    assert more["runs"]["compute"]["ours"][:2] == result["runs"]["compute"]["ours"]
    assert [run["seed"] for run in more["runs"]["updates"]["plain"]] == [0, 1, 5]
    other = {**comparison.arms, "ours": {"training.eta_a": 0.5}}
    with pytest.raises(
        Face2ExpError,
        match=r"ours-.*: holds a run of another config \(training.eta_a .* another --out",
    ):
        run_comparison(replace(comparison, arms=other), again, squares_root)


def test_slim_runs_give_the_same_tables(
    comparison: Comparison,
    compared: tuple[dict[str, Any], Path],
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without checkpoints and single steps; nothing is trained for them again."""
    result, out = compared
    again = tmp_path / "again"
    shutil.copytree(out, again)
    monkeypatch.setattr(compare, "train_and_evaluate", None)
    for _ in range(2):  # slimming, then reading what is slim
        slimmed = run_comparison(comparison, again, squares_root, slim_runs=True)
        assert slimmed["runs"] == result["runs"]
        for arm, found in slimmed["compared"]["compute"]["arms"].items():
            of_all = result["compared"]["compute"]["arms"][arm]
            # whoever is right on which image is in the predictions alone
            assert {**found, "mcnemar": of_all.get("mcnemar", {})} == {"mcnemar": {}, **of_all}
    assert not list(again.rglob("*.pt"))
    assert not list(again.rglob("*.parquet"))
    run_dir = again / "runs" / "ours-compute-seed0"
    whole = read_jsonl(out / "runs" / "ours-compute-seed0" / "metrics.jsonl")
    curve = read_jsonl(run_dir / "metrics.jsonl")
    assert [r["step"] for r in curve] == [r["step"] for r in whole if "validation" in r]
    for of_slim, of_all in zip(curve, (r for r in whole if "validation" in r), strict=True):
        for name, scores in of_slim["validation"].items():
            assert scores.items() <= of_all["validation"][name].items()
            assert scores["per_class_accuracy"]


def test_a_run_that_is_made_slim_is_read_back(
    config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    comparison = Comparison(config=str(config_path), arms={"ours": {}}, seeds=(0,))
    made = run_comparison(comparison, tmp_path, squares_root, slim_runs=True)
    assert not list(tmp_path.rglob("*.pt"))
    assert run_comparison(comparison, tmp_path, squares_root)["runs"] == made["runs"]


def test_budgets_of_one_length_that_validate_otherwise_are_two_runs(
    config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    """10 steps validated every 3 steps: so are all at a budget; `seldom` has 7 of its own."""
    comparison = Comparison(
        config=str(config_path),
        arms={"ours": {}, "seldom": {"training.eval_every_steps": 7}},
        budgets=("own", "updates"),
        seeds=(0,),
    )
    result = run_comparison(comparison, tmp_path, squares_root)
    digests = [
        result["runs"][budget]["seldom"][0]["config_digest"] for budget in ("own", "updates")
    ]
    assert len(set(digests)) == 2
    every = {
        path.name: load_config(path / "config.yaml").training.eval_every_steps
        for path in (tmp_path / "runs").iterdir()
    }
    assert every == {"ours-own-seed0": 3, "seldom-own-seed0": 7}  # at a budget it is `ours`


def test_an_arm_that_does_not_fit_is_named(
    config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    comparison = Comparison(
        config=str(config_path),
        arms={"short": {"method": "supervised", "training.num_steps": 2}, "long": {}},
        budgets=("updates",),
    )
    with pytest.raises(Face2ExpError, match="arm long: method meta: what it does beside"):
        run_comparison(comparison, tmp_path / "out", squares_root)


def test_figure_has_every_run(compared: tuple[dict[str, Any], Path]) -> None:
    figure = comparison_figure(compared[0])
    seeds, means = figure.data[0], figure.data[1]
    assert list(seeds.y) == ["plain", "plain", "ours", "ours"]
    runs = compared[0]["runs"]["compute"]
    expected = [round(run["mean_class_accuracy"], 2) for arm in runs.values() for run in arm]
    assert list(seeds.x) == expected
    assert list(means.y) == ["plain", "ours"]
    assert means.name == "mean, 95 % interval"
    assert figure.layout.xaxis2.title.text == "mean class accuracy, %"


def test_figure_names_a_class_without_images(compared: tuple[dict[str, Any], Path]) -> None:
    result = copy.deepcopy(compared[0])
    for found in result["compared"].values():
        found["missing_classes"] = ["fear"]
    title = comparison_figure(result).layout.xaxis2.title.text
    assert title == "mean class accuracy, % (no fear)"


def test_the_command(
    config_path: Path, squares_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With two processes: the same runs, a table, a figure."""
    out = tmp_path / "out"
    options = ["--method", "supervised", "--method", "meta", "--seeds", "3", "--split", "val"]
    folders = ["--data-root", str(squares_root), "--out", str(out), "--workers", "2"]
    status = main(["compare", str(config_path), *options, *folders])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    assert "| supervised | 1 |" in captured.out
    table = (out / "comparison.md").read_text()
    assert table in captured.out
    assert f"| {NO_P} | {NO_P} | {NO_P} |" in table
    assert "one seed gives no p value" in table
    page = (out / "comparison.html").read_text()
    assert "plotly" in page
    assert "one seed: no interval" in page
    assert "95 % interval" not in page
    assert not list(out.rglob("evaluation-test.json"))


def test_the_command_names_mistakes(
    config_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--method", "magic"], "method: "),
        (["--seeds", "1", "1"], "seeds [1, 1] name one twice"),
        (["--seeds", "-1"], "seeds.0: Input should be greater than or equal to 0"),
    ):
        assert main(["compare", str(config_path), "--out", str(tmp_path / "o"), *arguments]) == 1
        error = capsys.readouterr().err
        assert message in error
        assert len(error.splitlines()) == 1
    assert main(["compare", str(tmp_path / "none.yaml")]) == 1
    assert "no such config" in capsys.readouterr().err


def test_a_comparison_is_read_back(
    comparison: Comparison, compared: tuple[dict[str, Any], Path]
) -> None:
    """What `comparison.yaml` holds is the comparison, and makes it again."""
    assert read_comparison([compared[1] / "comparison.yaml"]) == comparison
