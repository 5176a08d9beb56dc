"""Seeds summed up and methods paired, on numbers worked out by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from face2exp_lib.cli.tables import NO_P, comparison_table
from face2exp_lib.comparison.summary import (
    compare_runs,
    holm,
    mcnemar,
    over_seeds,
    paired_over_seeds,
    power_over_seeds,
)
from face2exp_lib.evaluation.metrics import _completed, accuracies
from face2exp_lib.evaluation.predictions import Predictions, predictions_path, write_predictions
from face2exp_lib.figures.tables import arm_table
from face2exp_lib.runtime.errors import Face2ExpError

NAMES = ("a", "b")


def test_seeds_by_hand() -> None:
    """1, 2, 3: mean 2, deviation 1; t of 2 degrees of freedom is 4.3027, over sqrt(3) 2.4841."""
    found = over_seeds([1, 2, 3])
    assert (found["num_seeds"], found["mean"], found["std"]) == (3, 2, 1)
    assert found["interval"] == pytest.approx([2 - 2.4841, 2 + 2.4841], abs=1e-4)


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([5]) == {"num_seeds": 1, "mean": 5, "std": None, "interval": None}
    found = paired_over_seeds([5], [3])
    assert (found["mean"], found["interval"], found["p_t"]) == (2, None, None)


def test_pairs_by_hand() -> None:
    """Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = 3.4641, p = 0.0742; both sign tests 2 / 8."""
    found = paired_over_seeds([11, 22, 33], [10, 20, 30])
    assert (found["mean"], found["std"]) == (2, 1)
    assert found["p_t"] == pytest.approx(0.0742, abs=1e-4)
    assert found["p_wilcoxon"] == found["p_permutation"] == found["smallest_p"] == 0.25


def test_power_is_how_often_the_paired_test_finds_a_difference() -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(1.0, 2.0, size=(2000, 5))
    found = [paired_over_seeds(row.tolist(), [0.0] * 5)["p_t"] < 0.05 for row in drawn[:300]]
    t_values = drawn.mean(1) / (drawn.std(1, ddof=1) / 5**0.5)
    simulated = (np.abs(t_values) > 2.7764).mean()  # t of 4 degrees of freedom
    assert np.mean(np.abs(t_values[:300]) > 2.7764) == pytest.approx(np.mean(found))
    assert power_over_seeds(1.0, 2.0, 5) == pytest.approx(simulated, abs=0.02)
    assert power_over_seeds(-1.0, 2.0, 5) == pytest.approx(power_over_seeds(1.0, 2.0, 5))


def test_power_without_a_difference_is_the_share_of_false_alarms() -> None:
    assert power_over_seeds(0.0, 3.0, 7) == pytest.approx(0.05)
    assert power_over_seeds(0.0, 3.0, 7, level=0.99) == pytest.approx(0.01)
    assert power_over_seeds(30.0, 3.0, 7) > 0.999


def test_sign_flips_are_counted_out() -> None:
    """Differences 3, 2, -1, 1: of the 16 sums of flipped signs, 4 are 5 or more in size 5."""
    found = paired_over_seeds([3, 2, 0, 1], [0, 0, 1, 0])
    sums = [
        abs(3 * s + 2 * u - v + w)
        for s in (1, -1)
        for u in (1, -1)
        for v in (1, -1)
        for w in (1, -1)
    ]
    assert found["p_permutation"] == pytest.approx(sum(total >= 5 for total in sums) / 16)


def test_methods_that_are_alike() -> None:
    found = paired_over_seeds([1, 2, 3], [1, 2, 3])
    assert (found["mean"], found["p_t"], found["p_wilcoxon"], found["p_permutation"]) == (
        0,
        1,
        1,
        1,
    )
    one_apart = paired_over_seeds([1, 2, 4, 7], [1, 2, 3, 7])  # three zeros among the differences
    assert one_apart["p_permutation"] == 1
    assert one_apart["p_wilcoxon"] == 1
    constant = paired_over_seeds([2, 3, 4], [1, 2, 3])  # no spread: t does not exist
    assert constant["p_t"] is None
    assert constant["p_permutation"] == 0.25
    rounded = paired_over_seeds([0.1 + 0.2, 1.3], [0.1, 1.1])  # differences apart by 4e-17
    assert rounded["p_t"] is None


def test_mcnemar_by_hand() -> None:
    """6 images tell them apart, 5 to 1: p = 2 (1 + 6) / 64."""
    labels = np.zeros(20, dtype=int)
    own, other = labels.copy(), labels.copy()
    other[:5], own[5], own[10:], other[10:] = 1, 1, 1, 1
    found = mcnemar(labels, own, other)
    assert (found["only_right"], found["only_reference_right"]) == (5, 1)
    assert found["p"] == pytest.approx(14 / 64)
    assert mcnemar(labels, own, own)["p"] == 1


def test_holm_by_hand() -> None:
    """0.01 x 3, 0.03 x 2, 0.04 x 1 lifted to the one before."""
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": None})
    assert found == {
        "a": pytest.approx(0.06),
        "b": pytest.approx(0.03),
        "c": pytest.approx(0.06),
        "d": None,
    }


def evaluated(folder: Path, seed: int, right: int, **others: Any) -> Path:
    """A run directory whose network has `right` of ten images of each class right."""
    folder.mkdir(parents=True)
    confusion = np.array([[right, 10 - right], [10 - right, right]])
    content = {
        "split": "test",
        "method": "meta",
        "seed": seed,
        "num_images": 20,
        "image_passes": 1000,
        "label_budget": {"train": 20, "validation": 10, "total": 30},
        "flip": False,
        "list_digest": "of all",
        **_completed(accuracies(confusion, NAMES), None),
        **others,
    }
    (folder / "evaluation-test.json").write_text(json.dumps(content))
    labels = np.repeat([0, 1], 10)
    predicted = np.where(np.tile(np.arange(10), 2) < right, labels, 1 - labels)
    probabilities = np.eye(2, dtype=np.float32)[predicted]
    images = [str(number) for number in range(20)]
    write_predictions(
        predictions_path(folder, "test"), Predictions(images, labels, probabilities, NAMES)
    )
    return folder


@pytest.fixture
def arms(tmp_path: Path) -> dict[str, list[Path]]:
    rights = {"plain": (5, 6, 4), "ours": (6, 8, 7), "other": (5, 6, 5)}
    return {
        name: [evaluated(tmp_path / f"{name}{seed}", seed, n) for seed, n in enumerate(of_seeds)]
        for name, of_seeds in rights.items()
    }


def test_comparison_of_runs(arms: dict[str, list[Path]]) -> None:
    found = compare_runs(arms, "plain")
    json.dumps(found, allow_nan=False)
    ours = found["arms"]["ours"]
    assert ours["seeds"] == [0, 1, 2]
    assert ours["mean_class_accuracy"]["mean"] == pytest.approx(70)
    assert ours["per_class_accuracy"] == pytest.approx({"a": 70, "b": 70})
    assert ours["macro_f1"]["mean"] == pytest.approx(70)
    paired = ours["paired"]["mean_class_accuracy"]
    assert (paired["mean"], paired["std"]) == pytest.approx((20, 10))
    assert paired["p_t"] == pytest.approx(0.0742, abs=1e-4)
    assert paired["p_holm"] == pytest.approx(2 * 0.0742, abs=2e-4)
    assert ours["mcnemar"][2]["only_right"] == 6  # 3 of each class
    assert "paired" not in found["arms"]["plain"]


def test_table(arms: dict[str, list[Path]]) -> None:
    lines = comparison_table(compare_runs(arms, "plain")).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| plain", "| ours", "| other"]
    assert len({line.count("|") for line in lines}) == 1
    cells = lines[3].split(" | ")
    assert cells[3] == "70.0 ± 10.0 [45.2, 94.8]"
    assert cells[6:11] == ["", "1,000", "", "30", "+20.0 ± 10.0 [-4.8, +44.8]"]
    assert cells[11] == "0.074; 0.148"


def test_a_table_of_one_seed_says_that_it_gives_no_p(arms: dict[str, list[Path]]) -> None:
    one = compare_runs({name: runs[:1] for name, runs in arms.items()}, "plain")
    lines = comparison_table(one).splitlines()
    assert [cell.strip() for cell in lines[3].split("|")[11:-1]] == ["+10.0", NO_P, NO_P, NO_P]
    assert lines[-1] == f"{NO_P}: one seed gives no p value, nor ± and interval: give more seeds."
    assert not any(";" in line for line in lines[2:])
    three = comparison_table(compare_runs(arms, "plain"))
    assert NO_P not in three
    assert arm_table(one).rows == (
        ("plain", "50.0 (one seed)", "0.0 (one seed)", ""),
        ("ours", "60.0 (one seed)", "0.0 (one seed)", "+10.0 (one seed, no interval)"),
        ("other", "50.0 (one seed)", "0.0 (one seed)", "+0.0 (one seed, no interval)"),
    )


def test_a_difference_without_spread_has_no_t(arms: dict[str, list[Path]], tmp_path: Path) -> None:
    """The same difference in each seed: no t test, and so no `;` between two p values."""
    ahead = [evaluated(tmp_path / f"a{i}", i, n + 1) for i, n in enumerate((5, 6, 4))]
    table = comparison_table(compare_runs({"plain": arms["plain"], "ahead": ahead}, "plain"))
    cells = [cell.strip() for cell in table.splitlines()[3].split("|")]
    assert cells[12:15] == [NO_P, "0.250", "0.250"]
    assert "one seed" not in table


def test_a_table_names_the_class_that_no_mean_covers(tmp_path: Path) -> None:
    confusion = np.array([[8, 2, 0], [0, 0, 0], [1, 0, 9]])
    runs = [
        evaluated(tmp_path / name, 0, 5, **_completed(accuracies(confusion, ("a", "b", "c")), None))
        for name in ("one", "two")
    ]
    for run in runs:
        predictions_path(run, "test").unlink()
    found = compare_runs({"one": runs[:1], "two": runs[1:]}, "one")
    assert found["missing_classes"] == ["b"]
    assert found["arms"]["two"]["per_class_accuracy"] == pytest.approx({"a": 80, "c": 90})
    assert found["arms"]["two"]["mean_class_accuracy"]["mean"] == pytest.approx(85)
    table = comparison_table(found)
    assert table.endswith("\nNo image of b: means are over the other classes.\n")


def test_another_set_may_be_compared_by(arms: dict[str, list[Path]]) -> None:
    for run in (arms["plain"][0], arms["ours"][0]):
        for kind, ending in (("evaluation", "json"), ("predictions", "parquet")):
            (run / f"{kind}-test.{ending}").rename(run / f"{kind}-on-x-1.{ending}")
    chosen = {"plain": arms["plain"][:1], "ours": arms["ours"][:1]}
    found = compare_runs(chosen, "plain", "on-x-1")
    assert found["arms"]["ours"]["mcnemar"][0]["only_right"] == 2
    with pytest.raises(Face2ExpError, match=r"plain1: not evaluated: run .* --on SOURCE` first"):
        compare_runs({**chosen, "plain": arms["plain"]}, "plain", "on-x-1")


def test_a_few_arms(arms: dict[str, list[Path]]) -> None:
    found = compare_runs(arms, "plain")
    table = arm_table(found, ["plain", "ours"])
    assert table.head[-1] == "minus plain"
    assert table.rows == (
        ("plain", "50.0 ± 10.0", "0.0 ± 0.0", ""),
        ("ours", "70.0 ± 10.0", "0.0 ± 0.0", "+20.0 [-4.8, +44.8]"),
    )
    assert arm_table(found).rows[2][0] == "other"


def test_shared_seeds_alone_are_paired(arms: dict[str, list[Path]]) -> None:
    found = compare_runs({"plain": arms["plain"], "ours": arms["ours"][1:]}, "plain")
    assert found["arms"]["ours"]["paired"]["mean_class_accuracy"]["num_seeds"] == 2
    with pytest.raises(Face2ExpError, match="ours and plain share no seed"):
        compare_runs({"plain": arms["plain"][:1], "ours": arms["ours"][1:]}, "plain")


def test_without_predictions_there_is_no_test_by_image(arms: dict[str, list[Path]]) -> None:
    predictions_path(arms["ours"][0], "test").unlink()
    assert compare_runs(arms, "plain")["arms"]["ours"]["mcnemar"].keys() == {1, 2}


def test_mistakes_are_named(arms: dict[str, list[Path]], tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no method 'x' to compare with: take plain, ours"):
        compare_runs(arms, "x")
    with pytest.raises(Face2ExpError, match="ours: no run to compare"):
        compare_runs({**arms, "ours": []}, "plain")
    with pytest.raises(Face2ExpError, match=r"plain0 and .*plain0 are both of seed 0"):
        compare_runs({"plain": [arms["plain"][0]] * 2}, "plain")
    with pytest.raises(Face2ExpError, match=r"not evaluated: run `face2exp evaluate .* --split"):
        compare_runs({"plain": [tmp_path]}, "plain")


def test_other_images_are_noticed(arms: dict[str, list[Path]], tmp_path: Path) -> None:
    listed = [evaluated(tmp_path / f"l{i}", 0, 5, list_digest=str(i)) for i in range(2)]
    with pytest.raises(Face2ExpError, match="were evaluated on other images"):
        compare_runs({"one": listed[:1], "two": listed[1:]}, "one")
    labels = np.repeat([0, 1], 10)
    moved = Predictions(["x"] * 20, labels, np.eye(2, dtype=np.float32)[labels], NAMES)
    write_predictions(predictions_path(arms["ours"][0], "test"), moved)
    with pytest.raises(Face2ExpError, match=r"ours0/.* list other images: one of them is another"):
        compare_runs(arms, "plain")
