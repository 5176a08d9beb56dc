"""Comparisons as they are read, and the lengths of runs at equal budgets, by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from face2exp_lib.comparison.arms import (
    Comparison,
    Length,
    arm_config,
    at_budget,
    plan_length,
    read_comparison,
)
from face2exp_lib.config import RunConfig
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.training.plans import plan_run
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
ARMS = {"plain": {"method": "supervised"}, "ours": {"training.eta_b": 1e-5}}


@pytest.fixture
def write(tmp_path: Path, config_path: Path) -> Callable[..., Path]:
    def written(**keys: Any) -> Path:
        (tmp_path / "tiny.yaml").write_text(config_path.read_text())
        path = tmp_path / "compared.yaml"
        path.write_text(
            yaml.safe_dump({"config": "tiny.yaml", "arms": ARMS, **keys}, sort_keys=False)
        )
        return path

    return written


def test_a_comparison_finds_its_config_beside_it(write: Callable[..., Path]) -> None:
    comparison = read_comparison([write()])
    assert (comparison.reference_arm, comparison.budget_arm) == ("plain", "plain")
    config = arm_config(comparison, "ours", {"data.labelled.part": "train"}, 7)
    assert (config.training.eta_b, config.seed, config.method) == (1e-5, 7, "meta")


def test_a_trial_changes_what_the_arm_left(write: Callable[..., Path]) -> None:
    comparison = read_comparison([write()])
    assert arm_config(comparison, "ours", {"training.eta_b": 0.5}, 0).training.eta_b == 0.5


def test_run_configs_are_arms(config_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(config_path.read_text().replace("eta_b: 0.05", "eta_b: 0.5"))
    comparison = read_comparison([config_path, other], changes={"seeds": [4]})
    rates = {arm: arm_config(comparison, arm, {}, 4).training.eta_b for arm in comparison.arms}
    assert rates == {"tiny": 0.05, "other": 0.5}
    methods = read_comparison([config_path], ["supervised", "uda"])
    assert [arm_config(methods, arm, {}, 0).method for arm in methods.arms] == ["supervised", "uda"]
    both = read_comparison([config_path, other], ["uda"])
    assert [*both.arms] == ["tiny-uda", "other-uda"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"reference": "x"}, r"compared.yaml: .*: reference x is no arm: take one of plain, ours"),
        ({"seeds": [1, 1]}, r"seeds \[1, 1\] name one twice"),
        ({"trials": {"a": {}}, "seeds": [100]}, "search_seed 100 is one of seeds"),
        ({"budgets": ["none"]}, r"budgets.0: Input should be 'own', 'compute' or 'updates'"),
        ({"arms": {"../x": {}}}, r"compared.yaml: arms"),
        ({"colour": "red"}, r"compared.yaml: colour"),
    ],
)
def test_mistakes_are_named(write: Callable[..., Path], keys: Any, message: str) -> None:
    with pytest.raises(Face2ExpError, match=message):
        read_comparison([write(**keys)])


def test_a_comparison_stands_alone(write: Callable[..., Path], config_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="names its arms and methods itself"):
        read_comparison([write()], ["uda"])
    with pytest.raises(Face2ExpError, match="names its arms and methods itself"):
        read_comparison([config_path, write()])


def lengths(tiny: Tiny, root: Path, *changes: str) -> Any:
    config = tiny(*changes)
    return config, plan_length(plan_run(config, run_data(config, root), torch.device("cpu")))


def test_lengths_by_hand(tiny: Tiny, squares_root: Path) -> None:
    """Tiny: batches of 6 and 5. Forward and backward cost 3 an image. Warm start: 3 steps of 6 in
    two networks, 108; Algorithm 1: A 5 + 6, B 5 + 6 + 5, 27 images, 81 a step; fine-tune 3 steps of
    6, 54."""
    _, length = lengths(tiny, squares_root)
    assert length.step_cost == 81
    assert length.rest == Length(steps=6, cost=162)
    assert length.whole == Length(steps=10, cost=162 + 4 * 81)


def test_a_supervised_run_at_equal_compute_and_updates(tiny: Tiny, squares_root: Path) -> None:
    """486 / 18 = 27 steps; validated every 3 of 10 steps is 4 times, so every 7 of 27."""
    config, length = lengths(tiny, squares_root, "method=supervised")
    given = Length(steps=10, cost=486)
    compute = at_budget(config, length, "compute", given, 4).training
    assert (compute.num_steps, compute.eval_every_steps) == (27, 7)
    updates = at_budget(config, length, "updates", given, 4).training
    assert (updates.num_steps, updates.eval_every_steps) == (10, 3)
    assert at_budget(config, length, "own", given, 4) == config


def test_what_comes_before_the_steps_counts(tiny: Tiny, squares_root: Path) -> None:
    """FixMatch: 54 for the warm start; 6 + 5 learn, 5 are looked at: 38 a step; 432 / 38 = 11.4."""
    config, length = lengths(tiny, squares_root, "method=fixmatch")
    given = Length(steps=10, cost=486)
    assert at_budget(config, length, "compute", given, 4).training.num_steps == 11
    assert at_budget(config, length, "updates", given, 4).training.num_steps == 7
    with pytest.raises(Face2ExpError, match="method fixmatch: what it does beside its own steps"):
        at_budget(config, length, "updates", Length(steps=3, cost=486), 4)


def test_looks_at_all_images_count(tiny: Tiny, squares_root: Path) -> None:
    """12 FR images, looked at before each of three rounds; the warm start is the teacher's."""
    _, length = lengths(tiny, squares_root, "method=noisy_student")
    assert length.rest == Length(steps=3, cost=54 + 36)
    assert length.num_steps == 4


@pytest.mark.parametrize(
    "path",
    sorted([p for kind in ("compare", "study") for p in shipped("configs").glob(f"{kind}_*.yaml")]),
    ids=str,
)
def test_packaged_comparisons_hold(path: Path) -> None:
    comparison: Comparison = read_comparison([path])
    for arm in comparison.arms:
        for trial in comparison.trials.values() or [{}]:
            arm_config(comparison, arm, trial, comparison.seeds[0])
