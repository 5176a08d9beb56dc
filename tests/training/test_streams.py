"""A run on streamed faces: as any other run, killed or not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats import shards as shards_adapter
from face2exp_lib.data.formats.folders import read_identity_folders
from face2exp_lib.data.lists import write_table
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.splits import COPIES, LISTED
from face2exp_lib.data.stream_order import ShardedFaces
from face2exp_lib.preparation.sharding import Recipe, shard_set
from face2exp_lib.runs import mismatch
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training import loop as training
from face2exp_lib.training.loop import train
from tests.run_data import run_data
from tests.training.runs import assert_same_run

Tiny = Callable[..., RunConfig]
pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


@pytest.fixture
def root(squares_root: Path, tmp_path: Path) -> Path:
    """The data root with its people as shards, and two copies of test images among them."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "squares").symlink_to(squares_root / "squares")
    people = root / "people"
    for source in sorted((squares_root / "people").rglob("*.png")):
        target = people / source.relative_to(squares_root / "people")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    for name in ("sad", "fear"):
        copy = (squares_root / "squares" / "test" / name / "0.png").read_bytes()
        (people / "person0" / f"copy-{name}.png").write_bytes(copy)
    faces = read_identity_folders(root / "people", "", "")
    shard_set(faces, root / "shards", Recipe(images_per_shard=4))
    return root


@pytest.fixture
def streaming(tiny: Tiny) -> Tiny:
    source = "data.unlabelled={format: shards, path: shards}"
    return lambda *changes: tiny(source, "data.stream_window=2", *changes)


def test_copies_of_evaluation_images_and_listed_ones_are_left_out(
    streaming: Tiny, root: Path
) -> None:
    rows = [("shards/people", "person3/1.png", "yes")]
    write_table(root / "drop.csv", ("set", "image", "drop"), rows)
    data = run_data(streaming("data.drop=drop.csv"), root)
    assert isinstance(data.unlabelled, ShardedFaces)
    assert len(data.unlabelled) == 11
    assert data.left_out["unlabelled"] == {LISTED: 1, COPIES: 2}
    unchecked = run_data(streaming("data.check_unlabelled=false"), root)
    assert isinstance(unchecked.unlabelled, ShardedFaces)
    assert len(unchecked.unlabelled) == 14
    record = data.record()["sets"]["unlabelled"]
    assert record == {"num_images": 11, "digest": data.unlabelled.digest}
    assert unchecked.record()["sets"]["unlabelled"] != record
    write_table(root / "drop.csv", ("set", "image", "drop"), [("shards/people", "x.png", "yes")])
    with pytest.raises(Face2ExpError, match=r"shards/people lacks 1 of the images .* x\.png"):
        run_data(streaming("data.drop=drop.csv"), root)


def test_no_list_of_the_images_is_made(
    streaming: Tiny, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> FaceSet:
        raise AssertionError

    monkeypatch.setattr(shards_adapter, "read_shards", refuse)
    monkeypatch.setattr(shards_adapter.ShardImages, "__init__", refuse)
    train(streaming("training.num_steps=2"), tmp_path / "run", root)


class Killed(BaseException):
    """Stands for a kill: nothing in the library catches it."""


@pytest.mark.parametrize(("workers", "unit"), [(0, "batch"), (2, "batch"), (0, "image")])
def test_killed_and_resumed(
    streaming: Tiny,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    unit: str,
) -> None:
    """Bit for bit, over the end of an epoch: 12 images, batches of 5, 6 steps; whatever workers."""
    steps: tuple[str, ...] = (
        "training.num_steps=6",
        "training.warm_start_steps=0",
        "training.finetune_steps=0",
    )
    steps = (*steps, f"meta.feedback_unit={unit}", "meta.feedback_norm=standard")
    train(streaming(*steps), tmp_path / "whole", root)
    config = streaming(*steps, f"data.num_workers={workers}")
    finite = training._finite
    for at in (3, 5):
        with monkeypatch.context() as patched:

            def dying(*seen: Any, at: int = at) -> Any:
                if seen[-1].step == at:
                    raise Killed
                return finite(*seen)

            patched.setattr(training, "_finite", dying)
            with pytest.raises(Killed):
                train(config, tmp_path / "run", root, resume=True)
    train(config, tmp_path / "run", root, resume=True)
    if workers == 0:
        assert_same_run(tmp_path / "run", tmp_path / "whole")
    else:  # the configs differ
        logs = [(tmp_path / run / "metrics.jsonl").read_bytes() for run in ("run", "whole")]
        assert logs[0] == logs[1]


def test_a_set_that_has_changed_is_not_gone_on_with(
    streaming: Tiny, root: Path, tmp_path: Path
) -> None:
    train(streaming(), tmp_path / "run", root)
    (tmp_path / "run" / "finished.json").unlink()
    faces = read_identity_folders(root / "people", "", "")
    shard_set(faces, root / "other", Recipe(images_per_shard=4, seed=1))
    (root / "shards").rename(root / "old")
    (root / "other").rename(root / "shards")
    message = (
        r"begun with other images: unlabelled \(12 images now, 12 then; not the same\): restore"
    )
    with pytest.raises(Face2ExpError, match=message):
        train(streaming(), tmp_path / "run", root, resume=True)
    held = json.loads((tmp_path / "run" / "data.json").read_text())["sets"]["unlabelled"]
    assert held["num_images"] == 12


def test_an_unfinished_set_is_not_trained_on(streaming: Tiny, root: Path, tmp_path: Path) -> None:
    (root / "shards" / "people.json").unlink()
    with pytest.raises(Face2ExpError, match="holds no index of shards"):
        train(streaming(), tmp_path / "run", root)


def test_landmarks_of_a_stream_lie_in_its_shards(streaming: Tiny, root: Path) -> None:
    source = "data.unlabelled={format: shards, path: shards, landmarks: a.parquet}"
    with pytest.raises(Face2ExpError, match="landmarks lie in its shards: leave `landmarks` out"):
        run_data(streaming(source), root)


def test_shards_as_the_labelled_set(
    streaming: Tiny, tiny: Tiny, root: Path, tmp_path: Path
) -> None:
    """Training and evaluation take the same draws as from the folders that they were made of."""
    recipe = Recipe(images_per_shard=9, seed=None)
    config = tiny()
    for part in ("labelled", "test"):
        faces = getattr(config.data, part).read(root)
        shard_set(faces, root / f"{part}_shards", recipe)
    listed = run_data(config, root)
    data = run_data(
        tiny(
            "data.labelled={format: shards, path: labelled_shards}",
            "data.test={format: shards, path: test_shards}",
        ),
        root,
    )
    for part in ("labelled", "validation", "test"):
        assert getattr(data, part).ids == getattr(listed, part).ids
        assert getattr(data, part).digests() == getattr(listed, part).digests()


def test_mismatch_draws_from_all_of_a_stream_and_looks_through_none(
    streaming: Tiny, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: Any) -> None:
        raise AssertionError("the stream was looked through")

    monkeypatch.setattr(mismatch, "read_run_data", touched)
    fer, fr = mismatch._read_sets(streaming(), root, "validation")
    assert len(fer) == 14
    assert len(fr) == 14  # two of them copies of test images
