"""Runs that end the same however often they are killed, and run directories that stay whole."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from torch import nn

from face2exp_lib.config import RunConfig, dump_config, load_config
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_sized
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training import loop as training
from face2exp_lib.training import plans
from face2exp_lib.training.checkpoint import Place, checkpoints, load_checkpoint
from face2exp_lib.training.loop import train
from face2exp_lib.training.telemetry import MetricsLog
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
Contents = Callable[[Path], dict[str, bytes]]


def equal(first: Any, second: Any) -> bool:
    """Deep equality to the bit."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def assert_same_run(run: Path, expected: Path) -> None:
    files = [
        sorted(path.name for path in (r / "checkpoints").glob("*.pt")) for r in (run, expected)
    ]
    assert files[0] == files[1]
    assert "best.pt" in files[0]
    for name in files[0]:
        first, second = (
            torch.load(path / "checkpoints" / name, weights_only=True) for path in (run, expected)
        )
        assert equal(first, second), name
    for name in ("metrics.jsonl", "finished.json", "config.yaml"):
        assert (run / name).read_bytes() == (expected / name).read_bytes(), name


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the next training die after the update of a step and before its record."""
    finite = training._finite

    def arm(at: int) -> None:
        def dying(*seen: Any) -> Any:
            if seen[-1].step == at:
                monkeypatch.setattr(training, "_finite", finite)
                raise Killed
            return finite(*seen)

        monkeypatch.setattr(training, "_finite", dying)

    return arm


# 3 warm-start steps, 4 of Algorithm 1, 3 of the fine-tune; checkpoints after 2, 4, 6, 8 and 10.
@pytest.mark.parametrize(
    "steps",
    [(1,), (2,), (3,), (5,), (7,), (9,), (2, 5, 8)],
    ids=[
        "before any checkpoint",
        "in the warm start",
        "at the phase change",
        "in the meta phase",
        "at the second change",
        "in the fine-tune",
        "thrice",
    ],
)
def test_killed_and_resumed_run_equals_an_unbroken_one(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
    steps: tuple[int, ...],
) -> None:
    run = tmp_path / "run"
    for step in steps:
        kill_at(step)
        with pytest.raises(Killed):
            train(tiny(), run, squares_root, resume=True)
        torch.rand(3)  # another process would not have the same global state either
    train(tiny(), run, squares_root, resume=True)
    assert_same_run(run, finished_runs["meta"])
    assert [record["step"] for record in read_jsonl(run / "metrics.jsonl")] == list(range(10))


@pytest.mark.parametrize("norm", ["running_std", "minus_average"])
def test_a_resumed_run_remembers_the_feedback_so_far(
    tiny: Tiny, squares_root: Path, kill_at: Callable[[int], None], tmp_path: Path, norm: str
) -> None:
    config = tiny(f"meta.feedback_norm={norm}", "training.checkpoint_every_steps=1")
    train(config, tmp_path / "whole", squares_root)
    kill_at(6)  # the fourth step of Algorithm 1, three steps' feedback in the checkpoint
    with pytest.raises(Killed):
        train(config, tmp_path / "run", squares_root)
    train(config, tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    records = [r for r in read_jsonl(tmp_path / "run" / "metrics.jsonl") if r["phase"] == "meta"]
    assert records[0]["feedback_used"] == 0
    assert records[-1]["feedback_used"] != records[-1]["feedback"]


@pytest.mark.parametrize(("name", "occurrence"), [("step-", 1), ("step-", 3), ("best.pt", 1)])
def test_kill_while_a_checkpoint_is_written(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    occurrence: int,
) -> None:
    """The data are on the disk under their temporary name, and then the process dies."""
    replace, seen = os.replace, []

    def dying(source: str, target: Path) -> None:
        if Path(target).name.startswith(name):
            seen.append(target)
            if len(seen) == occurrence:
                raise Killed
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying)
        with pytest.raises(Killed):
            train(tiny(), tmp_path / "run", squares_root)
    train(tiny(), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["meta"])


def test_a_process_that_really_dies(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    """Buffers are lost and no `finally` runs."""
    (tmp_path / "c.yaml").write_text(dump_config(tiny()))
    program = f"""
import os, sys, torch
from pathlib import Path
from face2exp_lib.training import loop as training
from face2exp_lib.config import load_config
torch.set_num_threads(1)
finite = training._finite
training._finite = lambda *a: os._exit(9) if a[3].step == 5 else finite(*a)
training.train(load_config(Path("c.yaml")), Path("run"), Path({str(squares_root)!r}))
"""
    root = Path(__file__).parents[2]
    died = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
    )
    assert died.returncode == 9, died.stderr
    assert not (tmp_path / "run" / "finished.json").exists()
    train(tiny(), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["meta"])


def test_supervised_run_resumes_too(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    kill_at(3)
    with pytest.raises(Killed):
        train(tiny("method=supervised"), tmp_path / "run", squares_root)
    train(tiny("method=supervised"), tmp_path / "run", squares_root, resume=True)
    assert_same_run(tmp_path / "run", finished_runs["supervised"])


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


def test_finished_run_is_left_as_it_is(
    tiny: Tiny, finished_runs: dict[str, Path], contents: Contents
) -> None:
    """Nothing is written, and its data may be gone."""

    def changed() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in run.rglob("*.*")}

    run = finished_runs["meta"]
    before, times = contents(run), changed()
    train(tiny(), run, None, resume=True)
    assert contents(run) == before
    assert {**changed(), str(run / ".lock"): 0} == {**times, str(run / ".lock"): 0}


def test_two_networks_with_weights_of_their_own(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = plans.build_network

    def watched(*arguments: Any, **options: Any) -> nn.Module:
        network = build(*arguments, **options)
        built.append(network.get_parameter("fc.weight").detach().clone())
        return network

    monkeypatch.setattr(plans, "build_network", watched)
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
        match=r"loss_s is (nan|inf) at step 1, FER images .*: lower training\.eta_a or eta_b; "
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


# Run directories that are refused


def refused(config: RunConfig, run: Path, root: Path, message: str, **options: bool) -> None:
    with pytest.raises(Face2ExpError, match=message):
        train(config, run, root, **options)


@pytest.fixture
def broken_off(
    tiny: Tiny, squares_root: Path, tmp_path: Path, kill_at: Callable[[int], None]
) -> Path:
    """A run with checkpoints that has not finished."""
    kill_at(5)
    with pytest.raises(Killed):
        train(tiny(), tmp_path / "run", squares_root)
    return tmp_path / "run"


def test_run_is_not_begun_anew_by_accident(
    tiny: Tiny, squares_root: Path, broken_off: Path, contents: Contents
) -> None:
    before = contents(broken_off)
    refused(tiny(), broken_off, squares_root, "run: holds a run already: go on with --resume")
    assert contents(broken_off) == before


@pytest.mark.parametrize("finish", [False, True])
def test_run_of_another_config_is_refused(
    tiny: Tiny, squares_root: Path, broken_off: Path, contents: Contents, finish: bool
) -> None:
    if finish:
        train(tiny(), broken_off, squares_root, resume=True)
    before = contents(broken_off)
    message = r"run: holds a run of another config \({}\): see \S+config\.yaml, or choose another"
    for key, told in (("seed=1", "seed 0 -> 1"), ("aug.patches=none", "aug.patches .*")):
        for changed in (False, True):
            options = {"resume": True, "changed": changed}
            refused(tiny(key), broken_off, squares_root, message.format(told), **options)
    assert contents(broken_off) == before


@pytest.mark.parametrize(
    ("change", "name", "count"),
    [
        ("gone", "long_tailed", 31),
        ("relabelled", "test", 21),
        ("more", "unlabelled", 13),
    ],
)
def test_run_does_not_go_on_with_other_data(
    tiny: Tiny,
    squares_root: Path,
    broken_off: Path,
    tmp_path: Path,
    contents: Contents,
    change: str,
    name: str,
    count: int,
) -> None:
    """An image less, a label changed, an image more. The pixels of an image are not looked at."""
    root = tmp_path / "root"
    shutil.copytree(squares_root, root)
    train_part, test = root / "squares" / "train", root / "squares" / "test"
    if change == "gone":  # the last of its class, so that the others' places stay
        happy = sorted((train_part / "happy").glob("?.png"))
        held = json.loads((broken_off / "data.json").read_text())["sets"]["long_tailed"]
        assert held["num_images"] == 32
        happy[-1].unlink()
    elif change == "relabelled":
        (test / "happy" / "0.png").rename(test / "sad" / "9.png")
        (train_part / "happy" / "copy.png").unlink()
    else:
        (root / "people" / "person0" / "9.png").write_bytes(
            (root / "people" / "person1" / "0.png").read_bytes() + b"9"
        )
    before = contents(broken_off)
    message = rf"run: has begun with other images: .*{name} \({count} images now, \d+ then; "
    refused(tiny(), broken_off, root, message, resume=True)
    assert contents(broken_off) == before
    (broken_off / "data.json").write_text("{}")
    refused(tiny(), broken_off, squares_root, r"data\.json: .*no 'sets'", resume=True)


def test_run_without_its_last_checkpoint_is_still_a_run(
    tiny: Tiny, squares_root: Path, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_runs["meta"], run)
    shutil.rmtree(run / "checkpoints")
    refused(tiny("seed=1"), run, squares_root, "holds a run already")
    refused(tiny("seed=1"), run, squares_root, "holds a run of another config", resume=True)
    assert load_config(run / "config.yaml") == tiny()


@pytest.mark.parametrize("content", ["name: site\ntheme: dark\n", "# mine\nname: tiny\n", "\x00"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_config_yaml_of_somebody_elses_is_not_overwritten(
    tiny: Tiny, squares_root: Path, tmp_path: Path, content: str, resume: bool
) -> None:
    (tmp_path / "config.yaml").write_text(content)
    refused(tiny(), tmp_path, squares_root, "holds a run of another config: see", resume=resume)
    assert (tmp_path / "config.yaml").read_text() == content


def test_folder_with_other_files_is_refused(
    tiny: Tiny, squares_root: Path, tmp_path: Path, contents: Contents
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    refused(tiny(), tmp_path, squares_root, "not empty and no run directory: choose another")
    assert contents(tmp_path) == {"thesis.tex": b"mine"}


def test_run_directory_that_cannot_be_made(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        refused(tiny(), run, squares_root, r"cannot write here \(.*\): choose another --run-dir")
    assert (tmp_path / "file").read_text() == "mine"


def test_run_that_another_process_writes_is_refused(
    tiny: Tiny, squares_root: Path, broken_off: Path, contents: Contents
) -> None:
    before = contents(broken_off)
    with FileLock(broken_off / ".lock"):
        refused(tiny(), broken_off, squares_root, "another process is training", resume=True)
    assert contents(broken_off) == before
    train(tiny(), broken_off, squares_root, resume=True)


def test_lock_is_given_back_after_an_error(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    refused(tiny("data.test.part=gone"), run, squares_root, "no such file or folder")
    with FileLock(run / ".lock", timeout=0):
        pass


def test_run_that_failed_for_its_data_may_begin_with_a_better_config(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    refused(tiny("data.test.part=gone"), run, squares_root, "no such file or folder")
    train(tiny("training.num_steps=1", "method=supervised"), run, squares_root)
    assert (run / "finished.json").exists()


def test_run_that_stopped_before_its_first_checkpoint_may_begin_with_another_config(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    diverging = tiny("method=supervised", "training.eta_b=1e30")
    refused(diverging, run, squares_root, "at step 1")
    train(tiny("training.num_steps=1", "method=supervised"), run, squares_root)
    assert [record["step"] for record in read_jsonl(run / "metrics.jsonl")] == [0]


@pytest.mark.parametrize("resume", [False, True])
def test_resume_where_nothing_is_begins(
    tiny: Tiny, squares_root: Path, tmp_path: Path, resume: bool
) -> None:
    run = tmp_path / "deep" / "run"
    run.mkdir(parents=True)  # an empty folder is free
    train(tiny("training.num_steps=1", "method=supervised"), run, squares_root, resume=resume)
    assert (run / "finished.json").exists()


# Checkpoints that do not fit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "cut off or no checkpoint"),
        (lambda path: path.write_bytes(b"garbage"), "cut off or no checkpoint"),
        (lambda path: torch.save({"step": 1}, path), "no checkpoint of face2exp"),
        (lambda path: rewrite(path, networks={}), "does not fit this run's config"),
        (lambda path: rewrite(path, networks=[]), "does not fit this run's config"),
        (lambda path: rewrite(path, networks={"base": {}, "adaptation": {}}), "does not fit"),
        (lambda path: rewrite(path, phase=7), "does not fit this run's config"),
        (lambda path: rewrite(path, state={}), "does not fit this run's config"),
        (lambda path: rewrite_optimisers(path, {"base": {}}), "does not fit this run's config"),
    ],
)
def test_broken_last_checkpoint_is_named_and_kept(
    tiny: Tiny,
    squares_root: Path,
    broken_off: Path,
    contents: Contents,
    damage: Callable[[Path], Any],
    message: str,
) -> None:
    (newest,) = checkpoints(broken_off)
    damage(newest)
    before = contents(broken_off)
    refused(tiny(), broken_off, squares_root, rf"{newest.name}: .*{message}", resume=True)
    assert contents(broken_off) == before


def rewrite(path: Path, **changes: Any) -> None:
    torch.save({**torch.load(path, weights_only=True), **changes}, path)


def rewrite_optimisers(path: Path, optimisers: dict[str, Any]) -> None:
    state = torch.load(path, weights_only=True)["state"]
    rewrite(path, state={**state, "optimisers": optimisers})


def test_the_checkpoint_before_a_damaged_one_serves(
    tiny: Tiny,
    squares_root: Path,
    finished_runs: dict[str, Path],
    kill_at: Callable[[int], None],
    tmp_path: Path,
) -> None:
    config, run = tiny("training.keep_checkpoints=2"), tmp_path / "run"
    kill_at(7)
    with pytest.raises(Killed):
        train(config, run, squares_root)
    older, newest = checkpoints(run)
    assert [older.name, newest.name] == ["step-00000004.pt", "step-00000006.pt"]
    newest.write_bytes(newest.read_bytes()[:5000])
    message = "delete it, and --resume goes on from step-00000004"
    refused(config, run, squares_root, message, resume=True)
    newest.unlink()
    train(config, run, squares_root, resume=True)
    for name in ("metrics.jsonl", "finished.json"):
        assert (run / name).read_bytes() == (finished_runs["meta"] / name).read_bytes()
    assert [path.name for path in checkpoints(run)] == ["step-00000008.pt", "step-00000010.pt"]


# The log


def test_metrics_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"st')
    log = MetricsLog(path, keep_before=2)
    log.append({"step": 2, "new": True})
    log.close()
    assert read_jsonl(path) == [{"step": 0}, {"step": 1}, {"step": 2, "new": True}]


def test_metrics_log_survives_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"other": 1}\n{"step": 1}\n')
    MetricsLog(path, keep_before=2).close()
    assert read_jsonl(path) == [{"step": 0}, {"step": 1}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", keep_before=0)
    full = open("/dev/full", "a")  # noqa: SIM115
    log.close()
    log._file = full
    log.append({"step": 0})
    with pytest.raises(Face2ExpError, match=r"metrics\.jsonl: cannot write \(No space left"):
        log.flush()
    with pytest.raises(OSError, match="No space left"):
        full.close()
