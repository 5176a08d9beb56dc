"""The command from end to end, and everything that can be wrong with what it is given."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from face2exp_lib import __version__
from face2exp_lib.cli import data as cli_data
from face2exp_lib.cli.main import _keep_freed_memory, main
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.rendering import layouts

pytestmark = [
    pytest.mark.usefixtures("no_real_faces"),
    # of workers: on a single core, and of any fork beside threads
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

Capture = pytest.CaptureFixture[str]
Picture = Callable[[int, int], bytes]
Contents = Callable[[Path], dict[str, bytes]]
KEYS = {
    "overall_accuracy",
    "mean_class_accuracy",
    "std_class_accuracy",
    "per_class_accuracy",
    "confusion_matrix",
    "class_names",
}


def succeed(capsys: Capture, *arguments: Any) -> str:
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert "error" not in err
    return out


def fail(capsys: Capture, *arguments: Any) -> str:
    """The one line of the error, without its head."""
    capsys.readouterr()
    status = main([str(argument) for argument in arguments])
    err = capsys.readouterr().err
    assert status == 1
    assert "Traceback" not in err
    lines = err.replace("\r", "\n").splitlines()  # a progress bar rewrites its line
    (line,) = (line for line in lines if "face2exp: error:" in line)
    assert line.startswith("face2exp: error: ")
    assert lines[-1] == line
    return line.removeprefix("face2exp: error: ")


@pytest.fixture
def trained(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "trained"))


@pytest.fixture
def data(squares_root: Path, tmp_path: Path) -> Path:
    """A data root to be damaged."""
    return Path(shutil.copytree(squares_root, tmp_path / "data"))


# From end to end


@pytest.mark.parametrize("method", ["meta", "supervised"])
def test_train_evaluate_predict(
    capsys: Capture,
    config_path: Path,
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ("--data-root", squares_root, "--set", f"method={method}", "--set", "seed=3")
    out = succeed(capsys, "train", config_path, *options)
    run = Path("runs") / f"tiny-{method}-seed3"
    assert out == f"{run}: trained; next: face2exp evaluate {run} --split test\n"

    out = succeed(capsys, "evaluate", run, "--data-root", squares_root)
    assert out.startswith(f"{method}, val part, 14 images\n")
    monkeypatch.setenv("FACE2EXP_DATA", str(squares_root))
    out = succeed(capsys, "evaluate", run, "--split", "test")
    assert out.startswith(f"{method}, test part, 21 images\n")
    assert "labels used: 35 (21 train, 14 val)" in out
    result = json.loads((run / "evaluation-test.json").read_text())
    assert result.keys() >= KEYS
    assert f"mean_class_accuracy  {result['mean_class_accuracy']:6.2f} %" in out
    again = succeed(capsys, "evaluate", run, "--split", "test")
    assert again == f"Evaluated before; this is what {run} holds.\n{out}"

    image = squares_root / "squares" / "test" / "sad" / "0.png"
    (predicted,) = json.loads(succeed(capsys, "predict", run, image, "--json"))
    assert predicted["image"] == str(image)
    assert predicted["label"] in class_names(7)
    assert list(predicted["probabilities"]) == list(class_names(7))
    out = succeed(capsys, "predict", run, image, image)
    assert out.count(f"{image}: {predicted['label']}   neutral 0.") == 2

    assert sorted(path.name for path in run.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.yaml",
        "data.json",
        "data_lists.npz",
        "environment.json",
        "evaluation-test.json",
        "evaluation-val.json",
        "finished.json",
        "metrics.jsonl",
        "predictions-test.parquet",
        "predictions-val.parquet",
        *(["pseudo_labels"] if method == "meta" else []),
        "test-readings.jsonl",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_resume_of_a_finished_run_changes_nothing(
    capsys: Capture, config_path: Path, squares_root: Path, trained: Path, contents: Contents
) -> None:
    before = contents(trained)
    options = ("--data-root", squares_root, "--run-dir", trained, "--resume")
    succeed(capsys, "train", config_path, *options)
    assert contents(trained) == before


def test_inspect(capsys: Capture, squares_root: Path) -> None:
    out = succeed(capsys, "data", "inspect", squares_root / "squares")
    assert "squares/train: format class_folders, 48 images" in out
    assert "labels looked up as codes: names" in out
    assert [line.split() for line in out.splitlines() if "happy" in line] == [
        ["happy", "3"],
        ["happy", "11"],
    ]
    assert out.count("unreadable        0") == 2
    out = succeed(capsys, "data", "inspect", squares_root / "people")
    assert "people: format identity_folders, 12 images" in out
    assert "identities        6, no expression labels" in out


def test_audit_writes_a_table_that_training_drops_by(
    capsys: Capture, config_path: Path, data: Path, tmp_path: Path
) -> None:
    """The squares' noise of its own leaves no near copies; `copy.png` lies in test, too."""
    squares, table = data / "squares", tmp_path / "new" / "drop.csv"
    options = ("--distance", 8, "--out", table)
    out = succeed(capsys, "data", "audit", f"{squares}:train", f"{squares}:test", *options)
    assert "squares/train: 48 images, for training" in out
    assert "squares/test: 21 images, for evaluation" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["redundant", "copies", "2", "images"] in lines
    assert ["copies", "with", "conflicting", "labels", "0", "groups"] in lines
    assert ["to", "drop", "from", "squares/train:", "2"] in lines
    dropped = [line for line in table.read_text().splitlines() if ",yes," in line]
    assert sorted(line.split(",")[2] for line in dropped) == ["happy/copy.png", "sad/copy.png"]
    run = tmp_path / "run"
    changes = ("--set", f"data.drop={table}", "--data-root", data)
    succeed(capsys, "train", config_path, *changes, "--run-dir", run)
    left_out = json.loads((run / "data.json").read_text())["left_out"]["labelled"]
    assert left_out["listed in data.drop"] == 2
    assert left_out["copies of test images"] == 0


def test_audit_of_a_config_and_of_named_evaluation_sets(
    capsys: Capture, config_path: Path, squares_root: Path
) -> None:
    options = ("--data-root", squares_root, "--distance", -1)
    out = succeed(capsys, "data", "audit", "--config", config_path, *options)
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == [
        "squares/train",
        "squares/test",
        "people",
    ]
    people, squares = squares_root / "people", squares_root / "squares"
    named = ("data", "audit", people, f"{squares}:test", "--evaluation", f"{squares}:train")
    out = succeed(capsys, *named, "--distance", "-1")
    assert "squares/test: 21 images, for training" in out
    assert "squares/train: 48 images, for evaluation" in out
    assert "to drop from squares/test: 2" in out


def test_audit_of_nothing(capsys: Capture, tmp_path: Path) -> None:
    assert "nothing to audit: name a PATH" in fail(capsys, "data", "audit")
    assert "gone: no such file or folder" in fail(capsys, "data", "audit", tmp_path / "gone")


def test_draw_is_shared_without_the_images(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    path, root = tmp_path / "draw.csv", ("--data-root", squares_root)
    out = succeed(capsys, "data", "draw", config_path, *root, "--set", "seed=4", "--out", path)
    assert "train: 21 images: neutral 3, happy 3" in out
    assert "validation: 14 images: neutral 2" in out
    head = path.read_text().splitlines()[:6]
    assert [line.split(":")[0] for line in head] == [
        "# set",
        "# seed",
        "# config",
        "# train",
        "# validation",
        "image,label,part",
    ]
    assert head[1] == "# seed: 4"
    again = tmp_path / "again.csv"
    succeed(capsys, "data", "draw", config_path, *root, "--set", "seed=4", "--out", again)
    assert again.read_bytes() == path.read_bytes()
    from_list = ("--set", f"data.draw={path}", "--out", again)  # another seed, the same images
    succeed(capsys, "data", "draw", config_path, *root, *from_list)
    assert again.read_text().splitlines()[5:] == path.read_text().splitlines()[5:]


def test_inspect_lists_unreadable_images_and_fails(capsys: Capture, data: Path) -> None:
    (data / "squares" / "train" / "sad" / "1.png").write_bytes(b"broken")
    status = main(["data", "inspect", str(data / "squares")])
    out, err = capsys.readouterr()
    assert status == 1
    assert "unreadable        1\n    sad/1.png: not a readable image" in out
    assert err == f"face2exp: error: {data / 'squares'}: 1 unreadable images, listed above\n"


def test_inspect_writes_the_list_of_what_is_bad_and_a_report(
    capsys: Capture, data: Path, tmp_path: Path
) -> None:
    (data / "squares" / "train" / "sad" / "1.png").write_bytes(b"broken")
    listed, page = tmp_path / "bad.csv", tmp_path / "report.html"
    options = ("--skip-bad", listed, "--html", page)
    out = succeed(capsys, "data", "inspect", data / "squares", *options)
    assert f"{listed}: 1 rows" in out
    head, row = listed.read_text().splitlines()
    assert head == "set,path,image,drop,reason"
    assert row.startswith(f"squares/train,{data.resolve()}/squares/train,sad/1.png,yes,")
    assert "sad/1.png" in page.read_text()
    assert "webp;base64," in page.read_text()


def test_inspect_counts_bad_rows_and_fails(
    capsys: Capture, tmp_path: Path, picture: Callable[[int, int], bytes]
) -> None:
    table = tmp_path / "faces.csv"
    table.write_text("path,label\ngone.png,happy\n")
    assert "faces.csv: no usable row" in fail(capsys, "data", "inspect", table)
    (tmp_path / "1.png").write_bytes(picture(0, 0))
    table.write_text("path,label\ngone.png,happy\n1.png,sad\n")
    status = main(["data", "inspect", str(table)])
    out, err = capsys.readouterr()
    assert status == 1
    assert "  left out          1: no such image, e.g. gone.png" in out
    assert err.endswith("faces.csv: 0 unreadable images and 1 bad rows, listed above\n")


def test_version_and_help(capsys: Capture) -> None:
    for arguments, text in ((["--version"], __version__), (["train", "--help"], "--resume")):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
        assert text in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["evaluate", "run", "--split", "train"], ["predict", "run"]],
)
def test_arguments_that_are_none(capsys: Capture, arguments: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("face2exp")
    assert "error:" in err


def test_interrupt(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, config_path: Path, tmp_path: Path
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("face2exp_lib.training.loop.train", interrupt)
    assert main(["train", str(config_path), "--run-dir", str(tmp_path / "run")]) == 130
    assert "--resume goes on from the last checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory."),
            "out of memory: set or lower compute.micro",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
            "compute.micro_batch_size",
        ),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal"), "lower data.num_workers"),
    ],
)
def test_want_of_memory(
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    config_path: Path,
    tmp_path: Path,
    error: Exception,
    advice: str,
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("face2exp_lib.training.loop.train", fall)
    found = fail(capsys, "train", config_path, "--run-dir", tmp_path / "run")
    assert advice in found
    assert found.endswith(": --resume goes on from the last checkpoint")


def test_other_errors_of_torch_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch, config_path: Path, tmp_path: Path
) -> None:
    def fall(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr("face2exp_lib.training.loop.train", fall)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        main(["train", str(config_path), "--run-dir", str(tmp_path / "run")])


@pytest.mark.parametrize(
    ("system", "libc", "takes", "called"),
    [
        ("linux", "glibc", 1, [(-3, 2**25), (-1, 2**31 - 1)]),
        ("linux", "glibc", 0, [(-3, 2**25)]),
        ("linux", "musl", 1, []),
        ("darwin", "", 1, []),
    ],
)
def test_freed_memory_is_kept_where_glibc_allocates_it(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    libc: str,
    takes: int,
    called: list[tuple[int, int]],
) -> None:
    seen = []

    class Library:
        def __init__(self, name: None) -> None: ...

        def mallopt(self, option: int, value: int) -> int:
            seen.append((option, value))
            return takes

    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.libc_ver", lambda: (libc, ""))
    monkeypatch.setattr("ctypes.CDLL", Library)
    _keep_freed_memory()
    assert seen == called


def test_images_that_broke_in_mid_run_are_dropped_by_the_commands_that_are_named(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    root, run = Path(shutil.copytree(squares_root, tmp_path / "root")), tmp_path / "run"
    steps = ("training.num_steps=60", "--set", "training.checkpoint_every_steps=1")
    train = ("train", config_path, "--data-root", root, "--run-dir", run, "--set", *steps)
    folder = root / "squares" / "train" / "happy"

    def breaks(*_: Any) -> None:
        for path in folder.glob("?.png"):
            path.write_bytes(path.read_bytes()[:200])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("face2exp_lib.training.loop.let_go", breaks)
        assert "not a readable image" in fail(capsys, *train)
    for path in sorted(folder.glob("?.png"))[2:]:
        path.write_bytes((squares_root / "squares" / "train" / "happy" / path.name).read_bytes())
    succeed(capsys, "data", "inspect", root / "squares", "--skip-bad", tmp_path / "bad.csv")
    again = (*train, "--set", f"data.drop={tmp_path / 'bad.csv'}", "--resume")
    found = fail(capsys, *again)
    assert "its config has changed (data.drop null -> " in found
    assert "go on with --resume --changed" in found
    succeed(capsys, *again, "--changed")
    (change,) = (json.loads(line) for line in (run / "changes.jsonl").read_text().splitlines())
    assert change["sets"]["long_tailed"]["gone"] >= 1


# Bad configurations


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "c.yaml: no such config"),
        (b"", "c.yaml: holds no configuration"),
        (b"- a list\n", "c.yaml: holds no configuration"),
        (b"\x7fELF\x02\x01\x01\x00\x00\xff", "c.yaml: not readable as YAML"),
        (b"name: \xff", "c.yaml: not readable as YAML"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nname: *b", "c.yaml: name: "),
        (b"[" * 2000, "c.yaml: not readable as YAML"),
        (b"name: x\nbatch: 3\n", "c.yaml: data: missing: add it"),
    ],
)
def test_train_with_a_file_that_is_no_config(
    capsys: Capture, squares_root: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "c.yaml").write_bytes(content)
    run = tmp_path / "run"
    options = ("--data-root", squares_root, "--run-dir", run)
    line = fail(capsys, "train", tmp_path / "c.yaml", *options)
    assert message in line
    assert not run.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("training.num_step=3", "training.num_step: unknown key"),
        ("training.num_steps=-3", "training.num_steps: "),
        ("training.eta_a=.inf", "training.eta_a: "),
        ("data.view_size=64", "view_size 64 is over stored_size 40"),
        ("network.backbone=vgg", "network.backbone: "),
        ("network.pretrained=true", "network.pretrained: there are no ImageNet weights"),
        ("device=tpu", "device: "),
        ("seed=99999999999999999999", "seed: "),
        ("seed", "--set seed: expected key=value"),
        ("data.test.part=gone", "squares/gone: no such file or folder"),
        ("data.labelled.path=gone", "gone/train: no such file or folder"),
        ("data.unlabelled.path=~nobody-of-this-name", "no such file or folder"),
        ("data.labelled={format: class_folders, path: people}", "unknown label 'person0'"),
        ("data.labelled.codes={0: furious}", "'0: furious' means no expression: take neutral"),
        ("data.test={format: identity_folders, path: people}", "has no labels"),
        ("data.test={format: fer2013_csv, path: squares}", "squares/fer2013.csv: no such file"),
        ("data.test={format: rendered, path: squares, part: x}", "x.csv: no such file"),
        ("data.per_class=400", "the training draw wants 400"),
    ],
)
def test_train_with_a_value_that_cannot_be(
    capsys: Capture,
    config_path: Path,
    squares_root: Path,
    tmp_path: Path,
    change: str,
    message: str,
) -> None:
    run = tmp_path / "run"
    options = ("--data-root", squares_root, "--run-dir", run, "--set", change)
    assert message in fail(capsys, "train", config_path, *options)
    assert not (run / "config.yaml").exists()


# Bad data


def test_missing_root(capsys: Capture, config_path: Path, tmp_path: Path) -> None:
    run = ("--run-dir", tmp_path / "run")
    assert "none is set: give --data-root" in fail(capsys, "train", config_path, *run)
    for root in (tmp_path / "gone", config_path):
        line = fail(capsys, "train", config_path, *run, "--data-root", root)
        assert line.startswith(f"--data-root: {root} is no folder")


@pytest.mark.parametrize(
    ("where", "content", "option"),
    [
        ("squares/train/sad/1.png", b"", "in_memory=true"),
        ("squares/train/sad/1.png", b"broken", "in_memory=false"),
        ("squares/train/sad/1.png", "cut", "in_memory=true"),
        ("squares/train/sad/1.png", b"broken", "num_workers=1"),
        ("people/person1/1.png", b"", "in_memory=false"),
        ("people/person1/1.png", "cut", "in_memory=true"),
        ("people/person1/1.png", b"broken", "num_workers=1"),
    ],
)
def test_train_with_a_broken_image(
    capsys: Capture,
    config_path: Path,
    data: Path,
    tmp_path: Path,
    where: str,
    content: bytes | str,
    option: str,
) -> None:
    path = data / where
    path.write_bytes(path.read_bytes()[:300] if isinstance(content, str) else content)
    run = tmp_path / "run"
    # Four of each class are all that validation leaves: every image is read.
    changes = ("--set", f"data.{option}", "--set", "data.per_class=4")
    line = fail(capsys, "train", config_path, "--data-root", data, "--run-dir", run, *changes)
    assert line.startswith(f"{path.parent.name}/1.png: not a readable image")
    assert "lists all such files" in line
    assert not (run / "finished.json").exists()


@pytest.mark.parametrize("part", ["train", "test"])
def test_train_with_one_class_alone(
    capsys: Capture, config_path: Path, data: Path, tmp_path: Path, part: str
) -> None:
    for folder in (data / "squares" / part).iterdir():
        if folder.name != "fear":
            shutil.rmtree(folder)
    run = ("--run-dir", tmp_path / "run")
    line = fail(capsys, "train", config_path, "--data-root", data, *run)
    assert line.startswith(f"squares/{part}: shows fear alone: add images of two classes")


def test_train_with_an_unknown_class(
    capsys: Capture, config_path: Path, data: Path, tmp_path: Path
) -> None:
    (data / "squares" / "train" / "happy").rename(data / "squares" / "train" / "smug")
    run = ("--run-dir", tmp_path / "run")
    line = fail(capsys, "train", config_path, "--data-root", data, *run)
    assert "squares/train: folder with unknown label 'smug'" in line


def rendered_pack(root: Path, picture: Picture) -> list[str]:
    """A pack that the tiny run can train on; gives back the changes that make it do so."""
    root.mkdir()
    for part, images in (("train", 6), ("test", 3), ("fr", 3)):
        rows = ["image,identity" if part == "fr" else "image,expression,identity"]
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            for code, name in enumerate(class_names(7)):
                for number in range(images):
                    member = f"{name}{number}.png"
                    archive.writestr(member, picture(code, number + 100 * len(part)))
                    rows.append(
                        f"{member},{number}" if part == "fr" else f"{member},{name},{number}"
                    )
        (root / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return [
        word
        for key, part in (("labelled", "train"), ("test", "test"), ("unlabelled", "fr"))
        for word in ("--set", f"data.{key}={{format: rendered, path: {root}, part: {part}}}")
    ]


@pytest.mark.parametrize("workers", [0, 2])
def test_train_on_a_rendered_pack(
    capsys: Capture, config_path: Path, tmp_path: Path, picture: Picture, workers: int
) -> None:
    changes = rendered_pack(tmp_path / "pack", picture)
    few = ("--set", "training.num_steps=2", "--set", f"data.num_workers={workers}")
    succeed(capsys, "train", config_path, *changes, *few, "--run-dir", tmp_path / "run")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def without_a_member(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held.popitem()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)


def replace(old: bytes, new: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("train.zip", cut, "train.zip: not a readable zip"),
        ("train.zip", Path.unlink, "train.zip: no such file"),
        ("fr.zip", cut, "fr.zip: not a readable zip"),
        ("train.zip", without_a_member, "line 43: no such image: train.zip has no fear5.png"),
        ("fr.zip", without_a_member, "fr.csv, line 22: no such image: fr.zip has no fear2.png"),
        ("train.zip", replace(b"IDAT", b"IDOT"), "not a readable image"),
        ("train.csv", Path.unlink, "train.csv: no such file"),
        ("train.csv", replace(b"sad0.png", b"../../etc/passwd"), "has no ../../etc/passwd"),
        ("train.csv", replace(b"expression", b"mood"), "has no labels"),
        ("train.csv", replace(b",sad,", b",smug,"), "train.csv, line 20: unknown label 'smug'"),
        ("train.csv", replace(b"sad,0", b"\xff"), "train.csv: not readable as a csv table"),
        ("fr.csv", replace(b"image", b"file"), "fr.csv: column 'image' is missing"),
        ("fr.csv", lambda path: path.write_text("image,identity\n"), "fr.csv: no row"),
    ],
)
def test_train_on_a_broken_pack(
    capsys: Capture,
    config_path: Path,
    tmp_path: Path,
    picture: Picture,
    file: str,
    damage: Callable[[Path], Any],
    message: str,
) -> None:
    changes = rendered_pack(tmp_path / "pack", picture)
    damage(tmp_path / "pack" / file)
    line = fail(capsys, "train", config_path, *changes, "--run-dir", tmp_path / "run")
    assert message in line


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"emotion,pixels\n3,1 2 3\n", "column 'usage' is missing"),
        (b"emotion,pixels,Usage\n3,1 2 3,Training\n", "line 2: needs 2,304 pixels"),
        (b"emotion,pixels,Usage\n\xff,1 2 3,Training\n", "not readable as a csv table"),
        (b"", "column 'usage' is missing"),
        (b"emotion,pixels,Usage\n", "no usable row with Usage 'Training'"),
    ],
)
def test_train_on_a_broken_csv(
    capsys: Capture, config_path: Path, data: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    (data / "fer2013.csv").write_bytes(content)
    source = (
        "data.labelled={format: fer2013_csv, path: fer2013.csv, part: Training, codes: fer2013}"
    )
    options = ("--data-root", data, "--run-dir", tmp_path / "run", "--set", source)
    line = fail(capsys, "train", config_path, *options)
    assert "fer2013.csv" in line
    assert message in line or "'emotion' is missing" in line


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(bytes(range(256))),
        lambda path: path.write_bytes(b"emotion,pixels,Usage\n\xff\xfe"),
        lambda path: path.symlink_to(path),
    ],
    ids=["gone", "empty", "binary", "not UTF-8", "loop"],
)
def test_inspect_of_nothing_known(
    capsys: Capture, tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    path = tmp_path / "what"
    make(path)
    assert str(path) in fail(capsys, "data", "inspect", path)


# Bad run directories


def test_train_into_a_run_or_a_folder_of_something_else(
    capsys: Capture,
    config_path: Path,
    squares_root: Path,
    trained: Path,
    tmp_path: Path,
    contents: Contents,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    train = ("train", config_path, "--data-root", squares_root, "--run-dir")
    other = ("--set", "seed=5", "--resume")
    assert "holds a run already: go on with --resume" in fail(capsys, *train, trained)
    found = fail(capsys, *train, trained, *other)
    assert "holds a run of another config (seed 0 -> 5): see" in found
    found = fail(capsys, *train, trained, "--changed")
    assert "--changed goes on with a run: give --resume, too" in found
    assert "not empty and no run directory" in fail(capsys, *train, tmp_path / "folder")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        assert f"{path}: cannot write here" in fail(capsys, *train, path)
    assert contents(tmp_path) == before


def test_train_where_nothing_may_be_written(
    capsys: Capture,
    config_path: Path,
    squares_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The folder takes a lock and no more, as on a disk that is full."""

    def refuse(**_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    options = ("--data-root", squares_root, "--run-dir", tmp_path / "run")
    line = fail(capsys, "train", config_path, *options)
    assert "config.yaml: cannot write (Permission denied): choose a folder" in line


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoints/best.pt", None, "best.pt: no such checkpoint"),
        ("checkpoints/best.pt", b"", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", b"text", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", "half", "best.pt: cut off or no checkpoint"),
        ("checkpoints/best.pt", "other", "best.pt: no checkpoint of face2exp"),
        ("config.yaml", None, "no run directory: `face2exp train` makes one"),
        ("config.yaml", b"", "config.yaml: holds no configuration"),
        ("config.yaml", b"\x00\xff", "config.yaml: not readable as YAML"),
    ],
)
def test_evaluate_and_predict_with_a_broken_run(
    capsys: Capture,
    squares_root: Path,
    trained: Path,
    contents: Contents,
    command: str,
    file: str,
    content: bytes | str | None,
    message: str,
) -> None:
    path = trained / file
    if content is None:
        path.unlink()
    elif content == "half":
        path.write_bytes(path.read_bytes()[:20_000])
    elif content == "other":
        torch.save({"weights": 1}, path)
    else:
        assert isinstance(content, bytes)
        path.write_bytes(content)
    before = contents(trained)
    rest = (
        ("--data-root", squares_root)
        if command == "evaluate"
        else (squares_root / "squares" / "test" / "sad" / "0.png",)
    )
    assert message in fail(capsys, command, trained, *rest)
    assert contents(trained) == before


@pytest.mark.parametrize("kind", ["gone", "file", "empty folder"])
def test_evaluate_what_is_no_run(capsys: Capture, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("")
    elif kind == "empty folder":
        path.mkdir()
    assert f"{path}: no run directory" in fail(capsys, "evaluate", path)
    assert f"{path}: no run directory" in fail(capsys, "predict", path, "x.png")


def test_evaluate_without_the_data(capsys: Capture, trained: Path, contents: Contents) -> None:
    before = contents(trained)
    assert "give --data-root" in fail(capsys, "evaluate", trained, "--split", "test")
    assert contents(trained) == before


@pytest.mark.parametrize(
    "make",
    [
        lambda path, whole: None,
        lambda path, whole: path.write_bytes(b""),
        lambda path, whole: path.write_bytes(b"broken"),
        lambda path, whole: path.write_bytes(whole[:300]),
        lambda path, whole: path.write_bytes(whole.replace(b"IDAT", b"IDOT")),
    ],
    ids=["gone", "empty", "text", "cut off", "odd chunk"],
)
def test_predict_of_a_broken_image(
    capsys: Capture,
    finished_runs: dict[str, Path],
    squares_root: Path,
    tmp_path: Path,
    make: Callable[[Path, bytes], Any],
) -> None:
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    path = tmp_path / "face.png"
    make(path, good.read_bytes())
    line = fail(capsys, "predict", finished_runs["meta"], good, path, "--json")
    assert line.startswith(f"{path}: not a readable image")
    assert capsys.readouterr().out == ""


# Names that are no text, output that nobody reads


def test_name_with_a_line_break_gives_one_line(
    capsys: Capture, finished_runs: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "two\nlines.png"
    path.write_bytes(b"broken")
    assert "two lines.png: not a readable" in fail(capsys, "predict", finished_runs["meta"], path)


def test_name_that_is_no_text_is_printed(
    finished_runs: dict[str, Path], squares_root: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.png"
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    try:
        shutil.copyfile(good, path)
    except OSError:
        pytest.skip("this file system takes no such name")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["predict", str(finished_runs["meta"]), os.fsdecode(path)]) == 0
    stdout.seek(0)
    assert "\\udcff.png: " in stdout.read()


def test_error_of_the_system_is_one_line_too(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, config_path: Path
) -> None:
    line = fail(capsys, "train", config_path, "--run-dir", "x" * 5000, "--data-root", "/")
    assert "file name too long" in line
    line = fail(capsys, "train", "x" * 5000)
    assert "file name too long" in line


def test_reader_that_goes_away_is_no_error(
    capsys: Capture, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `face2exp data inspect PATH | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["data", "inspect", str(squares_root / "squares")]) == 1
        print("more")  # what is left goes nowhere, also when the interpreter ends
    assert capsys.readouterr().err == ""


# Rendering


FACES = "{count: 6, size: 16, num_identities: 8, classes: {happy: 1, contempt: 1, sad+anger: 1}}"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "faces.yaml"
    path.write_text(FACES)
    return path


@pytest.mark.parametrize("layout", ["zip", "folders"])
def test_render_and_inspect(capsys: Capture, spec: Path, tmp_path: Path, layout: str) -> None:
    out = tmp_path / "out"
    options = ("--out", out, "--workers", 1, "--format", layout)
    told = f"{out}: faces, 6 images as {layout}\n"
    assert succeed(capsys, "data", "render", spec, *options) == told
    assert (out / "faces.yaml").read_text() == FACES
    before = [path.stat().st_mtime_ns for path in out.iterdir()]
    assert succeed(capsys, "data", "render", spec, *options) == told
    assert [path.stat().st_mtime_ns for path in out.iterdir()] == before
    seen = succeed(capsys, "data", "inspect", out).split()
    for name, count in (("happy", "2"), ("sad", "2"), ("contempt", "2"), ("fear", "0")):
        assert seen[seen.index(name) + 1] == count


def test_formats_are_those_that_exist() -> None:
    assert tuple(layouts.LAYOUTS) == cli_data.LAYOUTS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: {happy: -2}", "faces.yaml: part 'faces': face spec: classes: weight -2.0"),
        ("classes: {joy: 1}", "unknown class 'joy': use neutral, happy"),
        ("units: {12: 1}", "unknown field 'units': use seed"),
        ("size: 0", "size: input should be greater than or equal to 16"),
        ("size: 10000", "size: input should be less than or equal to 1024"),
        ("count: 0", "count: input should be greater than or equal to 1"),
        ("num_identities: 2", "2 for 7 classes: give at least one identity per class"),
        ("count: many", "count: input should be a valid integer, got 'many'"),
        ("parts: {../../a: {}}", "part name '../../a' must be"),
        ("!!python/object/apply:os.abort []", "faces.yaml: not readable as YAML"),
        (None, "faces.yaml: no such file"),
        ("", "faces.yaml: holds no spec"),
    ],
)
def test_render_what_cannot_be(
    capsys: Capture, tmp_path: Path, text: str | None, message: str
) -> None:
    path, out = tmp_path / "faces.yaml", tmp_path / "out"
    if text is not None:
        path.write_text(text)
    assert message in fail(capsys, "data", "render", path, "--out", out)
    assert not out.exists()


def test_render_a_folder_or_into_a_file(capsys: Capture, spec: Path, tmp_path: Path) -> None:
    line = fail(capsys, "data", "render", tmp_path, "--out", tmp_path / "out")
    assert line == f"{tmp_path}: is a folder: give the YAML file in it"
    line = fail(capsys, "data", "render", spec, "--out", spec)
    assert f"{spec}: cannot write here" in line


@pytest.mark.parametrize("workers", ["0", "-1", "257", "two", "1.5", ""])
def test_render_with_no_number_of_workers(capsys: Capture, spec: Path, workers: str) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["data", "render", str(spec), "--out", "x", f"--workers={workers}"])
    assert stop.value.code == 2
    assert f"needs a number from 1 to 256, got '{workers}'" in capsys.readouterr().err


def test_render_on_a_full_disk(
    capsys: Capture, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    line = fail(capsys, "data", "render", spec, "--out", tmp_path / "out", "--workers", 1)
    assert line.endswith("cannot write (No space left on device): free some space and run again")


def test_interrupted_render_says_that_it_goes_on(
    capsys: Capture, spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("face2exp_lib.rendering.pack.render_face", interrupt)
    assert main(["data", "render", str(spec), "--out", str(tmp_path), "--workers", "1"]) == 130
    line = "face2exp: interrupted: run again to go on; what is drawn is kept"
    assert capsys.readouterr().err.splitlines()[-1] == line


def run_apart(program: str, *arguments: Any) -> "subprocess.Popen[bytes]":
    """A process in a session of its own, as a terminal starts one; one in the background, where
    tests may run, would ignore Ctrl-C."""
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    return subprocess.Popen(
        [sys.executable, "-c", heed + program, *map(str, arguments)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_ctrl_c_ends_render_and_its_workers_at_once(spec: Path, tmp_path: Path) -> None:
    """The terminal sends the signal to all of them."""
    spec.write_text("{count: 5000, size: 16}")
    program = (
        "import sys; from face2exp_lib.cli.main import main; "
        "from face2exp_lib.rendering import pack; pack.CHUNK_IMAGES = 4; "
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", 2)
    with run_apart(program, *arguments) as process:
        while not list(tmp_path.glob("out/.faces.*/*.zip")):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        err = process.communicate()[1].decode()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("face2exp: interrupted: run again")


@pytest.mark.parametrize("workers", [1, 2])
def test_render_without_numba(spec: Path, tmp_path: Path, workers: int) -> None:
    """In the workers, too, which import everything anew."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'numba' else find(name, *a)\n"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", str(workers))
    result = subprocess.run(
        [sys.executable, "-m", "face2exp_lib.cli", *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "drawing faces needs numba" in result.stderr.splitlines()[-1]


def test_render_imports_no_torch(spec: Path, tmp_path: Path) -> None:
    """It would cost each worker seconds."""
    program = (
        "import sys; from face2exp_lib.cli.main import main; status = main(sys.argv[1:]); "
        "sys.exit(status or 'torch' in sys.modules)"
    )
    arguments = ("data", "render", spec, "--out", tmp_path / "out", "--workers", 1)
    with run_apart(program, *arguments) as process:
        err = process.communicate()[1].decode()
    assert process.returncode == 0, err


def test_one_run_on_real_faces(capsys: Capture, real_faces: Path, tmp_path: Path) -> None:
    few = ("num_steps=2", "warm_start_steps=1", "finetune_steps=1", "eval_every_steps=2")
    changes = [word for change in few for word in ("--set", f"training.{change}")]
    root, run = ("--data-root", real_faces), tmp_path / "run"
    succeed(
        capsys,
        "train", "fer2013_lfw_cpu.yaml", *changes, "--set", "data.in_memory=false",
        *root, "--run-dir", run,
    )  # fmt: skip
    out = succeed(capsys, "evaluate", run, "--split", "test", *root)
    assert "meta, test part, 3589 images" in out
    assert "labels used: 1400 (700 train, 700 val)" in out


def test_audit_defaults_are_those_of_the_library() -> None:
    # cli/data.py names them itself, so that drawing faces does not import the hashing library
    from face2exp_lib.preparation import audit, fingerprints

    assert (cli_data.NEAR, cli_data.BITS) == (audit.NEAR, fingerprints.BITS)
