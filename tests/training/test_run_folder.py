"""Run directories stay whole: what is no run, or another one, is refused."""

import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from face2exp_lib.config import load_config
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training.loop import train
from tests.training.runs import Contents, Tiny, refused


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
