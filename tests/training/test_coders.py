"""Coders label what they were not taught, and leave a fresh network behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training import coders
from face2exp_lib.training.plans import Plan, initial_seed, plan_run
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


def planned(tiny: Tiny, root: Path, *changes: str) -> Plan:
    config = tiny("method=ipa2lt", *changes)
    return plan_run(config, run_data(config, root), torch.device("cpu"))


def weights(plan: Plan) -> torch.Tensor:
    return plan.networks["base"].get_parameter("fc.weight").detach().clone()


def test_each_coder_labels_the_half_that_it_did_not_learn(tiny: Tiny, squares_root: Path) -> None:
    plan = planned(tiny, squares_root)
    first, second, main = plan.phases
    ids = main.labelled.faces.ids
    parts = [phase.labelled.faces.ids for phase in (first, second)]
    assert sorted([*parts[0], *parts[1]]) == sorted(ids)
    assert abs(len(parts[0]) - len(parts[1])) <= 1
    labelled: list[list[str]] = []

    def predicted(network: Any, faces: Any, **_: Any) -> np.ndarray:
        labelled.append(faces.faces.ids)
        return np.eye(7)[np.full(len(faces), len(labelled))]  # the coder's number

    seeds = [initial_seed(main.config, "base") + 1, initial_seed(main.config, "base")]
    with patch.object(coders, "predict_faces", predicted):
        for phase, seed in ((second, seeds[0]), (main, seeds[1])):
            with torch.no_grad():
                plan.networks["base"].get_parameter("fc.weight").zero_()
            assert phase.opening
            phase.opening(phase)
            fresh = build_network("small", 7, pretrained=False, seed=seed)
            assert torch.equal(weights(plan), fresh.get_parameter("fc.weight"))
    assert labelled == [parts[1], parts[0]]
    assert (second.extra["annotations"] == -1).sum() == len(parts[0])
    said = dict(zip(ids, main.extra["annotations"].tolist(), strict=True))
    assert {said[name] for name in parts[1]} == {1}
    assert {said[name] for name in parts[0]} == {2}


def test_their_steps_are_part_of_the_run_s(tiny: Tiny, squares_root: Path) -> None:
    first, second, main = planned(
        tiny, squares_root, "training.num_steps=10", "ipa2lt.coder_share=0.3"
    ).phases
    assert [phase.num_steps for phase in (first, second, main)] == [3, 3, 4]
    assert first.all_passes == learning(18)
    assert second.all_passes == learning(18) + looking(len(second.labelled))
    assert main.all_passes == learning(24) + looking(len(first.labelled))


def test_a_share_that_is_no_step_is_named(tiny: Tiny, squares_root: Path) -> None:
    with pytest.raises(Face2ExpError, match="num_steps 3, which is no step: give more"):
        planned(tiny, squares_root, "training.num_steps=3")
