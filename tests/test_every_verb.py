"""One awkward set of each layout, given to every verb: the same images, the same labels."""

import csv
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from face2exp_lib.cli.main import main
from face2exp_lib.data.recognition import read_sets
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.preparation.audited_sets import AuditedSet, distinct
from face2exp_lib.preparation.inspection import inspect
from tests.data.formats import trees
from tests.data.formats.trees import jpeg, put

Capture = pytest.CaptureFixture[str]
NAMES = class_names(8)
FER_ORDER = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@dataclass(frozen=True)
class Case:
    """A set as a user brings it.

    Attributes:
        path: what is given to the verbs, below the data root.
        part: of the set.
        source: keys of a config's source beside path and part.
        codes: what `--codes` says; empty where nobody has to.
        labels: image -> class name, by hand.
        left_out: what a verb has to say about the rest.
        images: a folder or file for `predict`, which reads images, not lists; empty where the
            layout has no image files of its own.
    """

    path: str
    part: str
    source: Mapping[str, object]
    codes: str
    labels: Mapping[str, str]
    left_out: tuple[str, ...] = ()
    images: str = ""


def junk(folder: Path) -> None:
    """What a Mac, a notebook and Windows leave in a folder of images."""
    for name in ("._0.jpg", ".ipynb_checkpoints/0-checkpoint.jpg", "Thumbs.db", "notes.txt"):
        put(folder / name, b"\0\5\26\7")


def picture(number: int, kind: str = "JPEG") -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(jpeg(number))) as image:
        image.save(buffer, kind)
    return buffer.getvalue()


def class_folders(root: Path) -> Case:
    """Persons in the classes, endings of all kinds, a linked part, junk."""
    elsewhere, labels = root / "elsewhere", {}
    endings = {".JPG": "JPEG", ".tif": "TIFF", ".gif": "GIF", ".jfif": "JPEG", ".png": "PNG"}
    for code, name in enumerate(("Anger", "Happiness", "sad", "NEUTRAL")):
        for number, (ending, kind) in enumerate(endings.items()):
            path = f"{name}/S{number % 2}/{number}{ending}"
            put(elsewhere / path, picture(10 * code + number, kind))
            labels[path] = {"Happiness": "happy"}.get(name, name.lower())
        junk(elsewhere / name / "S0")
    (root / "mine").mkdir()
    (root / "mine" / "train").symlink_to(elsewhere, target_is_directory=True)
    told = ("12 left out: left there by a system", "4 left out: no image by the end of its name")
    source = {"format": "class_folders"}
    return Case("mine", "train", source, "", labels, told, "elsewhere")


def numbered_folders(root: Path) -> Case:
    """Seven numbers with as many images each: nobody knows whose."""
    labels = {}
    for code, name in enumerate(FER_ORDER):
        for number in range(2):
            put(root / "set" / "train" / f"{code}" / f"{number}.jpg", jpeg(10 * code + number))
            labels[f"{code}/{number}.jpg"] = name
    return Case("set", "train", {"format": "class_folders"}, "fer2013", labels, (), "set")


def listed(root: Path) -> Case:
    """A spreadsheet's csv with codes of somebody's own; accents, a case, a bad row, junk."""
    rows, labels = ["\ufeff;Filename ;Emotion"], {}
    own = {"0": "sad", "1": "happy", "2": "fear", "9": "none"}
    (root / "own.yaml").write_text("0: sad\n1: Happiness\n2: fear\n9: none\n")
    for number in range(9):
        name = f"Zoe\u0308 {number}.JPG"  # as a Mac stores it
        put(root / "set" / "bilder" / name, jpeg(number))
        rows.append(f"{number};bilder\\Zo\u00eb {number}.jpg;{number % 3}.0")
        labels[f"bilder/{name}"] = own[f"{number % 3}"]
    put(root / "set" / "bilder" / "x.jpg", jpeg(99))
    rows += ["9;bilder/x.jpg;9", "10;bilder/._x.jpg;1"]
    put(root / "set" / "labels.csv", "\n".join(rows) + "\n")
    told = ("1 left out: labelled 9 (none)", "1 left out: left there by a system")
    source = {"format": "listed"}
    return Case("set/labels.csv", "", source, "own.yaml", labels, told, "set/bilder")


def rafdb(root: Path) -> Case:
    """A tab, names that end in `_aligned` already, the other part's lines, an outer folder."""
    labels, lines = {}, []
    names = ("surprise", "fear", "disgust", "happy", "sad", "anger", "neutral")
    base = root / "RAF-DB" / "basic"
    for number in range(14):
        name = f"train_{number:05}_aligned.jpg"
        put(base / "Image" / "aligned" / name, jpeg(number))
        written = name if number % 2 else name.replace("_aligned", "")
        lines.append(f"{written}{'	' if number % 3 else ' '}{number % 7 + 1}")
        labels[name] = names[number % 7]
    put(base / "Image" / "aligned" / "test_00001_aligned.jpg", jpeg(99))
    lines.append("test_00001.jpg 3")
    put(base / "EmoLabel" / "list_patition_label.txt", "\r\n".join(lines))
    return Case("RAF-DB", "train", {"format": "rafdb"}, "", labels)


def affectnet_table(root: Path) -> Case:
    """The tables of 2017 with a column of pandas', labels as floats, 8 to 10 left out."""
    codes = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
    rows = [(f"{n}/a.jpg", ",,,", f"{n % 11}.0") for n in range(11)]
    folder = trees.affectnet_2017(root / "AffectNet", rows)
    table = folder / "training.csv"
    head, *lines = table.read_text().splitlines()
    numbered = [f",{head.upper()}", *(f"{i},{line}" for i, line in enumerate(lines))]
    table.write_text("\n".join(numbered))
    labels = {f"{n}/a.jpg": codes[n] for n in range(8)}
    told = tuple(f"1 left out: labelled {n}.0" for n in (8, 9, 10))
    return Case("AffectNet", "train", {"format": "affectnet"}, "", labels, told)


def kaggle(root: Path) -> Case:
    """`icml_face_data.csv`: blanks in its first line, another order of the columns."""
    rows = ["emotion, Usage, pixels"]
    labels = {}
    for number in range(14):
        pixels = " ".join([f"{10 + number}"] * 2304)
        rows.append(f"{number % 7},Training,{pixels}")
        labels[f"Training_{number + 2}"] = FER_ORDER[number % 7]
    put(root / "icml_face_data.csv", "\n".join(rows) + "\n")
    return Case("icml_face_data.csv", "Training", {"format": "fer2013_csv"}, "", labels)


def ferplus(root: Path) -> Case:
    """As in its repository, the images below `data`; an image that is no face."""
    labels, rows = {}, []
    names = ("neutral", "happy", "surprise", "sad")
    for number in range(8):
        name = f"fer{number:07}.png"
        put(root / "FERPlus" / "data" / "FER2013Train" / name, picture(number, "PNG"))
        votes = ["0"] * 10
        votes[number % 4] = "9"
        rows.append(f"Training,{name},{','.join(votes)}")
        labels[f"data/FER2013Train/{name}"] = names[number % 4]
    rows.append("Training,,0,0,0,0,0,0,0,0,0,10")
    trees.ferplus(root / "FERPlus", rows)
    told = ("1 left out: no image name (no face)",)
    return Case("FERPlus", "Training", {"format": "ferplus"}, "", labels, told)


def expw(root: Path) -> Case:
    """Two faces in one photo."""
    lines, labels = [], {}
    for number in range(14):
        lines.append(
            f"{number // 2}.jpg {number % 2} 1 {1 + number} 30 {25 + number} 50 {number % 7}"
        )
        labels[f"{number // 2}.jpg#{number % 2}"] = FER_ORDER[number % 7]
    trees.expw(root / "ExpW", lines)
    return Case("ExpW", "", {"format": "expw"}, "", labels)


CASES: tuple[Callable[[Path], Case], ...] = (
    class_folders,
    numbered_folders,
    listed,
    rafdb,
    affectnet_table,
    kaggle,
    ferplus,
    expw,
)
CONFIG = {
    "name": "verbs",
    "data": {
        "test": {"format": "class_folders", "path": "other/test"},
        "validation": {"format": "class_folders", "path": "other/val"},
        "unlabelled": {"format": "identity_folders", "path": "other/people"},
        "num_classes": 8,
        "balanced": False,
        "stored_size": 32,
        "view_size": 32,
    },
    "aug": {"patches": "none"},
    "network": {"backbone": "small"},
    "training": {"num_steps": 1, "batch_size_fer": 4, "batch_size_fr": 4},
    "telemetry": {"distance_images": 0},
    "device": "cpu",
}


def others(root: Path) -> None:
    """The sets of a run that are not looked at here."""
    for folder, first in (("test", 500), ("val", 600)):
        for code, name in enumerate(("happy", "sad", "anger")):
            put(root / "other" / folder / name / "0.jpg", jpeg(first + code))
    for number in range(5):
        put(root / "other" / "people" / f"p{number}" / "0.jpg", jpeg(700 + number))


def run(capsys: Capture, *arguments: object) -> str:
    """What a verb says, on both streams."""
    status = main([str(argument) for argument in arguments])
    told = capsys.readouterr()
    assert status == 0, told.err
    return told.out + told.err


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_every_verb_sees_the_same_images_and_labels(
    make: Callable[[Path], Case], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make(tmp_path)
    others(tmp_path)
    monkeypatch.chdir(tmp_path)
    argument = f"{case.path}:{case.part}" if case.part else case.path
    codes = ("--codes", case.codes) if case.codes else ()
    given = case.codes
    if given.endswith(".yaml"):
        given = yaml.safe_load((tmp_path / given).read_text())
    source = {**case.source, "path": case.path, "part": case.part}
    source |= {"codes": given} if case.codes else {}
    if case.path == "RAF-DB":
        source["path"] = "RAF-DB/basic"

    # inspect
    from face2exp_lib.data.reading import read_codes

    table = read_codes(case.codes) if case.codes else None
    (found,) = [one for one in inspect(case.path, table) if one.part == case.part]
    faces = found.faces
    seen = dict(zip(faces.ids, (NAMES[code] for code in faces.known_labels()), strict=True))
    assert seen == case.labels
    digest = faces.digest
    told = run(capsys, "data", "inspect", case.path, *codes)
    assert f"{len(case.labels)} images" in told
    for reason in case.left_out:
        count, text = reason.split(" left out: ")
        assert any(
            line.split(":")[0].split() == ["left", "out", count] and text in line
            for line in told.splitlines()
        ), reason

    # audit
    (audited,) = distinct([AuditedSet(one, False) for one in read_sets(argument, table)])
    assert audited.faces.digest == digest
    told = run(capsys, "data", "audit", argument, *codes)
    assert f"{len(case.labels)} images, for" in told
    assert all(reason in told for reason in case.left_out)

    # shard
    told = run(
        capsys, "data", "shard", argument, "--out", "sh", "--size", 32, "--workers", 1, *codes
    )
    assert all(reason in told for reason in case.left_out)
    shards = {}
    for path in Path("sh").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                if member.name.endswith(".json"):
                    about = json.load(tar.extractfile(member) or io.BytesIO())
                    shards[about["id"]] = about["label"]
    assert shards == case.labels

    # landmarks
    told = run(capsys, "data", "landmarks", argument, "--out", "points.parquet", *codes)
    assert pq.read_table("points.parquet")["image"].to_pylist() == faces.ids

    # draw and train
    config = {**CONFIG, "data": {**CONFIG["data"], "labelled": source}}  # type: ignore[dict-item]
    Path("run.yaml").write_text(yaml.safe_dump(config))
    told = run(capsys, "data", "draw", "run.yaml", "--data-root", ".", "--out", "draw.csv")
    assert all(reason in told for reason in case.left_out)
    with open("draw.csv", newline="", encoding="utf-8") as file:
        rows = csv.DictReader(line for line in file if not line.startswith("#"))
        assert {row["image"]: row["label"] for row in rows} == case.labels
    told = run(capsys, "train", "run.yaml", "--data-root", ".", "--run-dir", "r")
    read = [note for note in faces.notes if "is an outer folder" not in note]
    assert all(f": {note}" in told for note in read)
    record = json.loads(Path("r/data.json").read_text())["sets"]["labelled"]
    assert (record["num_images"], record["digest"]) == (len(case.labels), digest)

    # evaluate --on
    run(capsys, "evaluate", "r", "--on", argument, "--data-root", ".", *codes)
    (written,) = Path("r").glob("evaluation-on-*.json")
    result = json.loads(written.read_text())
    assert (result["num_images"], result["list_digest"]) == (len(case.labels), digest)

    # predict, which reads images and no lists
    if case.images:
        run(capsys, "predict", "r", case.images, "--out", "p.csv", "--skip-bad")
        with open("p.csv", newline="", encoding="utf-8") as file:
            names = {Path(row["image"]).name for row in csv.DictReader(file)}
        assert names >= {Path(image).name for image in case.labels}


@pytest.mark.parametrize("verb", ["inspect", "audit", "shard", "landmarks", "draw", "train"])
def test_every_verb_asks_where_nothing_decides(
    verb: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbered_folders(tmp_path)
    others(tmp_path)
    monkeypatch.chdir(tmp_path)
    source = {"format": "class_folders", "path": "set", "part": "train"}
    config = {**CONFIG, "data": {**CONFIG["data"], "labelled": source}}  # type: ignore[dict-item]
    Path("run.yaml").write_text(yaml.safe_dump(config))
    arguments = {
        "shard": ("data", "shard", "set:train", "--out", "sh"),
        "draw": ("data", "draw", "run.yaml", "--data-root", ".", "--out", "draw.csv"),
        "train": ("train", "run.yaml", "--data-root", ".", "--run-dir", "r"),
    }.get(verb, ("data", verb, "set"))
    assert main(list(arguments)) == 1
    error = capsys.readouterr().err
    assert "its labels 0 to 6 may be those of 'fer2013' (0 is anger)" in error
    assert "--codes NAME" in error
    assert len(error.splitlines()) == 1
    assert not {"sh", "draw.csv"} & {path.name for path in tmp_path.iterdir()}
