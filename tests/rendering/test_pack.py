"""Packs: whole or absent, resumed without a trace, and the committed one as it says it is."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from face2exp_lib.data.formats.folders import read_class_folders, read_identity_folders
from face2exp_lib.data.formats.rendered import read_rendered
from face2exp_lib.data.sampling import class_counts
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.rendering import FaceSpec, layouts, make_spec, pack, render_face
from face2exp_lib.rendering.expressions import CLASSES
from face2exp_lib.rendering.head import LANDMARKS
from face2exp_lib.rendering.layouts import LAYOUTS
from face2exp_lib.rendering.parts import Part, load_parts
from face2exp_lib.runtime.errors import Face2ExpError

RENDERED = Path(__file__).parents[2] / "data" / "rendered"
COMMITTED = load_parts(RENDERED / "spec.yaml")
PARTS = {part.name: part.spec.count for part in COMMITTED}
# Images of RAF-DB's training set (Li, Deng & Du, CVPR 2017).
RAF_DB_TRAINING_COUNTS = {
    "neutral": 2524,
    "happy": 4772,
    "surprise": 1290,
    "sad": 1982,
    "anger": 705,
    "disgust": 717,
    "fear": 281,
}
MIXED: dict[str, Any] = {
    "count": 10,
    "size": 16,
    "num_identities": 7,
    "classes": {"contempt": 2, "sad+anger": 2, "neutral": 1},
}
SEEN = Part("seen", make_spec({**MIXED, "purpose": "seen"}))
UNSEEN = Part("unseen", make_spec({**MIXED, "purpose": "unseen"}), labelled=False)
OLDER = Part("unseen", make_spec({**MIXED, "purpose": "older", "count": 18}), labelled=False)

Contents = Callable[[Path], dict[str, bytes]]
Patch = pytest.MonkeyPatch


class SketchRecord:
    """The truth about an image that `sketch` made."""

    def __init__(self, expression: str, identity: int) -> None:
        self.cells = {"expression": expression, "identity": str(identity), "intensity": "0.250"}

    def row(self) -> dict[str, str]:
        return self.cells


def sketch(spec: FaceSpec, index: int) -> tuple[np.ndarray, SketchRecord]:
    """In place of `render_face`, where only what happens to the images is of interest."""
    noise = spec.generator("sketch", index)
    identity = spec.first_identity + int(noise.integers(spec.num_identities))
    image = noise.integers(0, 256, (spec.size, spec.size, 3)).astype(np.uint8)
    return image, SketchRecord(spec.mixture(index).split("+")[0], identity)


@pytest.fixture
def sketched(monkeypatch: Patch) -> list[tuple[str, int]]:
    """Sketches, chunks of 4 and shards of 3; gives back what is drawn, as it is drawn."""
    drawn = []

    def note(spec: FaceSpec, index: int) -> tuple[np.ndarray, SketchRecord]:
        drawn.append((spec.purpose, index))
        return sketch(spec, index)

    monkeypatch.setattr(pack, "render_face", note)
    monkeypatch.setattr(pack, "CHUNK_IMAGES", 4)
    monkeypatch.setattr(layouts, "SHARD_IMAGES", 3)
    monkeypatch.setattr(pack, "WEBP_EFFORT", 0)
    for name in ("sync", "fsync"):  # slow, and of no use to a test
        monkeypatch.setattr(os, name, lambda *_: None)
    return drawn


def visible(contents: dict[str, bytes]) -> dict[str, bytes]:
    """What a folder is for, without what is hidden in it."""
    return {
        name: content
        for name, content in contents.items()
        if not name.startswith(".") and "/." not in name
    }


# What lies where


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize(
    ("layout", "files"),
    [
        ("zip", {"seen.zip", "unseen.zip"}),
        (
            "folders",
            {
                *(f"seen/contempt/{n:06d}.webp" for n in (0, 3, 5, 8)),
                *(f"seen/sad/{n:06d}.webp" for n in (1, 4, 6, 9)),
                *(f"seen/neutral/{n:06d}.webp" for n in (2, 7)),
                *(
                    f"unseen/{int(sketch(UNSEEN.spec, n)[1].cells['identity']):06d}/{n:06d}.webp"
                    for n in range(10)
                ),
            },
        ),
        (
            "shards",
            {
                *(
                    f"{name}-{n:06d}.{kind}"
                    for name in ("seen", "unseen")
                    for n in range(4)
                    for kind in ("tar", "parquet")
                ),
                *("seen.json", "unseen.json"),
            },
        ),
    ],
)
def test_files_of_each_layout(
    layout: str, files: set[str], tmp_path: Path, contents: Contents
) -> None:
    pack.write_pack([SEEN, UNSEEN], tmp_path, layout)
    assert visible(contents(tmp_path)).keys() == files | {
        "seen.csv",
        "unseen.csv",
        "unseen_truth.csv",
    }
    hidden = contents(tmp_path).keys() - visible(contents(tmp_path)).keys()
    assert hidden <= {".lock", "seen/.digest", "unseen/.digest"}


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pictures_and_truth_are_those_drawn(
    layout: str, tmp_path: Path, contents: Contents
) -> None:
    pack.write_pack([SEEN, UNSEEN], tmp_path, layout)
    for part, truth in ((SEEN, "seen"), (UNSEEN, "unseen_truth")):
        rows = read_csv(tmp_path / f"{truth}.csv")
        assert [Path(row["image"]).name for row in rows] == [f"{n:06d}.webp" for n in range(10)]
        for index, row in enumerate(rows):
            image, record = sketch(part.spec, index)
            assert row == {"image": row["image"], **record.cells}
            assert stored(tmp_path, part.name, layout, row["image"]) == pack.encode_webp(image)
    public = read_csv(tmp_path / "unseen.csv")
    assert public == [
        {"image": row["image"], "identity": row["identity"]}
        for row in read_csv(tmp_path / "unseen_truth.csv")
    ]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def stored(out: Path, name: str, layout: str, image: str) -> bytes:
    if layout == "zip":
        with zipfile.ZipFile(out / f"{name}.zip") as archive:
            return archive.read(image)
    if layout == "folders":
        return (out / name / image).read_bytes()
    for path in out.glob(f"{name}-*.tar"):
        with tarfile.open(path) as archive:
            if image in archive.getnames():
                file = archive.extractfile(image)
                assert file is not None
                return file.read()
    raise AssertionError(f"{image} is in no shard")


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_but_the_truth_file_tells_what_unlabelled_faces_show(
    layout: str, tmp_path: Path, contents: Contents
) -> None:
    pack.write_pack([UNSEEN], tmp_path, layout)
    for name, content in contents(tmp_path).items():
        if name != "unseen_truth.csv":
            for word in ("contempt", "sad", "neutral", "0.25", "expression", "intensity"):
                assert word not in name
                assert word.encode() not in content, name


@pytest.mark.usefixtures("sketched")
def test_samples_of_shards(tmp_path: Path) -> None:
    """An image and a JSON object side by side, under one key, as WebDataset groups them."""
    pack.write_pack([SEEN, UNSEEN], tmp_path, "shards")
    names, objects = [], []
    for path in sorted(tmp_path.glob("seen-*.tar")):
        with tarfile.open(path) as archive:
            names.append(archive.getnames())
            for info in archive:
                assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 420)
                file = archive.extractfile(info)
                if file is not None and info.name.endswith(".json"):
                    objects.append(json.load(file))
    assert [len(held) for held in names] == [6, 6, 6, 2]
    assert names[1] == [f"{n:06d}.{kind}" for n in (3, 4, 5) for kind in ("webp", "json")]
    for index, held in enumerate(objects):
        cells = sketch(SEEN.spec, index)[1].cells
        identity = int(cells["identity"])
        assert held == {"expression": cells["expression"], "identity": identity, "intensity": 0.25}
    index = json.loads((tmp_path / "seen.json").read_text())
    assert [(shard["url"], shard["nsamples"]) for shard in index["shardlist"]] == [
        (f"seen-{n:06d}.tar", held) for n, held in enumerate((3, 3, 3, 1))
    ]
    with tarfile.open(tmp_path / "unseen-000000.tar") as archive:
        file = archive.extractfile("000000.json")
        assert file is not None
        assert json.load(file).keys() == {"identity"}


def test_contempt_and_compounds_come_back_with_their_labels(tmp_path: Path) -> None:
    """Drawn for once, not sketched."""
    pack.write_pack([SEEN], tmp_path / "zip")
    pack.write_pack([SEEN, UNSEEN], tmp_path / "folders", "folders")
    expected = {**dict.fromkeys(class_names(8), 0), "neutral": 2, "sad": 4, "contempt": 4}
    packed = read_rendered(tmp_path / "zip", "seen", "names")
    unpacked = read_class_folders(tmp_path / "folders", "seen", "names")
    for faces in (packed, unpacked):
        assert class_counts(faces.known_labels(), class_names(8)) == expected
    order = [Path(name).name for name in unpacked.ids]
    for row, name in enumerate(packed.ids):
        assert packed.images.read(row) == unpacked.images.read(order.index(name))
    mixtures = Counter(row["mixture"] for row in read_csv(tmp_path / "zip" / "seen.csv"))
    assert mixtures == {"neutral:1.00": 2, "sad:0.60 anger:0.40": 4, "contempt:1.00": 4}

    strangers = read_identity_folders(tmp_path / "folders", "unseen", "names")
    assert strangers.labels is None
    assert strangers.identities is not None
    told = {row["image"]: row["identity"] for row in read_csv(tmp_path / "folders" / "unseen.csv")}
    assert {name: int(i) for name, i in zip(strangers.ids, strangers.identities, strict=True)} == {
        name: int(identity) for name, identity in told.items()
    }


def test_the_spec_file_is_copied_as_it_is(tmp_path: Path, sketched: list[Any]) -> None:
    path = tmp_path / "faces.yaml"
    path.write_text("# mine\n{count: 3, size: 16}\n")
    (part,) = pack.render_pack(path, tmp_path / "out")
    assert part == Part("faces", FaceSpec(count=3, size=16, purpose="faces"))
    assert (tmp_path / "out" / "faces.yaml").read_bytes() == path.read_bytes()
    sketched.clear()
    pack.render_pack(tmp_path / "out" / "faces.yaml", tmp_path / "out")
    assert sketched == []


# Interrupted, killed, out of room


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_interrupted_pack_goes_on_and_ends_the_same(
    layout: str, tmp_path: Path, monkeypatch: Patch, sketched: list[Any], contents: Contents
) -> None:
    pack.write_pack([SEEN, UNSEEN], tmp_path / "at_once", layout)
    sketched.clear()
    render = pack.render_face

    def render_until_interrupted(spec: FaceSpec, index: int) -> Any:
        if len(sketched) == 6:
            raise KeyboardInterrupt
        return render(spec, index)

    with monkeypatch.context() as patch:
        patch.setattr(pack, "render_face", render_until_interrupted)
        with pytest.raises(KeyboardInterrupt):
            pack.write_pack([SEEN, UNSEEN], tmp_path / "resumed", layout)
    assert visible(contents(tmp_path / "resumed")) == {}
    sketched.clear()
    pack.write_pack([SEEN, UNSEEN], tmp_path / "resumed", layout)
    # The first chunk of 4 was kept.
    assert sketched == [*(("seen", n) for n in range(4, 10)), *(("unseen", n) for n in range(10))]
    assert contents(tmp_path / "resumed") == contents(tmp_path / "at_once")

    sketched.clear()
    pack.write_pack([SEEN, UNSEEN], tmp_path / "resumed", layout)
    assert sketched == []


class Killed(BaseException):
    """Passes every `except` that means to clean up after an error, as the end of a process does."""


@contextmanager
def killed_at(step: int) -> Iterator[list[str]]:
    """Let no change to the file system come after the first `step`; gives back those made."""
    made: list[str] = []

    def watch(patch: Patch, owner: Any, name: str) -> None:
        change = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if len(made) == step:
                raise Killed
            made.append(name)
            return change(*arguments, **options)

        patch.setattr(owner, name, watched)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink", "mkdir", "write_bytes", "write_text"):
            watch(patch, Path, name)
        for name in ("replace", "fsync", "rmdir", "unlink"):
            watch(patch, os, name)
        yield made


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("before", [[], [OLDER]], ids=["empty", "older"])
def test_killed_anywhere_nothing_half_written_counts_as_whole(
    before: list[Part], layout: str, tmp_path: Path, contents: Contents
) -> None:
    """At each step the process dies, in an empty folder and in one with more images of before."""
    older, newer = tmp_path / "older", tmp_path / "newer"
    pack.write_pack(before, older, layout)
    pack.write_pack([UNSEEN], newer, layout)
    whole = {part.digest: visible(contents(older)) for part in before}
    whole[UNSEEN.digest] = visible(contents(newer))
    for step in range(1000):
        out = Path(shutil.copytree(older, tmp_path / f"{step}"))
        try:
            with killed_at(step):
                pack.write_pack([UNSEEN], out, layout)
            break
        except Killed:
            for part in (*before, UNSEEN):
                if pack.is_whole(part, out, layout):
                    assert visible(contents(out)) == whole[part.digest]
        pack.write_pack([UNSEEN], out, layout)
        assert contents(out) == contents(newer)
    assert step > 20
    assert contents(out) == contents(newer)


def test_sigkill_between_two_workers(
    tmp_path: Path, monkeypatch: Patch, contents: Contents
) -> None:
    """Faces, processes and a signal as they are; then the rest by one worker."""
    parts = [Part(name, make_spec({**MIXED, "count": 24, "purpose": name})) for name in "ab"]
    program = """
import sys
from pathlib import Path
from face2exp_lib.rendering import pack
from face2exp_lib.rendering.parts import load_parts
pack.CHUNK_IMAGES = 4
pack.write_pack(load_parts(Path(sys.argv[1])), Path(sys.argv[2]), workers=2)
"""
    spec, killed, at_once = tmp_path / "spec.yaml", tmp_path / "killed", tmp_path / "at_once"
    fields = {key: value for key, value in MIXED.items() if key != "count"} | {"count": 24}
    spec.write_text(json.dumps({"parts": {"a": fields, "b": fields}}))
    command = [sys.executable, "-c", program, str(spec), str(killed)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        while not list(killed.glob(".a.*/*.zip")):
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            time.sleep(0.01)
        process.kill()
    assert list(killed.glob("*.csv")) == []
    monkeypatch.setattr(pack, "CHUNK_IMAGES", 4)
    pack.write_pack(parts, killed)
    monkeypatch.setattr(pack, "CHUNK_IMAGES", 100)
    pack.write_pack(parts, at_once)
    assert contents(killed) == contents(at_once)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_full_disk_keeps_what_is_drawn(
    layout: str, tmp_path: Path, sketched: list[Any], contents: Contents
) -> None:
    pack.write_pack([UNSEEN], tmp_path / "roomy", layout)
    sketched.clear()
    out = tmp_path / "full"

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Face2ExpError, match=r"000000-000004\.zip: cannot write .*: free some"):
            pack.write_pack([UNSEEN], out, layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "sync", full)  # of the tables, when all images are drawn
        with pytest.raises(Face2ExpError, match=r"full: cannot write unseen .* is kept"):
            pack.write_pack([UNSEEN], out, layout)
    assert visible(contents(out)) == {}
    sketched.clear()
    pack.write_pack([UNSEEN], out, layout)
    assert sketched == []
    assert contents(out) == contents(tmp_path / "roomy")


@pytest.mark.usefixtures("sketched")
def test_a_damaged_chunk_is_named(tmp_path: Path, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pack, "_finish", lambda *_: None)
        pack.write_pack([SEEN], tmp_path)
    (path,) = tmp_path.glob(".seen.*/000004-000008.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(Face2ExpError, match=r"000004-000008\.zip: damaged .*: delete it and run"):
        pack.write_pack([SEEN], tmp_path)
    path.unlink()
    pack.write_pack([SEEN], tmp_path)
    assert pack.is_whole(SEEN, tmp_path)


def test_a_table_lost_is_made_again(
    tmp_path: Path, sketched: list[Any], contents: Contents
) -> None:
    pack.write_pack([UNSEEN], tmp_path)
    before = contents(tmp_path)
    for table in ("unseen.csv", "unseen_truth.csv"):
        (tmp_path / table).unlink()
        assert not pack.is_whole(UNSEEN, tmp_path)
        sketched.clear()
        pack.write_pack([UNSEEN], tmp_path)
        assert len(sketched) == 10
        assert contents(tmp_path) == before


# Folders that hold something already, or cannot hold anything


@pytest.mark.usefixtures("sketched")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_not_from_here_is_left_alone(
    layout: str, tmp_path: Path, contents: Contents
) -> None:
    pack.write_pack([UNSEEN], tmp_path / "rendered", layout)
    others = sorted(set(LAYOUTS) - {layout})
    for other in others:
        with pytest.raises(Face2ExpError, match=f"holds 'unseen' as {layout}: choose another"):
            pack.write_pack([UNSEEN], tmp_path / "rendered", other)
    mine = {
        "zip": ["unseen.zip"],
        "folders": ["unseen/letter.txt", "unseen"],
        "shards": ["unseen-000000.tar", "unseen.json"],
    }
    for number, name in enumerate([*mine[layout], "unseen.csv", "unseen_truth.csv"]):
        folder = tmp_path / f"{number}"
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("mine")
        with pytest.raises(Face2ExpError, match="choose another folder, or move it away"):
            pack.write_pack([UNSEEN], folder, layout)
        assert visible(contents(folder)) == {name: b"mine"}


@pytest.mark.usefixtures("sketched")
def test_an_index_that_lists_files_elsewhere_reaches_none(tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack.write_pack([OLDER], out, "shards")
    index = json.loads((out / "unseen.json").read_text())
    (tmp_path / "letter.txt").write_text("mine")
    index["shardlist"] += [{"url": "../letter.txt"}, {"url": 3}, "unseen"]
    (out / "unseen.json").write_text(json.dumps(index))
    pack.write_pack([UNSEEN], out, "shards")
    assert (tmp_path / "letter.txt").read_text() == "mine"
    assert pack.is_whole(UNSEEN, out, "shards")


def test_two_at_once(tmp_path: Path, sketched: list[Any]) -> None:
    tmp_path.joinpath("out").mkdir()
    busy = "out: another process is rendering into this folder"
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(Face2ExpError, match=busy):
        pack.write_pack([SEEN], tmp_path / "out")
    assert sketched == []


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_target_that_is_a_file(where: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Face2ExpError, match=f"{where}: cannot write here .*: choose a folder"):
        pack.write_pack([SEEN], tmp_path / where)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_target_that_is_read_only(tmp_path: Path, monkeypatch: Patch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(Face2ExpError, match=r"cannot write here \(Read-only file system\): choose"):
        pack.write_pack([SEEN], tmp_path / "out")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write there")
def test_a_target_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Face2ExpError, match=r"cannot write here \(Permission denied\): choose"):
        pack.write_pack([SEEN], tmp_path)


def test_a_chunk_grows_with_its_images_not_beyond_seconds(tmp_path: Path) -> None:
    sizes = {16: 50, 96: 50, 224: 9, 1024: 1}
    for size, images in sizes.items():
        part = Part("a", FaceSpec(count=120, size=size))
        chunks = list(pack._chunks(part, tmp_path))
        assert chunks[0].stop == images
        assert [chunk.start for chunk in chunks[1:]] == [chunk.stop for chunk in chunks[:-1]]
        assert chunks[-1].stop == 120


# The committed pack


def table(name: str) -> list[dict[str, str]]:
    return read_csv(RENDERED / f"{name}.csv")


def truth(name: str) -> list[dict[str, str]]:
    return table("fr_truth" if name == "fr" else name)


@pytest.mark.parametrize("name", PARTS)
def test_committed_zip_holds_what_the_table_lists(name: str) -> None:
    rows = table(name)
    assert len(rows) == PARTS[name]
    assert [row["image"] for row in rows] == [f"{i:06d}.webp" for i in range(PARTS[name])]
    with zipfile.ZipFile(RENDERED / f"{name}.zip") as archive:
        assert archive.namelist() == [row["image"] for row in rows]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert archive.testzip() is None
        for index in (0, PARTS[name] // 2, PARTS[name] - 1):
            image = Image.open(io.BytesIO(archive.read(f"{index:06d}.webp")))
            assert (image.format, image.mode, image.size) == ("WEBP", "RGB", (64, 64))


def test_committed_pack_is_that_of_its_spec_and_small() -> None:
    assert PARTS.keys() == {"fer_train", "fer_val", "fer_test", "fr"}
    assert [part.name for part in COMMITTED if not part.labelled] == ["fr"]
    assert all(pack.is_whole(part, RENDERED) for part in COMMITTED)
    assert sum(path.stat().st_size for path in RENDERED.iterdir()) <= 40e6


def test_committed_images_are_those_of_the_spec() -> None:
    # Up to rounding: other processors and other codecs may differ by a little.
    for part in COMMITTED:
        with zipfile.ZipFile(RENDERED / f"{part.name}.zip") as archive:
            stored = np.asarray(Image.open(io.BytesIO(archive.read("000001.webp"))))
        again = np.asarray(Image.open(io.BytesIO(pack.encode_webp(render_face(part.spec, 1)[0]))))
        assert np.abs(stored.astype(int) - again).mean() < 2


def test_committed_training_part_has_the_class_ratios_of_raf_db() -> None:
    counts = Counter(row["expression"] for row in table("fer_train"))
    for name, count in RAF_DB_TRAINING_COUNTS.items():
        assert counts[name] == pytest.approx(PARTS["fer_train"] * count / 12271, abs=1)


@pytest.mark.parametrize(("name", "per_class"), [("fer_val", 150), ("fer_test", 300)])
def test_committed_balanced_parts(name: str, per_class: int) -> None:
    counts = Counter(row["expression"] for row in table(name))
    assert counts == dict.fromkeys(CLASSES[:7], per_class)


def test_committed_parts_share_no_person() -> None:
    people = {name: {row["identity"] for row in table(name)} for name in PARTS}
    assert sum(map(len, people.values())) == len(set().union(*people.values()))
    assert len(people["fr"]) > 1400


def test_committed_unlabelled_table_tells_no_label() -> None:
    assert list(table("fr")[0]) == ["image", "identity"]
    rows, answers = table("fr"), truth("fr")
    assert [(row["image"], row["identity"]) for row in rows] == [
        (row["image"], row["identity"]) for row in answers
    ]
    counts = Counter(row["expression"] for row in answers)
    assert counts["neutral"] + counts["happy"] > 0.6 * PARTS["fr"]
    assert counts["neutral"] > counts["happy"] > 2.5 * max(counts[name] for name in CLASSES[2:])
    compounds = sum(" " in row["mixture"] for row in answers)
    assert 0.08 < compounds / PARTS["fr"] < 0.16


@pytest.mark.parametrize("name", PARTS)
def test_committed_landmarks_lie_in_the_picture(name: str) -> None:
    rows = truth(name)
    assert list(rows[0])[:3] == ["image", "expression", "identity"]
    points = np.array(
        [[float(row[f"{mark}_{axis}"]) for axis in "xy"] for row in rows for mark in LANDMARKS]
    )
    points = points.reshape(len(rows), 5, 2)
    assert ((points > 0) & (points < 64)).all()
    assert (points[:, 0, 0] < points[:, 1, 0]).all()
    assert (points[:, 3, 0] < points[:, 4, 0]).all()
