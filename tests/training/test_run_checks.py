"""What is looked at before a run's first step: that images can be read, what is told."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from face2exp_lib.config import RunConfig
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.methods.passes import Compute
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train
from face2exp_lib.training.run_checks import (
    about_patches,
    about_threads,
    faces_to_be_read,
    must_be_readable,
)
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


@pytest.mark.parametrize(
    ("changes", "told"),
    [([], True), (["aug={patches: none}"], False), (["method=supervised"], False)],
)
def test_patches_at_an_average_faces_points_are_told(
    tiny: Tiny,
    squares_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: list[str],
    told: bool,
) -> None:
    train(tiny(*changes), tmp_path / "run", squares_root)
    noted = "without landmarks" in capsys.readouterr().err
    assert noted == told


def test_found_landmarks_need_no_note(tiny: Tiny, squares_root: Path) -> None:
    data = run_data(tiny(), squares_root)
    assert isinstance(data.unlabelled, FaceSet)
    found = np.zeros((len(data.unlabelled), 5, 2), np.float32)
    config = tiny()
    assert about_patches(config, data)
    with_points = replace(data, unlabelled=replace(data.unlabelled, landmarks=found))
    assert about_patches(config, with_points) is None


# Images that cannot be read


def picture(kind: str, seed: int) -> bytes:
    """A face-sized picture that compresses badly, as photos do."""
    pixels = np.random.default_rng(seed).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    options = {"progressive": True} if kind == "PROGRESSIVE" else {}
    Image.fromarray(pixels).save(buffer, kind.replace("PROGRESSIVE", "JPEG"), **options)
    return buffer.getvalue()


def folder_set(root: Path, files: dict[str, bytes]) -> FaceSet:
    from face2exp_lib.data.sets.images import FileImages

    for name, content in files.items():
        (root / name).write_bytes(content)
    return FaceSet("made", FileImages(root, sorted(files)), np.arange(len(files)))


@pytest.mark.parametrize("kind", ["JPEG", "PROGRESSIVE", "PNG", "WEBP", "BMP"])
def test_a_file_that_is_cut_off_is_found_wherever(kind: str, tmp_path: Path) -> None:
    """To the last tenth: less than a hundredth may be no more than a file's end mark."""
    whole = picture(kind, 0)
    shares = (0.1, 0.5, 0.9, 0.98)
    cut = {f"{share}.{kind.lower()}": whole[: int(share * len(whole))] for share in shares}
    faces = folder_set(tmp_path, {"whole.x": whole, **cut})
    with pytest.raises(Face2ExpError) as raised:
        must_be_readable([faces], 0)
    assert str(raised.value).startswith("4 images cannot be read: ")
    for name in cut:
        assert f"{name} (" in str(raised.value)
    assert "whole" not in str(raised.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_all_bad_images_are_counted_and_a_few_named(workers: int, tmp_path: Path) -> None:
    good = picture("PNG", 1)
    files = {f"{number:03}.png": good for number in range(150)}
    files |= {f"{number:03}.png": b"none" for number in (3, 70, 71, 72, 140, 141, 149)}
    faces = folder_set(tmp_path, files)
    message = (
        r"^7 images cannot be read: 003.png \(.*070.png .*071.png .*072.png .*140.png .*"
        r"\) and 2 more: replace or delete them; `face2exp data inspect PATH --skip-bad FILE` "
        r"lists all such files of a training set, for data.drop$"
    )
    with pytest.raises(Face2ExpError, match=message):
        must_be_readable([faces, faces.subset(np.array([3, 4]))], workers)
    must_be_readable([faces.subset(np.arange(10, 60))], workers)


def test_what_a_run_reads_of_its_labels(tiny: Tiny, squares_root: Path) -> None:
    balanced = tiny()
    read = faces_to_be_read(balanced, run_data(balanced, squares_root))
    assert [len(faces) for faces in read] == [21, 14]
    long_tailed = tiny("training.warm_start_labels=long_tailed")
    read = faces_to_be_read(long_tailed, run_data(long_tailed, squares_root))
    assert [len(faces) for faces in read] == [32, 14]


@pytest.fixture
def bad_root(tiny: Tiny, squares_root: Path, tmp_path: Path) -> tuple[Path, list[str]]:
    """A data root where a training image is cut off, and one of validation is none."""
    root = Path(shutil.copytree(squares_root, tmp_path / "root"))
    data = run_data(tiny(), root)
    bad = [data.labelled.ids[0], data.validation.ids[-1]]
    for name in bad:
        path = root / "squares" / "train" / name
        path.write_bytes(path.read_bytes()[:300])
    return root, bad


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_images_are_named_before_training(
    tiny: Tiny, bad_root: tuple[Path, list[str]], tmp_path: Path, workers: int
) -> None:
    root, bad = bad_root
    config, run = tiny(f"data.num_workers={workers}"), tmp_path / "run"
    with pytest.raises(Face2ExpError, match=r"^2 images cannot be read") as raised:
        train(config, run, root)
    assert all(name in str(raised.value) for name in bad)
    assert not (run / "config.yaml").exists()
    with pytest.raises(Face2ExpError, match="not a readable image"):
        train(config, run, root, trust=True)
    assert (run / "config.yaml").exists()


def test_images_in_memory_are_decoded_once_and_all_bad_ones_named(
    tiny: Tiny, bad_root: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, bad = bad_root
    other = run_data(tiny(), root).labelled.ids[1]
    (root / "squares" / "train" / other).write_bytes(b"none")
    monkeypatch.setattr("face2exp_lib.training.loop.must_be_readable", None)
    with pytest.raises(Face2ExpError, match=r"^2 images cannot be read") as raised:
        train(tiny("data.in_memory=true"), tmp_path / "run", root)
    assert bad[0] in str(raised.value)
    assert other in str(raised.value)


def test_a_resumed_run_looks_again_only_where_its_data_have_changed(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from face2exp_lib.runtime.storage import read_json
    from face2exp_lib.training import loop as training

    root, run, seen = Path(shutil.copytree(squares_root, tmp_path / "root")), tmp_path / "run", []

    def look(sets: list[FaceSet], workers: int) -> None:
        seen.append([len(faces) for faces in sets])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "must_be_readable", look)
    with monkeypatch.context() as patched:
        patched.setattr(training, "let_go", die)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), run, root)
    assert seen == [[21, 14]]
    with monkeypatch.context() as patched:
        patched.setattr(training, "let_go", die)
        patched.setattr(training, "restore_state", die)
        with pytest.raises(KeyboardInterrupt):
            train(tiny(), run, root, resume=True)
    assert seen == [[21, 14]]
    (root / "people" / "person0" / "0.png").unlink()
    train(tiny(), run, root, resume=True, changed=True)
    assert seen == [[21, 14]] * 2
    assert read_json(run / "finished.json")["num_steps"] == 10


# Threads


@pytest.fixture
def two_threads() -> object:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_is_told_where_nobody_asked_for_it(tiny: Tiny) -> None:
    note = about_threads(tiny())
    assert note
    assert "one thread" in note
    assert "compute.threads" in note
    assert torch.get_num_threads() == 2
    assert about_threads(tiny("compute.threads=1")) is None
    assert about_threads(tiny("network.backbone=resnet18")) is None
    torch.set_num_threads(1)
    assert about_threads(tiny()) is None


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("backbone", "asked", "number"),
    [("small", None, 1), ("small", 3, 3), ("resnet18", None, 2), ("resnet50", 1, 1)],
)
def test_threads_of_a_run_and_of_its_evaluation(
    tiny: Tiny, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    backbone: str, asked: int | None, number: int,
) -> None:  # fmt: skip
    from face2exp_lib.data.sets.images import FileImages
    from face2exp_lib.evaluation import inference as evaluation
    from face2exp_lib.runs import predict as inference
    from face2exp_lib.runs.evaluate import evaluate_run
    from face2exp_lib.runs.trained import load_trained
    from face2exp_lib.training import loop as training

    seen, finite, logits = set(), training._finite, evaluation.predict_logits

    def watched_step(*given: object) -> object:
        seen.add(("step", torch.get_num_threads()))
        return finite(*given)  # type: ignore[arg-type]

    def watched_logits(*given: object) -> object:
        seen.add(("logits", torch.get_num_threads()))
        return logits(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "_finite", watched_step)
    monkeypatch.setattr(evaluation, "predict_logits", watched_logits)
    changes = ("method=supervised", "training.num_steps=1", "training.eta_b=0")
    config = tiny(*changes, f"network.backbone={backbone}", f"compute.threads={asked or 'null'}")
    train(config, tmp_path / "run", squares_root)
    assert torch.get_num_threads() == 2
    assert seen == {("step", number), ("logits", number)}
    seen.clear()
    evaluate_run(tmp_path / "run", "val", squares_root)
    images = FileImages(squares_root, ["people/person0/0.png"])
    config, network, _ = load_trained(tmp_path / "run")
    inference.predict(config, network, images)
    assert seen == {("logits", number)}
    assert torch.get_num_threads() == 2


def test_threads_are_given_back_after_an_error(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    config = tiny("method=supervised", "training.eta_b=1e38", "compute.threads=3")
    with pytest.raises(Face2ExpError, match=r"is (nan|inf)"):
        train(config, tmp_path / "run", squares_root)
    assert torch.get_num_threads() == before


def test_a_gpu_has_no_number_of_threads() -> None:
    from face2exp_lib.methods.passes import threads

    before = torch.get_num_threads()
    with threads(Compute(threads=before + 3), "small", torch.device("cuda")):
        assert torch.get_num_threads() == before
