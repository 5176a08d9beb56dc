"""Telemetry: what is written of pseudo labels, that it survives, and that training ignores it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from face2exp_lib.config import RunConfig
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training import loop as training
from face2exp_lib.training import telemetry
from face2exp_lib.training.loop import train
from face2exp_lib.training.telemetry import parts
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]
F_I = "telemetry.image_feedback_every=2"


def table(run: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in parts(run))


@pytest.fixture(scope="module")
def measured(tiny: Tiny, squares_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("telemetry") / "run"
    train(tiny(F_I, "meta.w_u=0.5"), run, squares_root)
    return run


def test_a_row_for_each_unlabelled_image_of_each_step(
    measured: Path, tiny: Tiny, squares_root: Path
) -> None:
    rows = table(measured).to_pydict()
    assert rows["step"] == [step for step in (3, 4, 5, 6) for _ in range(5)]
    assert set(rows["phase"]) == {"meta"}
    data = run_data(tiny(), squares_root)
    assert set(rows["image"]) <= set(data.unlabelled.ids)  # type: ignore[union-attr]
    assert all(0 <= confidence <= 1 for confidence in rows["confidence"])
    metadata = pq.read_schema(parts(measured)[0]).metadata
    assert json.loads(metadata[b"class_names"])[0] == "neutral"


def test_table_and_metrics_agree(measured: Path) -> None:
    rows = table(measured).to_pydict()
    for record in read_jsonl(measured / "metrics.jsonl")[3:7]:
        mine = [row for row, step in enumerate(rows["step"]) if step == record["step"]]
        labels = [rows["pseudo_label"][row] for row in mine]
        assert np.bincount(labels, minlength=7).tolist() == record["pseudo_labels"]
        confidence = np.mean([rows["confidence"][row] for row in mine])
        assert confidence == pytest.approx(record["confidence"])
        agreed = [rows["learner"][row] == rows["pseudo_label"][row] for row in mine]
        assert np.mean(agreed) == pytest.approx(record["agreement"])
        assert rows["feedback"][mine[0]] == pytest.approx(record["feedback"])


def test_the_mean_of_the_images_feedback_is_f(measured: Path) -> None:
    """In steps 0 and 2 of Algorithm 1, with half of L_u, momentum and batch norm."""
    rows = table(measured).to_pydict()
    for step, wanted in ((3, True), (4, False), (5, True), (6, False)):
        mine = [row for row, other in enumerate(rows["step"]) if other == step]
        found = [rows["image_feedback"][row] for row in mine]
        if not wanted:
            assert found == [None] * 5
            continue
        assert np.mean(found) == pytest.approx(rows["feedback"][mine[0]], rel=1e-4, abs=1e-8)
        assert np.std(found) > 0


def test_f_i_that_b_learns_from_is_told_in_every_step(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    """Telemetry did not ask for it. Their mean is f of A's weighted step."""
    changes = ("meta.feedback_unit=image", "meta.feedback=trapezoid", "meta.balance=pseudo")
    train(tiny(*changes), tmp_path / "run", squares_root)
    rows = table(tmp_path / "run").to_pydict()
    f_i = np.array(rows["image_feedback"]).reshape(4, 5)
    f = np.array(rows["feedback"]).reshape(4, 5)
    assert f_i.mean(1) == pytest.approx(f[:, 0], rel=1e-4, abs=1e-8)
    assert f_i.std(1).all()


def test_telemetry_changes_nothing_that_is_learnt(
    measured: Path, tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "off"
    off = ("telemetry.pseudo_labels=false", "telemetry.distance_images=0", "meta.w_u=0.5")
    train(tiny(*off), run, squares_root)
    assert not (run / telemetry.FOLDER).exists()
    weights = [
        torch.load(folder / "checkpoints" / "step-00000010.pt", weights_only=True)["networks"]
        for folder in (measured, run)
    ]
    for name, network in weights[0].items():
        for key, value in network.items():
            assert torch.equal(value, weights[1][name][key]), (name, key)
    for one, other in zip(
        read_jsonl(measured / "metrics.jsonl"), read_jsonl(run / "metrics.jsonl"), strict=True
    ):
        one.pop("distance", None)
        other.pop("distance", None)
        assert one == other


def test_a_resumed_run_has_each_row_once(
    measured: Path, tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Killed after a part was written and before the checkpoint that belongs to it."""
    run = tmp_path / "run"
    save_state = training.save_state

    def killed(run_dir: Path, place: Any, *others: Any, **options: Any) -> None:
        if place.step == 6:
            raise KeyboardInterrupt
        save_state(run_dir, place, *others, **options)

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_state", killed)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(F_I, "meta.w_u=0.5"), run, squares_root)
    assert parts(run)[-1].name == "before-step-00000006.parquet"
    train(tiny(F_I, "meta.w_u=0.5"), run, squares_root, resume=True)
    assert table(run).equals(table(measured))


def test_a_run_begun_anew_drops_the_rows_of_the_one_before(
    measured: Path, tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.yaml", "environment.json"):
        shutil.copyfile(measured / name, run / name)
    shutil.copytree(measured / telemetry.FOLDER, run / telemetry.FOLDER)
    train(tiny("training.checkpoint_every_steps=10"), run, squares_root)
    assert [path.name for path in parts(run)] == ["before-step-00000010.parquet"]


@pytest.mark.parametrize(
    ("method", "learner"),
    [
        ("pseudo_label", False),
        ("uda", True),
        ("fixmatch", True),
        ("mean_teacher", True),
        ("remixmatch", True),
        ("freematch", True),
        ("ada_cm", True),
        ("noisy_student", True),
        ("meta_pseudo_labels", True),
    ],
)
def test_rivals_tell_their_pseudo_labels_too(
    method: str, learner: bool, tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(tiny(f"method={method}", "noisy_student.threshold=0"), run, squares_root)
    rows = table(run).to_pydict()
    assert len(rows["step"]) == 4 * 5
    assert None not in rows["confidence"]
    assert (None not in rows["learner"]) == learner
    assert rows["image_feedback"] == [None] * 20


def test_distance_is_measured_at_every_validation(measured: Path) -> None:
    records = read_jsonl(measured / "metrics.jsonl")
    assert all(("distance" in record) == ("validation" in record) for record in records)
    for record in records:
        for value in record.get("distance", {"": 0.0}).values():
            assert value is None or -1 < value < 1
    assert records[-1]["distance"].keys() == {"base", "adaptation"}


def test_image_feedback_needs_a_method_that_has_it(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(Face2ExpError, match=r"image_feedback_every: method uda has no f_i"):
        tiny(F_I, "method=uda")


def test_tensorboard_has_the_numbers_once(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="TensorBoard is an extra and not installed",
    )
    run, config = tmp_path / "run", tiny("telemetry.tensorboard=true")
    train(config, run, squares_root)
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    f = {event.step: event.value for event in events.Scalars("feedback")}
    records = read_jsonl(run / "metrics.jsonl")
    expected = {r["step"]: r["feedback"] for r in records if "feedback" in r}
    assert f == pytest.approx(expected)
    assert "validation/adaptation/mean_class_accuracy" in events.Tags()["scalars"]


def test_tensorboard_that_is_missing_is_named(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(Face2ExpError, match="pip install 'face2exp-lib"):
        train(tiny("telemetry.tensorboard=true"), tmp_path / "run", squares_root)


def test_ids_that_are_no_text_are_written(tmp_path: Path) -> None:
    assert telemetry.as_text(os.fsdecode(b"a\xff.png")) == "a\\udcff.png"
