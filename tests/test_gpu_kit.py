"""The kit of `benchmarks/gpu`: all of it once at tiny sizes on a CPU, its time, and what it packs.

Nothing here says that it works on a GPU.
"""

import ast
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import feeding
from benchmarks.gpu import __main__ as kit
from benchmarks.gpu import checks, pack, pipeline, report, steps, studies
from benchmarks.gpu.piece import OutOfTime, Piece, Settings, must_be_of_these, run, work
from benchmarks.side_by_side import Measurement
from face2exp_lib.comparison.arms import arm_config, read_comparison
from face2exp_lib.data.formats.folders import read_class_folders, read_identity_folders
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, write_json

ROOT = Path(__file__).parents[1]
FOLDERS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")  # of FER2013
TRAIN, TEST, PEOPLE = 4, 1, 4


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise in the layouts of FER2013 and LFW: 48 px grey, and 144 px grey."""
    root, generator = tmp_path_factory.mktemp("faces"), np.random.default_rng(0)

    def save(path: Path, side: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (side, side), dtype=np.uint8)).save(path)

    for part, usage, number in (("train", "Training", TRAIN), ("validation", "PublicTest", TEST)):
        for code, name in enumerate(FOLDERS):
            for image in range(number):
                save(root / part / name / f"{usage}_{code}{image}.jpg", 48)
    for person in range(PEOPLE):
        for image in (1, 2):
            save(root / "lfw" / f"Person_{person}" / f"Person_{person}_000{image}.jpg", 144)
    return root


@pytest.fixture(scope="module")
def archive(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "data.tar.gz"
    pack.pack(faces, path)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a dry run with a minute."""
    return Settings(tmp_path / "out", "cpu", True, None, time.monotonic() + 60)


def called(*arguments: str, module: str = "benchmarks.gpu") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


# The whole


def test_all_of_it_once_and_no_piece_twice(archive: Path, tmp_path: Path) -> None:
    """At tiny sizes; the second call finds all done but the study's piece, which is taken away."""
    out = tmp_path / "out"
    arguments = ["--device", "cpu", "--tiny", "--out", str(out), "--data", str(archive)]
    first = called(*arguments)
    assert first.returncode == 0, first.stdout + first.stderr
    files = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*.json"))
    assert files == [
        "checks/step.json",
        "pipeline/gpu_decoding.json",
        "pipeline/workers_1.json",
        "steps/ours.json",
        "steps/ours_bfloat16_channels_last.json",
        "steps/ours_bfloat16_channels_last_graph.json",
        "studies/fer2013_seeds_1.json",
    ]
    found = {name: read_json(out / name, "environment", "device", "seconds") for name in files}
    for name, result in found.items():
        assert "failed" not in result, name
        assert result["environment"]["packages"]["torch"] == version("torch"), name
    checked = found["checks/step.json"]
    assert checked["counts"]["passed"] == 3
    assert checked["tests"]["test_ways_to_f_agree[cpu]"] == "passed"
    assert checked["tests"]["test_ways_to_f_agree[cuda]"].startswith("skipped: ")
    ours = found["steps/ours.json"]
    assert ours["hours_for_180000_steps"] == pytest.approx(ours["milliseconds"] / 20, abs=0.01)
    assert 0 < found["pipeline/workers_1.json"]["busy_share"] <= 1
    runs = list((out / "studies" / "fer2013" / "runs").glob("*/evaluation-test.json"))
    assert len(runs) == 2
    text = (out / "report.md").read_text()
    assert "**A dry run: not on a GPU, or at tiny sizes. No number here is a result.**" in text
    assert "| ours_bfloat16_channels_last_graph | skipped: CUDA graphs need a GPU |" in text
    assert "| fer2013_seeds_1 | supervised | updates |" in text

    times = {name: (out / name).stat().st_mtime_ns for name in files}
    trained = {path: path.stat().st_mtime_ns for path in runs}
    (out / files[-1]).unlink()
    second = called(*arguments)
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.count("done before") == len(files) - 1
    assert {name: (out / name).stat().st_mtime_ns for name in files[:-1]} == {
        name: times[name] for name in files[:-1]
    }
    assert {path: path.stat().st_mtime_ns for path in runs} == trained  # `compare` has them
    assert read_json(out / files[-1])["compared"] == found[files[-1]]["compared"]


def test_without_a_gpu_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(
        Face2ExpError, match="torch finds no CUDA device here: run it where there is one; --device"
    ):
        kit.run_parts(["steps"], Settings(tmp_path, "cuda", False, None, time.monotonic() + 60))
    assert not list(tmp_path.iterdir())


def test_a_part_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["gpu", "stepps"])
    with pytest.raises(SystemExit):
        kit.main()


def test_parts_come_by_worth_whatever_their_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def part(name: str) -> Callable[[Settings], list[Piece]]:
        def make(_: Settings) -> dict[str, Any]:
            made.append(name)
            return {}

        return lambda _: [Piece(name, "only", 1, make)]

    monkeypatch.setattr(kit, "PARTS", {name: part(name) for name in ("one", "two", "three")})
    monkeypatch.setattr(kit, "report", lambda out: "")
    assert kit.run_parts(["three", "one"], settings) == 0
    assert made == ["one", "three"]


def test_a_folder_of_another_device_is_refused(settings: Settings) -> None:
    must_be_of_these(settings)
    must_be_of_these(settings)
    with pytest.raises(Face2ExpError, match=r"holds results of .*'cpu'.* choose another --out"):
        must_be_of_these(replace(settings, device="cuda"))


# Time


def test_a_piece_is_made_once_and_what_failed_again(settings: Settings) -> None:
    calls, told = [], list[str]()

    def fails_at_first(_: Settings) -> dict[str, Any]:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("out of memory")
        return {"number": 1}

    piece = Piece("part", "piece", 1, fails_at_first)
    assert work([piece], settings, told.append) == [piece]
    stored = read_json(piece.path(settings.out), "environment")
    assert stored["failed"] == "RuntimeError: out of memory"
    assert stored["piece"] == "part/piece"
    assert work([piece], settings, told.append) == []
    assert read_json(piece.path(settings.out))["number"] == 1
    assert work([piece], settings, told.append) == []
    assert len(calls) == 2
    assert told == ["part/piece: FAILED", "part/piece: 0.0 s", "part/piece: done before"]


def test_no_piece_is_begun_without_time_for_it(settings: Settings) -> None:
    """A long one is left, a short one behind it is made; one that is stopped leaves no file."""

    def stopped(_: Settings) -> dict[str, Any]:
        raise OutOfTime("stopped after 3 s")

    pieces = [
        Piece("part", "long", 1000, lambda _: {}),
        Piece("part", "short", 1, lambda _: {}),
        Piece("part", "stopped", 1, stopped),
    ]
    told: list[str] = []
    assert work(pieces, settings, told.append) == [pieces[0], pieces[2]]
    assert [piece.done(settings.out) for piece in pieces] == [False, True, False]
    assert told[0] == "part/long: left, needs 1000 s"
    assert told[2] == "part/stopped: left, stopped after 3 s"


def test_a_piece_has_ten_minutes_at_most(settings: Settings) -> None:
    left = []

    def make(its: Settings) -> dict[str, Any]:
        left.append(its.left())
        return {}

    for minutes in (60, 5):
        given = replace(settings, deadline=time.monotonic() + 60 * minutes)
        work([Piece("part", f"of_{minutes}", 1, make)], given, lambda _: None)
    assert left == [pytest.approx(600, abs=5), pytest.approx(300, abs=5)]


def test_what_failed_before_waits_for_the_others(settings: Settings) -> None:
    made = []

    def make(name: str) -> Callable[[Settings], dict[str, Any]]:
        def fails_if_a(_: Settings) -> dict[str, Any]:
            made.append(name)
            return {"failed": "x"} if name == "a" else {}

        return fails_if_a

    pieces = [Piece("part", name, 1, make(name)) for name in "ab"]
    work(pieces[:1], settings, lambda _: None)
    assert work(pieces, settings, lambda _: None) == pieces[:1]
    assert made == ["a", "b", "a"]


def test_the_exit_status_tells_what_is_left(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Settings) -> dict[str, Any]:
        raise ValueError("x")

    for make, least, expected in ((fails, 1, 1), (lambda _: {}, 1000, 3), (lambda _: {}, 1, 0)):
        pieces = [Piece("steps", f"p{expected}", least, make)]
        monkeypatch.setattr(kit, "PARTS", {"steps": lambda _, found=pieces: found})
        monkeypatch.setattr(kit, "report", lambda out: "")
        assert kit.run_parts(["steps"], settings) == expected


def test_a_program_is_asked_to_stop_and_may_save(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    program = (
        "import pathlib, signal, sys, time\n"
        f"end = lambda *_: (pathlib.Path({str(saved)!r}).write_text('x'), sys.exit(143))\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(60)"
    )
    begun = time.monotonic()
    with pytest.raises(OutOfTime, match="stopped after 3 s"):
        run([sys.executable, "-c", program], 3)
    assert time.monotonic() - begun < 30
    assert saved.exists()
    assert run([sys.executable, "-c", "print(5)"], 30).stdout == "5\n"


def test_steps_stop_between_turns(settings: Settings) -> None:
    with pytest.raises(OutOfTime, match="no time for all turns"):
        steps.time_way("ours", replace(settings, deadline=time.monotonic() - 1))


def test_the_pipeline_stops_between_steps(settings: Settings) -> None:
    with pytest.raises(OutOfTime, match="no time for all steps"):
        pipeline.fed_by_gpu(replace(settings, deadline=time.monotonic() - 1))


def test_a_study_without_its_faces_is_left(settings: Settings) -> None:
    with pytest.raises(OutOfTime, match=r"needs the faces of `python -m benchmarks\.gpu\.pack`"):
        studies.study("fer2013", 1, settings)


# What is measured


def test_costs_by_hand() -> None:
    """Half the time and a quarter of the memory; 180,000 steps of 0.1 s are 5 hours."""
    way = Measurement([0.1, 0.1, 0.2], None, 2**20, None)
    reference = Measurement([0.2, 0.2, 0.4], None, 2**22, None)
    found = steps.summary(way, reference, 64)
    assert found["milliseconds"] == 100
    assert found["time_ratio"] == 0.5
    assert found["images_per_second"] == 640
    assert (found["peak_mib"], found["memory_ratio"]) == (1, 0.25)
    assert found["hours_for_180000_steps"] == 5


def test_what_a_gpu_reads_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image costs 3 x 10 operations: 4 images/s are 120 of 1200, a tenth. The other GPU has 2400
    and gets 8 images/s, 24 forward passes; a step of 48 takes two seconds and reads 64 images."""
    monkeypatch.setattr(feeding, "forward_operations", lambda *_: 10)
    monkeypatch.setitem(feeding.PUBLISHED, "a100_training_images_per_second", 4.0)
    monkeypatch.setitem(feeding.PUBLISHED, "a100_most_operations_per_second", 1200.0)
    monkeypatch.setitem(feeding.PUBLISHED, "h100_most_operations_per_second", 2400.0)
    found = feeding.estimate(48)
    assert found["share_of_most"] == 0.1
    assert found["what"].startswith("an estimate")
    assert found["A100"] == {
        "training_images_per_second": 4,
        "steps_per_second": 0.25,
        "images_read_per_second": 16,
    }
    assert found["H100"]["steps_per_second"] == 0.5
    assert found["H100"]["images_read_per_second"] == 32


def test_every_test_marked_gpu_is_in_a_group() -> None:
    tree = ast.parse((ROOT / checks.TESTS).read_text())
    there = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and "test_" in n.name[:5]]
    named = [test for _, tests in checks.GROUPS.values() for test in tests]
    assert sorted(named) == sorted(there)


def test_outcomes_of_tests(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(
        "<testsuites><testsuite><testcase name='a'/>"
        "<testcase name='b'><skipped message='no GPU'/></testcase>"
        "<testcase name='c'><failure message='1 != 2'/></testcase></testsuite></testsuites>"
    )
    expected = {"a": "passed", "b": "skipped: no GPU", "c": "failure: 1 != 2"}
    assert checks.read_outcomes(tmp_path / "report.xml") == expected


def test_a_failing_group_fails(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "GROUPS", {"none": (1, ("test_that_is_not_there",))})
    assert "test_that_is_not_there" in checks.check("none", settings)["failed"]


@pytest.mark.parametrize("name", studies.STUDIES)
def test_studies_are_at_the_published_setting(name: str, settings: Settings) -> None:
    path = studies.prepared(name, settings.out, replace(settings, tiny=False, device="cuda"))
    comparison = read_comparison([path])
    for arm in ("supervised", "meta", "ours", "fixmatch"):
        config = arm_config(comparison, arm, {}, 0)
        assert config.network.backbone == "wide_resnet28_2"
        assert (config.training.batch_size_fer, config.training.batch_size_fr) == (64, 448)
        assert config.device == "cuda"


def test_the_report_names_what_failed(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="holds no results"):
        report.report(tmp_path)
    machine = {"gpus": ["A GPU"], "processor": "P", "cores": 2}
    environment = {"machine": machine, "packages": {"torch": "2.9"}, "git_commit": "abc"}
    stored = {"piece": "steps/ours", "device": "cuda", "tiny": False, "environment": environment}
    write_json(tmp_path / "steps" / "ours.json", stored | {"failed": "trace\nValueError: a | b"})
    text = report.report(tmp_path)
    assert "A GPU; P, 2 cores; torch 2.9; commit abc" in text
    assert "| ours | failed: ValueError: a / b |" in text
    assert "dry run" not in text


# The archive


def test_the_archive_has_all_faces_fer2013_unchanged_and_lfw_smaller(
    faces: Path, archive: Path, tmp_path: Path
) -> None:
    root = pack.unpacked(archive, tmp_path)
    labelled = read_class_folders(root, "train", None)
    assert len(labelled) == 7 * TRAIN
    assert labelled.labels is not None
    assert np.bincount(labelled.labels).tolist() == [TRAIN] * len(class_names(7))
    assert len(read_class_folders(root, "validation", None)) == 7 * TEST
    for path in faces.glob("[tv]*/*/*.jpg"):
        assert (root / path.relative_to(faces)).read_bytes() == path.read_bytes()
    people = read_identity_folders(root / "lfw", "", None)
    assert len(people) == 2 * PEOPLE
    with people.images.open(0) as image:
        assert image.size == (64, 64)
    assert pack.unpacked(archive, tmp_path) == root  # once
    assert pack.unpacked(faces, tmp_path) == faces  # a data root is one already


def test_the_same_faces_are_the_same_archive_but_for_its_time(faces: Path, archive: Path) -> None:
    with tarfile.open(archive) as members:
        names = members.getnames()
    assert names == sorted(names, key=lambda name: (name.split("/")[0] == "lfw", name))
    assert not any(name.startswith("/") or ".." in name for name in names)


def test_an_archive_that_would_be_too_large(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack, "MOST_BYTES", 1000)
    with pytest.raises(Face2ExpError, match=r"more than 0: give a smaller --side, down to 48"):
        pack.pack(faces, tmp_path / "data.tar.gz")
    assert not list(tmp_path.iterdir())


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no such archive: `python -m benchmarks"):
        pack.unpacked(tmp_path / "none.tar.gz", tmp_path)
    (tmp_path / "bad.tar.gz").write_bytes(b"x")
    with pytest.raises(
        Face2ExpError, match=r"cannot be unpacked \(not a gzip file\): pack it anew"
    ):
        pack.unpacked(tmp_path / "bad.tar.gz", tmp_path)


@pytest.mark.usefixtures("no_real_faces")
def test_pack_says_what_is_missing(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "data.tar.gz")
    for arguments, message in (
        ([], "no data root: set FACE2EXP_DATA"),
        (["--data-root", str(tmp_path)], "train"),
        (["--data-root", str(faces), "--side", "100"], "--side: give 48 to 64, not 100"),
    ):
        monkeypatch.setattr("sys.argv", ["pack", "--out", out, *arguments])
        assert pack.main() == 1
        assert message in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["pack", "--out", out, "--data-root", str(faces)])
    assert pack.main() == 0
    assert "MB" in capsys.readouterr().out


def test_results_are_json_that_others_read(settings: Settings) -> None:
    piece = Piece("steps", "x", 1, lambda _: {"seconds_a_step": 0.5})
    work([piece], settings, lambda _: None)
    stored = json.loads(piece.path(settings.out).read_text())
    assert stored["tiny"] is True
    assert stored["environment"]["machine"]["cores"] == os.cpu_count()
