"""Accuracies of networks that are known, and runs whose test part is read once."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.augmentation.apply import MEAN, STD
from face2exp_lib.comparison.summary import compare_runs
from face2exp_lib.config import load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.data.sets.images import PixelImages
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation import inference
from face2exp_lib.evaluation.inference import evaluate_network, predict_logits
from face2exp_lib.evaluation.metrics import count_confusions, evaluate_predictions
from face2exp_lib.evaluation.predictions import read_predictions
from face2exp_lib.networks import build_network, choose_device
from face2exp_lib.runs import evaluate as evaluation
from face2exp_lib.runs.analyse import analyse_run
from face2exp_lib.runs.card import model_card
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runs.mismatch import measure_mismatch
from face2exp_lib.runs.predict import class_probabilities
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.stored_weights import load_checkpoint
from tests.run_data import run_data

# The keys that the evaluation file is promised to have.
KEYS = {
    "overall_accuracy",
    "mean_class_accuracy",
    "std_class_accuracy",
    "per_class_accuracy",
    "confusion_matrix",
    "class_names",
}


class ByColour(nn.Module):
    """Reads the class off the colour of a square, but takes `fooled` for neutral."""

    def __init__(self, fooled: int) -> None:
        super().__init__()
        self.fooled = fooled
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        shown = x * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
        bits = (shown.mean((2, 3)) > 0.47).long()
        code = bits @ torch.tensor([1, 2, 4])
        code = torch.where(code == self.fooled, 0, code)
        return nn.functional.one_hot(code, 7).float()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_of_a_known_network_by_hand(squares_root: Path, workers: int) -> None:
    """Train has 6 of each class, but 11 happy and 7 sad; all are right but the 7 sad."""
    faces = read_class_folders(squares_root / "squares", "train", "names")
    decoded = DecodedFaces(faces, 40, in_memory=False)
    result = evaluate_network(
        ByColour(fooled=3), decoded, view_size=32, num_classes=7, workers=workers
    )
    assert result["overall_accuracy"] == pytest.approx(100 * 41 / 48)
    assert result["mean_class_accuracy"] == pytest.approx(600 / 7)
    # six classes are 100/7 above the mean, one is 600/7 below it
    assert result["std_class_accuracy"] == pytest.approx(100 / 7 * 6**0.5)
    assert result["per_class_accuracy"] == dict(
        zip(class_names(7), [100, 100, 100, 0, 100, 100, 100], strict=True)
    )
    assert result["confusion_matrix"][3] == [7, 0, 0, 0, 0, 0, 0]
    assert result["class_names"] == list(class_names(7))


def test_evaluation_in_several_batches_counts_every_face_once(
    squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "EVALUATION_BATCH", 10)
    faces = read_class_folders(squares_root / "squares", "train", "names")
    result = evaluate_network(
        ByColour(fooled=-1),
        DecodedFaces(faces, 40, in_memory=True),
        view_size=32,
        num_classes=7,
        workers=0,
    )
    assert sum(map(sum, result["confusion_matrix"])) == 48
    assert result["overall_accuracy"] == 100


def test_a_class_without_images_is_in_no_mean(squares_root: Path) -> None:
    """Six classes are left, of which one is wrong."""
    faces = read_class_folders(squares_root / "squares", "test", "names")
    part = faces.subset((faces.known_labels() != 2).nonzero()[0])
    result = evaluate_network(
        ByColour(fooled=3),
        DecodedFaces(part, 40, in_memory=True),
        view_size=32,
        num_classes=7,
        workers=0,
    )
    assert "surprise" not in result["per_class_accuracy"]
    assert result["mean_class_accuracy"] == pytest.approx(500 / 6)
    assert result["std_class_accuracy"] == pytest.approx(100 / 6 * 5**0.5)
    assert len(result["class_names"]) == len(result["confusion_matrix"]) == 7


def test_prediction_uses_the_running_statistics_and_leaves_the_mode() -> None:
    """So an image's logits do not depend on the batch it comes in."""
    network = build_network("small", 7, pretrained=False, seed=0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4, 3, 40, 40), generator=generator, dtype=torch.uint8)
    together = predict_logits(network, images, 32)
    alone = torch.cat([predict_logits(network, image[None], 32) for image in images])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)
    assert network.training
    assert network.get_buffer("stem.0.1.num_batches_tracked") == 0
    assert not together.requires_grad
    predict_logits(network.eval(), images, 32)
    assert not network.training


def test_logits_that_are_not_finite_are_refused() -> None:
    network = build_network("small", 7, pretrained=False, seed=0)
    with torch.no_grad():
        network.get_parameter("fc.bias")[3] = float("nan")
    with pytest.raises(Face2ExpError, match="outputs are not finite, its weights have diverged"):
        predict_logits(network, torch.zeros(1, 3, 32, 32, dtype=torch.uint8), 32)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    for name in ("cuda", "mps"):
        with pytest.raises(Face2ExpError, match=f"device: no {name} on this machine: set device"):
            choose_device(name)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"


# Runs


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))


@pytest.mark.parametrize(("split", "per_class"), [("val", 2), ("test", 3)])
def test_evaluation_file(run: Path, squares_root: Path, split: Any, per_class: int) -> None:
    result, fresh = evaluate_run(run, split, squares_root)
    assert fresh
    path = run / f"evaluation-{split}.json"
    assert json.loads(path.read_text()) == result
    assert result.keys() >= KEYS
    assert result["split"] == split
    assert (result["method"], result["seed"]) == ("meta", 0)
    assert result["num_images"] == 7 * per_class
    assert [sum(row) for row in result["confusion_matrix"]] == [per_class] * 7
    assert result["label_budget"] == {"train": 21, "validation": 14, "total": 35}
    assert 0 <= result["mean_class_accuracy"] <= 100


def test_evaluation_is_that_of_a_from_the_best_checkpoint(run: Path, squares_root: Path) -> None:
    best = load_checkpoint(run / "checkpoints" / "best.pt", {"step", "network"})
    adaptation = build_network("small", 7, pretrained=False, seed=0)
    adaptation.load_state_dict(best["network"])
    data = run_data(load_config(run / "config.yaml"), squares_root)
    expected = evaluate_network(
        adaptation,
        DecodedFaces(data.validation, 40, in_memory=True),
        view_size=32,
        num_classes=7,
        workers=0,
    )
    result, _ = evaluate_run(run, "val", squares_root)
    assert {key: result[key] for key in KEYS} == expected
    assert result["checkpoint_step"] == best["step"]
    # And it is the score by which the checkpoint was chosen.
    assert result["mean_class_accuracy"] == result["best_validation_mean_class_accuracy"]


def test_test_part_is_read_once(
    run: Path, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = evaluate_run(run, "test", squares_root)
    written = (run / "evaluation-test.json").read_bytes()

    def touched(*_: Any) -> None:
        raise AssertionError("the test part was read again")

    monkeypatch.setattr(evaluation, "read_test", touched)
    monkeypatch.setattr(evaluation, "load_trained", touched)
    again, fresh = evaluate_run(run, "test", None)
    assert not fresh
    assert again == first
    assert (run / "evaluation-test.json").read_bytes() == written


def test_other_options_do_not_read_the_test_part_again(run: Path, squares_root: Path) -> None:
    evaluate_run(run, "test", squares_root)
    before = (run / "evaluation-test.json").read_bytes()
    with pytest.raises(Face2ExpError, match="its test part was read without flip averaging, and"):
        evaluate_run(run, "test", squares_root, flip=True)
    assert (run / "evaluation-test.json").read_bytes() == before
    assert len((run / "test-readings.jsonl").read_text().splitlines()) == 1


def test_readings_of_the_test_part_are_counted(run: Path, squares_root: Path) -> None:
    """Deleting the evaluation does not hide that there was one."""
    first, _ = evaluate_run(run, "test", squares_root)
    assert first["test_readings"] == 1
    (run / "evaluation-test.json").unlink()
    second, fresh = evaluate_run(run, "test", squares_root, flip=True)
    assert fresh
    assert second["test_readings"] == 2
    lines = (run / "test-readings.jsonl").read_text().splitlines()
    readings = [json.loads(line) for line in lines]
    assert [reading["flip"] for reading in readings] == [False, True]
    assert [reading["checkpoint_step"] for reading in readings] == [first["checkpoint_step"]] * 2
    assert readings[0]["evaluated_at"] == first["evaluated_at"]


def test_reading_that_breaks_off_counts(
    run: Path, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "predict_faces", stopped)
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(run, "test", squares_root)
    assert not (run / "evaluation-test.json").exists()
    result, _ = evaluate_run(run, "test", squares_root)
    assert result["test_readings"] == 2


def test_validation_needs_no_unlabelled_faces(
    run: Path, squares_root: Path, tmp_path: Path
) -> None:
    shutil.copytree(squares_root / "squares", tmp_path / "root" / "squares")
    result, _ = evaluate_run(run, "val", tmp_path / "root")  # no `people` there
    assert result["num_images"] == 14


def test_validation_may_be_read_with_other_options(run: Path, squares_root: Path) -> None:
    plain, _ = evaluate_run(run, "val", squares_root)
    flipped, fresh = evaluate_run(run, "val", squares_root, flip=True)
    assert fresh
    assert (plain["flip"], flipped["flip"]) == (False, True)
    assert evaluate_run(run, "val", squares_root, flip=True) == (flipped, False)
    assert not (run / "test-readings.jsonl").exists()


def test_predictions_are_kept_beside_the_evaluation(run: Path, squares_root: Path) -> None:
    result, _ = evaluate_run(run, "test", squares_root)
    kept = read_predictions(run / "predictions-test.parquet")
    part = run_data(load_config(run / "config.yaml"), squares_root).test
    assert kept.images == part.ids
    assert kept.labels.tolist() == part.known_labels().tolist()
    confusion = count_confusions(kept.labels, kept.predicted, 7)
    assert confusion.tolist() == result["confusion_matrix"]
    assert evaluate_predictions(kept).items() <= result.items()


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null"])
def test_broken_evaluation_file_is_named(run: Path, squares_root: Path, content: str) -> None:
    (run / "evaluation-test.json").write_text(content)
    with pytest.raises(Face2ExpError, match=r"evaluation-test\.json: .*: delete it and redo"):
        evaluate_run(run, "test", squares_root)
    assert (run / "evaluation-test.json").read_text() == content


def test_run_that_has_not_finished(run: Path, squares_root: Path) -> None:
    (run / "finished.json").unlink()
    with pytest.raises(Face2ExpError, match=r"run: the run has not finished: go on with `face2exp"):
        evaluate_run(run, "test", squares_root)
    assert not (run / "evaluation-test.json").exists()


@pytest.mark.parametrize("content", ["{", "[]"])
def test_broken_finished_file_is_named(run: Path, squares_root: Path, content: str) -> None:
    (run / "finished.json").write_text(content)
    with pytest.raises(Face2ExpError, match=r"finished\.json: .*: delete it and redo"):
        evaluate_run(run, "test", squares_root)


def test_folder_that_is_no_run(tmp_path: Path, squares_root: Path) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(Face2ExpError, match="no run directory: `face2exp train` makes one"):
            evaluate_run(path, "test", squares_root)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({}, "do not fit"),
        ([], "do not fit"),
        (None, "do not fit"),
        ({"fc.weight": torch.zeros(3, 3)}, "do not fit"),
    ],
)
def test_weights_of_another_run(run: Path, network: Any, message: str) -> None:
    torch.save({"step": 1, "network": network}, run / "checkpoints" / "best.pt")
    with pytest.raises(Face2ExpError, match=rf"best\.pt: its weights {message} \S+config\.yaml"):
        load_trained(run)


def test_no_image_no_probability(run: Path) -> None:
    config, network, _ = load_trained(run)
    assert class_probabilities(config, network, PixelImages(np.empty((0, 8, 8)), [])).shape == (
        0,
        7,
    )


def test_baseline_predicts_with_its_only_network(
    finished_runs: dict[str, Path], squares_root: Path
) -> None:
    config, network, state = load_trained(finished_runs["supervised"])
    assert config.method == "supervised"
    assert torch.equal(network.get_parameter("fc.weight"), state["network"]["fc.weight"])


def test_paths_may_be_text(run: Path, squares_root: Path) -> None:
    """In every function that takes a run."""
    result, _ = evaluate_run(str(run), "val", str(squares_root))
    assert evaluate_run(run, "val", None) == (result, False)
    assert load_trained(str(run))[0] == load_config(run / "config.yaml")
    assert model_card(str(run)).startswith("# Model card: tiny")
    assert compare_runs({"meta": [str(run)]}, "meta", "val")["arms"]["meta"]["seeds"] == [0]
    assert analyse_run(str(run), str(squares_root))["method"] == "meta"
    found, _ = measure_mismatch(str(run), str(squares_root), before=str(run), most_faces=20)
    assert found["before"]["network"] == "run, best checkpoint"
