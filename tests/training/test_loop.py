"""What a run leaves behind: its records, its best checkpoint, its losses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from face2exp_lib.config import load_config
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_sized
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training import loop as training
from face2exp_lib.training import plans
from face2exp_lib.training.checkpoint import Place
from face2exp_lib.training.loop import train
from face2exp_lib.training.stored_weights import load_checkpoint
from tests.run_data import run_data
from tests.training.runs import Killed, Tiny, assert_same_run, equal


def test_run_is_a_function_of_its_seed(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    torch.manual_seed(99)
    train(tiny(), tmp_path / "again", squares_root)
    assert_same_run(tmp_path / "again", finished_runs["meta"])
    train(tiny("seed=1"), tmp_path / "other", squares_root)
    first, second = (
        read_jsonl(run / "metrics.jsonl")[0]["loss_s"]
        for run in (tmp_path / "again", tmp_path / "other")
    )
    assert first != second


def test_two_networks_with_weights_of_their_own(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = plans.initial_network

    def watched(*arguments: Any, **options: Any) -> nn.Module:
        network = build(*arguments, **options)
        built.append(network.get_parameter("fc.weight").detach().clone())
        return network

    monkeypatch.setattr(plans, "initial_network", watched)
    train(tiny("training.num_steps=1"), tmp_path / "run", squares_root)
    base, adaptation = built
    assert not torch.equal(base, adaptation)


# What a run directory holds


def test_run_directory_holds_what_it_should(finished_runs: dict[str, Path], tiny: Tiny) -> None:
    run = finished_runs["meta"]
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()}
    assert names == {
        ".lock",
        "config.yaml",
        "environment.json",
        "data.json",
        "data_lists.npz",
        "metrics.jsonl",
        "finished.json",
        "checkpoints/step-00000010.pt",
        "checkpoints/best.pt",
        *(f"pseudo_labels/before-step-{step:08}.parquet" for step in (4, 6, 8)),
    }
    assert load_config(run / "config.yaml") == tiny()
    # 3 x 2 x 6 + 4 x (2 x 6 + 3 x 5) + 3 x 6 images
    finished = json.loads((run / "finished.json").read_text())
    assert finished["num_steps"] == 10
    assert finished["image_passes"] == 162
    assert finished["label_budget"] == {"train": 21, "validation": 14, "total": 35}


def test_metrics_have_a_record_for_every_step(finished_runs: dict[str, Path]) -> None:
    records = read_jsonl(finished_runs["meta"] / "metrics.jsonl")
    assert [record["phase"] for record in records] == (
        ["warm_start"] * 3 + ["meta"] * 4 + ["finetune"] * 3
    )
    assert [record["step"] for record in records if "validation" in record] == [2, 5, 8, 9]
    meta = records[4]
    assert {"loss_s", "loss_u", "loss_c", "loss_f", "loss_s_after", "feedback"} <= meta.keys()
    assert sum(meta["pseudo_labels"]) == 5
    assert meta["loss_f"] == pytest.approx(0, abs=1)
    assert set(records[5]["validation"]) == {"base", "adaptation"}
    assert set(records[0]) == {"step", "phase", "loss_s", "loss_s_adaptation"}  # B's and A's
    assert set(records[7]) == {"step", "phase", "loss_s"}


def test_warm_start_and_fine_tune_may_be_left_out(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    changes = ("training.warm_start_steps=0", "training.finetune_steps=0", "training.num_steps=2")
    train(tiny(*changes), tmp_path / "run", squares_root)
    records = read_jsonl(tmp_path / "run" / "metrics.jsonl")
    assert [record["phase"] for record in records] == ["meta", "meta"]


def test_only_the_fine_tune_leaves_the_base_alone(finished_runs: dict[str, Path]) -> None:
    records = read_jsonl(finished_runs["meta"] / "metrics.jsonl")
    scores = {r["step"]: r["validation"] for r in records if "validation" in r}
    assert scores[8]["base"]["confusion_matrix"] == scores[9]["base"]["confusion_matrix"]


# Which checkpoint is kept


def scripted(
    monkeypatch: pytest.MonkeyPatch, scores: dict[str, list[float]]
) -> list[dict[str, torch.Tensor]]:
    """Validation says what the script says; gives back the weights it was asked about."""
    names = list(scores)
    asked: list[dict[str, torch.Tensor]] = []

    def evaluate(network: nn.Module, *_: Any, **__: Any) -> dict[str, Any]:
        name, round_number = names[len(asked) % len(names)], len(asked) // len(names)
        asked.append({key: value.clone() for key, value in network.state_dict().items()})
        return {"mean_class_accuracy": scores[name][round_number]}

    monkeypatch.setattr(training, "evaluate_network", evaluate)
    return asked


def test_best_checkpoint_is_chosen_by_the_validation_of_a(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validations after 3, 6, 9 and 10 steps. A is best after 6, again after 10; B after 9."""
    asked = scripted(monkeypatch, {"base": [50, 60, 90, 20], "adaptation": [10, 30, 20, 30]})
    train(tiny(), tmp_path / "run", squares_root)
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.pt", {"step", "network"})
    assert best["step"] == 6
    assert equal(best["network"], asked[3])  # rounds of base and adaptation: the second A
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert finished["best_validation_mean_class_accuracy"] == 30


def test_best_checkpoint_of_the_baseline_is_chosen_by_its_own_validation(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scripted(monkeypatch, {"base": [50, 40]})
    train(tiny("method=supervised"), tmp_path / "run", squares_root)
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.pt", {"step", "network"})
    assert best["step"] == 3
    assert equal(best["network"], asked[0])


def test_best_score_survives_a_resume(
    tiny: Tiny,
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kill_at: Callable[[int], None],
) -> None:
    scripted(monkeypatch, {"base": [0, 0], "adaptation": [80, 0]})
    kill_at(7)
    with pytest.raises(Killed):
        train(tiny(), tmp_path / "run", squares_root)
    scripted(monkeypatch, {"base": [0, 0], "adaptation": [50, 70]})
    train(tiny(), tmp_path / "run", squares_root, resume=True)
    best = load_checkpoint(tmp_path / "run" / "checkpoints" / "best.pt", {"step", "network"})
    assert best["step"] == 3


def test_the_test_part_is_not_decoded_in_training(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is hashed, to drop its copies from train, and no more."""
    roots = set()

    def watched(images: Any, index: int, size: int) -> tuple[torch.Tensor, tuple[int, int]]:
        roots.add(images.root.name)
        return decode_sized(images, index, size)

    monkeypatch.setattr("face2exp_lib.data.batches.decode_sized", watched)
    train(tiny(), tmp_path / "run", squares_root)
    assert roots == {"train", "people"}


# Losses that are not finite


def test_loss_that_is_not_finite_is_named_with_its_step(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    config = tiny("method=supervised", "training.eta_b=1e38")  # the largest that is taken
    with pytest.raises(
        Face2ExpError,
        match=r"loss_s is (nan|inf) at step 1, FER images .*: lower training\.eta_a or eta_b .*; "
        "there is no checkpoint yet, so --resume begins anew",
    ):
        train(config, run, squares_root)
    assert [record["step"] for record in read_jsonl(run / "metrics.jsonl")] == [0]
    assert not (run / "finished.json").exists()


def test_network_that_diverged_in_the_last_step_gets_no_score(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    """No later loss would tell, and the largest of seven NaNs would pass for class 0."""
    config = tiny("method=supervised", "training.eta_b=1e30", "training.num_steps=1")
    with pytest.raises(Face2ExpError, match="outputs are not finite"):
        train(config, tmp_path / "run", squares_root)
    assert not (tmp_path / "run" / "checkpoints" / "best.pt").exists()


@pytest.mark.parametrize("name", ["loss_u", "feedback", "loss_f"])
def test_every_loss_is_watched_and_the_images_are_named(
    tiny: Tiny, squares_root: Path, name: str
) -> None:
    data = run_data(tiny(), squares_root)
    phase = plans.plan_run(tiny(), data, torch.device("cpu")).phases[1]
    given, _ = next(phase.steps(0))
    losses = {"loss_s": torch.tensor(1.0), name: torch.tensor(float("nan"))}
    with pytest.raises(Face2ExpError, match=f"{name} is nan at step 17") as raised:
        training._finite(losses, phase, given, Place(17))
    fer = [data.labelled.ids[index] for index in given.indices_fer.tolist()]
    assert isinstance(data.unlabelled, FaceSet)
    fr = [data.unlabelled.ids[index] for index in given.indices_fr.tolist()]
    assert f"FER images {', '.join(fer[:5])} and 1 more, FR images {', '.join(fr)}:" in str(
        raised.value
    )
