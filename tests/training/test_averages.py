"""Averages of weights: by hand, beside the run that has none, and over a kill."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.storage import read_json
from face2exp_lib.training import loop
from face2exp_lib.training.averages import decay_at, move_averages
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import Plan
from tests.training.runs import Killed, Tiny, assert_same_run, equal

NAMES = ("base", "adaptation")
EVERY_STEP = ("training.checkpoint_every_steps=1", "training.keep_checkpoints=99")


def test_the_decay_begins_small_by_hand() -> None:
    assert [decay_at(step, 0.5) for step in (0, 1, 5, 8, 9)] == [0, 2 / 11, 6 / 15, 0.5, 0.5]
    assert decay_at(10**9, 0.999) == 0.999


def normed(value: float, batches: int) -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    nn.init.constant_(network.get_parameter("0.weight"), value)
    network.get_buffer("1.running_mean").fill_(10 * value)
    network.get_buffer("1.num_batches_tracked").fill_(batches)
    return network


def test_an_average_by_hand() -> None:
    """At step 5 two fifths stay at most, and 0.25 of them by the option."""
    averages = {"a": normed(1.0, 3), "b": normed(1.0, 3)}
    latest = {"a": normed(5.0, 4), "b": normed(5.0, 4), "head": nn.Linear(2, 2)}
    move_averages(averages, latest, ["a", "head"], 5, 0.25)
    assert averages["a"].get_parameter("0.weight").item() == pytest.approx(0.25 * 1 + 0.75 * 5)
    assert averages["a"].get_buffer("1.running_mean").item() == pytest.approx(40)
    assert averages["a"].get_buffer("1.num_batches_tracked").item() == 4
    assert averages["b"].get_parameter("0.weight").item() == 1  # this phase does not train it
    move_averages(averages, latest, ["a"], 0, 0.25)  # the next phase
    for name, average in averages.items():
        assert equal(dict(average.state_dict()), dict(latest[name].state_dict())), name


def states(run: Path) -> list[dict[str, Any]]:
    found = sorted((run / "checkpoints").glob("step-*.pt"))
    return [torch.load(path, weights_only=True) for path in found]


def test_a_run_s_averages_are_those_of_its_weights(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    """Ten steps in three phases; the fine-tune trains A alone."""
    run = tmp_path / "run"
    train(tiny("training.ema=0.15", *EVERY_STEP), run, squares_root)
    held = states(run)
    assert len(held) == 10
    averages = {name: dict.fromkeys(held[0]["averages"][name], torch.zeros(1)) for name in NAMES}
    for state, place in zip(held, [0, 1, 2, 0, 1, 2, 3, 0, 1, 2], strict=True):
        for name in NAMES if place == 0 or state["phase"] < 2 else ("adaptation",):
            decay = min(0.15, (1 + place) / (10 + place)) if place else 0
            for key, value in state["networks"][name].items():
                if value.is_floating_point():
                    value = decay * averages[name][key] + (1 - decay) * value
                averages[name][key] = value
        for name in NAMES:
            for key, value in averages[name].items():
                torch.testing.assert_close(state["averages"][name][key], value)
    # What learns is what learns without averages ...
    (raw,) = states(finished_runs["meta"])
    assert equal(raw["networks"], held[-1]["networks"])
    assert equal(raw["state"], held[-1]["state"])
    # ... and what is kept, read and deployed is the average.
    _, deployed, best = load_trained(run)
    kept = held[best["step"] - 1]["averages"]["adaptation"]
    assert equal(dict(deployed.state_dict()), dict(kept))
    assert not equal(
        kept["fc.weight"], held[best["step"] - 1]["networks"]["adaptation"]["fc.weight"]
    )


def test_validation_looks_at_the_averages(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def watched(config: RunConfig, plan: Plan, faces: DecodedFaces) -> dict[str, dict[str, float]]:
        seen.append(plan.validated["base"] is plan.averages["base"])
        return {"base": {"mean_class_accuracy": 1.0}}

    monkeypatch.setattr(loop, "_validate", watched)
    config = tiny("method=supervised", "training.ema=0.9")
    train(config, tmp_path / "run", squares_root)
    assert seen == [True, True]


@pytest.mark.parametrize("method", ["meta", "noisy_student", "scn"])
def test_a_killed_run_goes_on_with_its_averages(
    tiny: Tiny,
    squares_root: Path,
    kill_at: Callable[[int], None],
    tmp_path: Path,
    method: str,
) -> None:
    few = ("noisy_student.rounds=2", "noisy_student.threshold=0", "noisy_student.per_class=4")
    config = tiny(f"method={method}", "training.ema=0.9", *few)
    train(config, tmp_path / "whole", squares_root)
    for step in (1, 3):
        kill_at(step)
        with pytest.raises(Killed):
            train(config, tmp_path / "run", squares_root, resume=True)
    train(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_the_student_that_is_replaced_leaves_nothing_in_the_average(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    few = ("noisy_student.rounds=2", "noisy_student.threshold=0", "noisy_student.per_class=4")
    run = tmp_path / "run"
    train(tiny("method=noisy_student", "training.ema=0.9", *few, *EVERY_STEP), run, squares_root)
    first_of_round_2 = states(run)[5]
    assert first_of_round_2["phase"] == 2
    assert equal(first_of_round_2["averages"], first_of_round_2["networks"])


def test_averages_may_begin_in_mid_run(tiny: Tiny, squares_root: Path, broken_off: Path) -> None:
    """At the weights of the checkpoint; the record tells."""
    train(tiny("training.ema=0.9"), broken_off, squares_root, resume=True, changed=True)
    (change,) = read_json(broken_off / "finished.json")["changes"]
    assert change["config"] == {"training.ema": [0.0, 0.9]}
    assert states(broken_off)[-1]["averages"].keys() == set(NAMES)
