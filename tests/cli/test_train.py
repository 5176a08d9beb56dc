"""`face2exp train`: from end to end, and everything that can be wrong with what it is given."""

import errno
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from face2exp_lib.data.sets.labels import class_names
from tests.cli.commands import MARKS, Capture, fail, succeed

pytestmark = MARKS
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


def test_labels_alone_need_no_unlabelled_faces(
    capsys: Capture, config_path: Path, squares_root: Path, tmp_path: Path
) -> None:
    """The run is the one that names some: they decide nothing of it."""
    lines = config_path.read_text().splitlines()
    alone, root = tmp_path / "alone.yaml", ("--data-root", squares_root)
    alone.write_text("\n".join(line for line in lines if "unlabelled:" not in line))
    scores = {}
    for path in (alone, config_path):
        run = tmp_path / path.stem
        train = ("train", path, *root, "--set", "method=supervised", "--run-dir", run)
        succeed(capsys, *train)
        succeed(capsys, *train, "--resume")
        succeed(capsys, "evaluate", run, *root, "--split", "test")
        scores[path] = json.loads((run / "evaluation-test.json").read_text())["confusion_matrix"]
    assert scores[alone] == scores[config_path]
    # The run that named some is another one, and so is the other way round.
    for path, begun in ((alone, config_path), (config_path, alone)):
        again = ("train", path, *root, "--set", "method=supervised", "--resume", "--changed")
        line = fail(capsys, *again, "--run-dir", tmp_path / begun.stem)
        assert "data.unlabelled" in line
    run = tmp_path / "alone"
    assert "unlabelled" not in json.loads((run / "data.json").read_text())["sets"]
    assert "model card" in succeed(capsys, "card", run)
    assert "there are no FR faces to compare with" in fail(capsys, "mismatch", run, *root)
    assert "data.unlabelled: missing" in fail(
        capsys, "data", "shard", "--config", alone, "--set", "method=supervised",
        "--out", tmp_path / "s", *root,
    )  # fmt: skip
    assert fail(capsys, "train", alone, *root).endswith(
        "data.unlabelled: missing, and method meta learns from unlabelled faces: name some, or set "
        "method to one that learns from labels alone, such as supervised"
    )


def test_resume_of_a_finished_run_changes_nothing(
    capsys: Capture, config_path: Path, squares_root: Path, run: Path, contents: Contents
) -> None:
    before = contents(run)
    options = ("--data-root", squares_root, "--run-dir", run, "--resume")
    succeed(capsys, "train", config_path, *options)
    assert contents(run) == before


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


# Bad run directories


def test_train_into_a_run_or_a_folder_of_something_else(
    capsys: Capture,
    config_path: Path,
    squares_root: Path,
    run: Path,
    tmp_path: Path,
    contents: Contents,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "letter.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)
    train = ("train", config_path, "--data-root", squares_root, "--run-dir")
    other = ("--set", "seed=5", "--resume")
    assert "holds a run already: go on with --resume" in fail(capsys, *train, run)
    found = fail(capsys, *train, run, *other)
    assert "holds a run of another config (seed 0 -> 5): see" in found
    found = fail(capsys, *train, run, "--changed")
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
