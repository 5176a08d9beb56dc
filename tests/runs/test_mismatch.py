"""FER against FR faces of runs: before and after, on the same faces."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from face2exp_lib.config import load_config
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.two_sample_tests import two_samples
from face2exp_lib.figures.features import moving_plane, plane, planes_figure
from face2exp_lib.networks import build_network
from face2exp_lib.runs import mismatch
from face2exp_lib.runs.mismatch import measure_mismatch
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError

TESTS = ("classifier_two_sample_test", "maximum_mean_discrepancy")


def test_before_and_after(finished_runs: dict[str, Path], squares_root: Path) -> None:
    result, seen = measure_mismatch(finished_runs["meta"], squares_root)
    json.dumps(result, allow_nan=False)
    assert result["before"]["network"] == "initial weights"
    assert result["after"]["network"] == "meta, best checkpoint"
    assert (result["fer"]["num_images"], result["fr"]["num_images"]) == (14, 12)
    assert (result["fer"]["persons"], result["fr"]["persons"]) == (None, 6)
    for name in TESTS:
        assert result["before"][name] != result["after"][name]
        assert 0 < result["after"][name]["p"] <= 1
    for one in seen:
        assert one.samples.features.shape == (26, 128)
        assert one.samples.second.tolist() == [False] * 14 + [True] * 12
        assert len(one.classes) == 26
        assert {name: one.classes[:14].count(name) for name in class_names(7)} == dict.fromkeys(
            class_names(7), 2
        )
    figure = planes_figure(seen)
    assert sum(len(trace.x) for trace in figure.data) == 2 * 26
    assert {trace.name.split(":")[0] for trace in figure.data} == {"FER", "FR"}


def test_before_can_be_another_run(finished_runs: dict[str, Path], squares_root: Path) -> None:
    meta, other = finished_runs["meta"], finished_runs["supervised"]
    result, _ = measure_mismatch(meta, squares_root, before=other)
    assert result["before"]["network"] == "supervised, best checkpoint"
    own, _ = measure_mismatch(meta, squares_root, before=meta)
    assert {name: own["before"][name] for name in TESTS} == {
        name: own["after"][name] for name in TESTS
    }


def test_faces_are_drawn_by_seed(finished_runs: dict[str, Path], squares_root: Path) -> None:
    run = finished_runs["meta"]
    first, _ = measure_mismatch(run, squares_root, fer="long_tailed", most_faces=10)
    assert (first["fer"]["num_images"], first["fr"]["num_images"]) == (10, 10)
    assert measure_mismatch(run, squares_root, fer="long_tailed", most_faces=10)[0] == first
    other, _ = measure_mismatch(run, squares_root, fer="long_tailed", most_faces=10, seed=1)
    assert other["after"] != first["after"]


@pytest.mark.parametrize("method", ["meta", "supervised", "cake"])
def test_initial_weights_are_those_that_training_begins_with(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path, method: str
) -> None:
    """A run whose rates are 0 ends with the weights that it began with."""
    from face2exp_lib.training.loop import train

    rates = ("eta_a", "eta_b", "eta_finetune", "momentum_b")
    changes = [f"method={method}", *(f"training.{key}=0" for key in rates)]
    config = load_config(finished_runs["meta"] / "config.yaml", changes)
    train(config, tmp_path / "run", squares_root)
    _, untrained, _ = load_trained(tmp_path / "run")
    for name, weights in mismatch._initial(config).named_parameters():
        assert torch.equal(weights, untrained.get_parameter(name))


def test_other_classes_are_refused(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(finished_runs["meta"], tmp_path / "other"))
    config = (other / "config.yaml").read_text().replace("num_classes: 7", "num_classes: 8")
    (other / "config.yaml").write_text(config)
    network = build_network("small", 8, pretrained=False, seed=0)
    torch.save({"step": 1, "network": network.state_dict()}, other / "checkpoints" / "best.pt")
    with pytest.raises(Face2ExpError, match=r"has 8 classes and .*meta 7: compare runs"):
        measure_mismatch(finished_runs["meta"], squares_root, before=other)


def test_network_names_are_text_in_the_figure() -> None:
    features = np.random.default_rng(0).normal(size=(6, 3))
    seen = mismatch.Seen("<b>run", two_samples(features[:3], features[3:]), ["happy"] * 6)
    assert planes_figure([seen]).layout.annotations[0].text == "&lt;b&gt;run"


def test_a_plane_has_every_face_once_and_is_scaled_to_1() -> None:
    features = np.random.default_rng(0).normal(size=(8, 3))
    classes = ["happy"] * 3 + ["sad"] * 2 + ["happy", "fear", "fear"]
    seen = mismatch.Seen("run", two_samples(features[:5], features[5:]), classes)
    points = plane(seen)
    counts = {kind: {c: len(xy) for c, xy in of.items()} for kind, of in points.items()}
    assert counts == {"FER": {"happy": 3, "sad": 2}, "FR": {"happy": 1, "fear": 2}}
    every = np.array([xy for of in points.values() for c in of.values() for xy in c])
    assert np.abs(every).max() == 1
    assert plane(seen) == points


def test_planes_that_move_keep_their_traces_where_a_class_is_missing() -> None:
    figure = moving_plane(
        {
            "before": {"FER": {"happy": [[0.1, 0.2]]}, "FR": {"sad": [[-1.0, 0.0], [0.5, 0.5]]}},
            "after": {"FER": {"happy": [[0.3, 0.2]]}, "FR": {"happy": [[0.0, 1.0]]}},
        }
    )
    names = ["FR: happy", "FER: happy", "FR: sad", "FER: sad"]
    assert [[trace.name for trace in frame.data] for frame in figure.frames] == [names] * 2
    assert [len(trace.x) for trace in figure.frames[0].data] == [0, 1, 2, 0]
    assert [len(trace.x) for trace in figure.frames[1].data] == [1, 1, 0, 0]
    assert list(figure.frames[1].data[0].y) == [1.0]
