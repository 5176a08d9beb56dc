"""Every method through `train`: its phases, its wiring, its budget, and resume to the bit."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn

from face2exp_lib.config import RunConfig
from face2exp_lib.methods import METHODS, meta_face2exp, passes
from face2exp_lib.methods.meta_face2exp import MetaOptions
from face2exp_lib.methods.passes import Compute
from face2exp_lib.networks import build_network
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl
from face2exp_lib.training import loop as training
from face2exp_lib.training.checkpoint import Place, checkpoints, save_state
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import Plan, initial_seed, label_budget, learns_from_all, plan_run
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
CPU = torch.device("cpu")
# As many as there are squares to choose from; a student after two rounds; labels change at once.
SETTINGS = (
    "noisy_student.rounds=2",
    "noisy_student.threshold=0",
    "noisy_student.per_class=4",
    "scn.relabel_from_epoch=1",
    "scn.relabel_margin=0",
    "fixmatch.confidence=0",
    "uda.confidence=0",
    "meta_pseudo_labels.confidence=0",
    "ada_cm.floor=0",
)
PHASES = {
    "supervised": {"supervised": 4},
    "class_balanced": {"class_balanced": 4},
    "scn": {"scn": 4},
    "cake": {"cake": 4},
    "dmue": {"dmue": 4},
    "ran": {"ran": 4},
    "gacnn": {"gacnn": 4},
    "ldl_alsg": {"ldl_alsg": 4},
    "ipa2lt": {"coder_1": 1, "coder_2": 1, "ipa2lt": 2},
    "pseudo_label": {"warm_start": 3, "pseudo_label": 4},
    "noisy_student": {"warm_start": 3, "round_1": 2, "round_2": 2},
    "uda": {"warm_start": 3, "uda": 4},
    "fixmatch": {"warm_start": 3, "fixmatch": 4},
    "mean_teacher": {"warm_start": 3, "mean_teacher": 4},
    "remixmatch": {"warm_start": 3, "remixmatch": 4},
    "freematch": {"warm_start": 3, "freematch": 4},
    "ada_cm": {"warm_start": 3, "ada_cm": 4},
    "meta_pseudo_labels": {"warm_start": 3, "meta_pseudo_labels": 4, "finetune": 3},
    "meta": {"warm_start": 3, "meta": 4, "finetune": 3},
}

DEPLOYED = dict.fromkeys(("meta", "meta_pseudo_labels", "noisy_student"), "adaptation")


@pytest.fixture(scope="module")
def make_plan(tiny: Tiny, squares_root: Path) -> Callable[..., Plan]:
    def make(*changes: str) -> Plan:
        config = tiny(*SETTINGS, *changes)
        return plan_run(config, run_data(config, squares_root), CPU)

    return make


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@pytest.mark.parametrize("method", METHODS)
def test_each_method_trains_and_resumes_to_the_bit_wherever_it_was_killed(
    tiny: Tiny, squares_root: Path, tmp_path: Path, method: str
) -> None:
    config = tiny(*SETTINGS, f"method={method}")
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(config, whole, squares_root)
    records = read_jsonl(whole / "metrics.jsonl")
    assert Counter(record["phase"] for record in records) == PHASES[method]

    finite = training._finite
    for at in range(1, len(records), 2):  # after each odd step: a checkpoint is one step old

        def dying(*seen: Any, at: int = at) -> Any:
            if seen[-1].step == at:
                raise Killed
            return finite(*seen)

        with patch.object(training, "_finite", dying), pytest.raises(Killed):
            train(config, run, squares_root, resume=True)
    train(config, run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    # Tensors in the order in which they were saved: the files are the same.
    for one, other in zip(checkpoints(run), checkpoints(whole), strict=True):
        assert_equal(*(torch.load(path, weights_only=True) for path in (one, other)))
    result, _ = evaluate_run(run, "val", squares_root)
    assert result["method"] == method


def assert_equal(one: Any, other: Any) -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    else:
        assert one == other


@pytest.mark.parametrize("method", METHODS)
def test_a_run_counts_what_goes_through_its_networks(
    make_plan: Callable[..., Plan], method: str
) -> None:
    """Forward by hooks on the last maps; backward where these get a gradient."""
    plan = make_plan(f"method={method}")
    counted: Counter[str] = Counter()

    def forward(_: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        counted["forward"] += len(inputs[0])
        if output.requires_grad:
            output.register_hook(lambda grad: counted.update(backward=len(grad)))

    for network in plan.validated.values():
        network.last_maps.register_forward_hook(forward)
    for phase in plan.phases:
        counted.clear()
        for _ in phase.steps(0):
            pass
        expected = phase.all_passes
        assert (counted["forward"], counted["backward"]) == (expected.forward, expected.backward)


def test_finished_run_tells_its_budget(finished_runs: dict[str, Path]) -> None:
    meta = read_json(finished_runs["meta"] / "finished.json")
    # 3 x 2 x 6 + 4 x (2 x 6 + 3 x 5) + 3 x 6; all of them go backward
    assert (meta["image_passes"], meta["image_backwards"]) == (162, 162)


@pytest.mark.parametrize("method", METHODS)
def test_the_deployed_network_is_the_one_that_a_reader_of_the_run_gets(
    tiny: Tiny, squares_root: Path, tmp_path: Path, method: str
) -> None:
    """The best checkpoint is that of the last step if validation is only made there."""
    config = tiny(*SETTINGS, f"method={method}", "training.eval_every_steps=100")
    train(config, tmp_path / "run", squares_root)
    _, network, _ = load_trained(tmp_path / "run")
    name = DEPLOYED.get(method, "base")
    (last,) = checkpoints(tmp_path / "run")
    saved = torch.load(last, weights_only=True)["networks"][name]
    assert all(torch.equal(value, saved[key]) for key, value in network.state_dict().items())


# What reaches the steps


@pytest.mark.parametrize("method", METHODS)
def test_precision_and_micro_batches_reach_each_step(
    make_plan: Callable[..., Plan], method: str
) -> None:
    plan = make_plan(f"method={method}", "compute.precision=bfloat16", "compute.micro_batch_size=3")
    expected = Compute(precision="bfloat16", micro_batch_size=3)
    seen = []

    def watch(*arguments: Any, **options: Any) -> Any:
        seen.append([a for a in (*arguments, *options.values()) if isinstance(a, Compute)])
        return step(*arguments, **options)

    module = sys.modules[METHODS[method].step.__module__]
    name = f"{method}_step"  # what the record's step calls
    step = getattr(module, name)
    with patch.object(module, name, watch):
        for phase in plan.phases:
            next(phase.steps(0))
    assert seen
    assert all(found == [expected] for found in seen)


def test_the_ramp_reaches_algorithm_1(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan("meta.ramp_steps=4", "meta.w_c=2")
    weights = []

    def watch(*arguments: Any, **keys: Any) -> Any:
        (options,) = (a for a in arguments if isinstance(a, MetaOptions))
        weights.append((options.w_u, options.w_c, options.w_f, options.w_s))
        return step(*arguments, **keys)

    step = meta_face2exp.meta_step
    with patch.object(meta_face2exp, "meta_step", watch):
        list(plan.phases[1].steps(0))
    assert weights == [(0.25, 0.5, 0.25, 1), (0.5, 1, 0.5, 1), (0.75, 1.5, 0.75, 1), (1, 2, 1, 1)]


def test_compile_reaches_all_networks(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    compiled: list[nn.Module] = []

    def pretend(networks: Any, compute: Compute) -> None:
        assert compute.compile
        compiled.extend(networks)

    config = tiny("compute.compile=true", "training.num_steps=1", "training.finetune_steps=0")
    with patch.object(training, "compile_networks", pretend):
        train(config, tmp_path / "run", squares_root)
    assert len(compiled) == 2
    assert passes.compile_networks is not pretend


def test_class_balanced_batches(make_plan: Callable[..., Plan]) -> None:
    """Six of seven classes, each once; shuffled batches would hold one class twice sooner."""
    plan = make_plan(
        "method=supervised",
        "data.balanced=false",
        "data.per_class=null",
        "training.batches_fer=class_balanced",
        "training.num_steps=7",
    )
    (phase,) = plan.phases
    labels = torch.cat([given.batch.y_fer for given, _ in phase.steps(0)])
    assert torch.bincount(labels).tolist() == [6] * 7


def test_the_student_becomes_the_teacher_and_a_fresh_one_follows(
    make_plan: Callable[..., Plan],
) -> None:
    plan = make_plan("method=noisy_student")
    warm, first, second = plan.phases
    base, adaptation = (plan.networks[name] for name in ("base", "adaptation"))
    for _ in warm.steps(0):
        pass
    teacher = base.get_parameter("fc.weight").detach().clone()
    for _ in first.steps(0):
        assert torch.equal(base.get_parameter("fc.weight"), teacher)
    student = adaptation.get_parameter("fc.weight").detach().clone()
    assert second.opening
    second.opening(second)
    assert torch.equal(base.get_parameter("fc.weight"), student)
    seed = initial_seed(second.config, "adaptation") + 1
    fresh = build_network("small", 7, pretrained=False, seed=seed)
    assert torch.equal(adaptation.get_parameter("fc.weight"), fresh.get_parameter("fc.weight"))
    rows = set(second.extra["rows"].tolist())
    assert len(second.extra["rows"]) % 4 == 0  # per_class of each class that the teacher sees
    seen = {int(i) for given, _ in second.steps(1) for i in given.indices_fr}
    assert seen <= rows


def test_labels_that_scn_changes_stay_changed(make_plan: Callable[..., Plan]) -> None:
    (phase,) = make_plan("method=scn", "training.num_steps=30").phases
    before = phase.labelled.labels.clone()
    shares = [losses["relabelled"].item() for _, losses in phase.steps(0)]
    after = phase.extra["labels"]
    assert max(shares) > 0
    assert not torch.equal(after, before)
    assert torch.equal(phase.labelled.labels, before)  # the set itself stays as it is


def test_weights_that_are_not_finite_are_not_saved(
    make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    """A loss before the step does not tell what the step made of the weights."""
    plan = make_plan()
    save_state(tmp_path, Place(2), plan)
    with torch.no_grad():
        plan.networks["adaptation"].get_parameter("fc.bias")[3] = float("inf")
    with pytest.raises(Face2ExpError, match="weights of adaptation are not finite at step 4"):
        save_state(tmp_path, Place(4), plan)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-00000002.pt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["method=noisy_student", "training.warm_start_steps=0"], "warm_start_steps"),
        (["method=noisy_student", "training.num_steps=1"], "give each a step"),
        (["method=scn", "scn.high_share=0.1"], r"scn\.high_share"),
    ],
)
def test_what_a_method_cannot_run_with_is_named(
    make_plan: Callable[..., Plan], changes: list[str], message: str
) -> None:
    with pytest.raises(Face2ExpError, match=message):
        make_plan(*changes)


def test_a_teacher_that_is_sure_of_nothing_stops_the_run(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    config = tiny(*SETTINGS, "method=noisy_student", "noisy_student.threshold=0.99999")
    with pytest.raises(Face2ExpError, match=r"noisy_student\.threshold"):
        train(config, tmp_path / "run", squares_root)


@pytest.mark.parametrize(
    ("changes", "train"),
    [
        ([], 7 * 3),
        (["training.warm_start_labels=long_tailed"], 6 * 4 + 8),
        (["training.warm_start_labels=long_tailed", "training.warm_start_steps=0"], 7 * 3),
        (["training.warm_start_labels=long_tailed", "method=supervised"], 7 * 3),
        (["data.balanced=false", "data.per_class=null"], 6 * 4 + 8),
        (["data.per_class=null"], 7 * 4),
    ],
)
def test_label_budget_counts_every_label_used_anywhere(
    tiny: Tiny, squares_root: Path, changes: list[str], train: int
) -> None:
    config = tiny(*changes)
    data = run_data(config, squares_root)
    budget = label_budget(plan_run(config, data, CPU), data)
    assert budget == {"train": train, "validation": 14, "total": train + 14}
    assert learns_from_all(config) == (train > len(data.labelled))
