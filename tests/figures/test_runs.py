"""Figures of one run, on records made up."""

from typing import Any

import numpy as np
import pytest

from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.figures.runs import (
    class_curves,
    confusions_by_step,
    feedback_history,
    run_replay,
    validation_curve,
)


def meta_records(num_steps: int, eval_every: int) -> list[dict[str, object]]:
    """Pseudo labels: one neutral and three happy each step. A's accuracy is the step's number."""
    records: list[dict[str, object]] = [{"step": 0, "phase": "warm_start", "loss_s": 1.0}]
    for step in range(1, num_steps + 1):
        record: dict[str, object] = {
            "step": step,
            "phase": "meta",
            "feedback": 0.001 * step,
            "pseudo_labels": [1, 3],
        }
        if step % eval_every == 0:
            per_class = dict.fromkeys(class_names(7), float(step))
            half = dict.fromkeys(class_names(7), step / 2)
            record["validation"] = {
                "adaptation": {"per_class_accuracy": per_class},
                "base": {"per_class_accuracy": half},
            }
        records.append(record)
    records.append({"step": num_steps + 1, "validation": {}})  # of the fine-tune
    return records


def test_replay_has_a_slider_step_for_each_frame() -> None:
    figure = run_replay(meta_records(20, 5))
    names = ["6", "11", "16", "21"]  # steps done when it was validated
    assert [frame.name for frame in figure.frames] == names
    (slider,) = figure.layout.sliders
    assert [step.label for step in slider.steps] == names
    assert [list(step.args[0]) for step in slider.steps] == [[name] for name in names]
    assert all(step.method == "animate" for step in slider.steps)


def test_replay_shows_accuracies_and_shares_of_pseudo_labels() -> None:
    figure = run_replay(meta_records(20, 5))
    for traces, accuracy in (
        (figure.data, 5),
        *((frame.data, 5 * (i + 1)) for i, frame in enumerate(figure.frames)),
    ):
        a, b, shares = traces
        assert list(a.x) == list(b.x) == list(shares.x) == list(class_names(7))
        assert list(a.y) == [accuracy] * 7
        assert list(b.y) == [accuracy / 2] * 7
        assert list(shares.y) == [25, 75, 0, 0, 0, 0, 0]


def test_replay_tells_f_since_the_validation_before() -> None:
    """Steps 6 to 10 have f = 0.006 to 0.010; with a minus, all of them are negative."""
    records = meta_records(10, 5)
    figure = run_replay(records)
    assert figure.frames[1].layout.title.text == ("f since then: mean +0.008, negative in 0 %")
    for record in records[1:-1]:
        record["feedback"] = -record["feedback"]  # type: ignore[operator]
    title = run_replay(records).frames[1].layout.title.text
    assert title == "f since then: mean -0.008, negative in 100 %"


@pytest.mark.parametrize(("validations", "frames"), [(30, 12), (13, 12), (12, 12), (3, 3), (1, 1)])
def test_replay_thins_out_many_validations_but_keeps_the_ends(
    validations: int, frames: int
) -> None:
    figure = run_replay(meta_records(validations, 1))
    assert len(figure.frames) == frames
    assert figure.frames[0].name == "2"
    assert figure.frames[-1].name == str(validations + 1)
    assert len(figure.layout.sliders[0].steps) == frames


def test_feedback_history_with_its_running_mean() -> None:
    figure = feedback_history(meta_records(30, 100))
    points, mean = figure.data
    assert list(points.x) == list(range(1, 31))
    assert points.y[0] == 0.001
    assert points.y[29] == 0.03
    assert mean.name == "mean of 25 steps"
    assert list(mean.x) == list(range(25, 31))
    assert mean.y[0] == pytest.approx(0.013)  # the mean of 0.001 to 0.025
    assert mean.y[-1] == pytest.approx(0.018)


def test_feedback_history_of_a_short_run() -> None:
    points, mean = feedback_history(meta_records(3, 100)).data
    assert len(points.x) == 3
    assert list(mean.x) == [3]
    assert mean.y[0] == pytest.approx(0.002)


def test_records_of_the_baseline_have_nothing_to_show() -> None:
    records = [{"step": 0, "loss_s": 1.0, "validation": {"base": {"per_class_accuracy": {}}}}]
    with pytest.raises(ValueError, match="no validation with feedback in these records"):
        run_replay(records)
    with pytest.raises(ValueError, match="no feedback in these records: not a meta run"):
        feedback_history(records)


def validated(step: int, happy: float, sad: float) -> dict[str, Any]:
    per_class = {"happy": happy, "sad": sad}
    return {"step": step, "validation": {"base": {"per_class_accuracy": per_class}}}


def test_class_curves_are_means_over_seeds() -> None:
    seeds = [
        [validated(9, 50, 10), {"step": 10}, validated(19, 90, 30)],
        [validated(9, 70, 30), validated(19, 100, 50)],
    ]
    figure = class_curves({"meta": [validation_curve(records, "base") for records in seeds]})
    happy, sad, mean = figure.data
    assert (happy.name, list(happy.x), list(happy.y)) == ("happy", [50, 100], [60, 95])
    assert list(sad.y) == [20, 40]
    assert list(mean.y) == [40, 67.5]
    assert figure.layout.title.text == "at the end: mean 67.5, std over classes 27.5"


def test_class_curves_refuse_seeds_that_do_not_match() -> None:
    seeds = [[{"step": 9, "per_class_accuracy": {}}], [{"step": 8, "per_class_accuracy": {}}]]
    with pytest.raises(ValueError, match="seeds of meta were validated at different steps"):
        class_curves({"meta": seeds})


def test_confusions_by_step_are_shares_of_the_truth() -> None:
    early, late = np.array([[1, 3], [0, 0]]), np.array([[4, 0], [1, 1]])
    figure = confusions_by_step({"a": [(5, early), (10, late)], "b": [(1, late), (2, early)]})
    assert [frame.name for frame in figure.frames] == ["50 %", "100 %"]
    first = figure.frames[0].data
    assert np.array_equal(first[0].z, [[25, 75], [0, 0]])
    assert np.array_equal(first[1].z, [[100, 0], [50, 50]])
    assert figure.frames[0].layout.title.text == "class mean: a 12 %, b 75 %"
    with pytest.raises(ValueError, match="different numbers of states"):
        confusions_by_step({"a": [(5, early)], "b": [(1, late), (2, early)]})
