"""Sets of shards as lists, ours and those of others."""

import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.data.formats.shards import read_shards, recognise
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.preparation.inspection import inspect
from face2exp_lib.rendering.layouts import ShardLayout
from face2exp_lib.runtime.errors import Face2ExpError
from tests.data.formats.trees import jpeg
from tests.data.shards.small_shards import numbered, numbers, sharded
from tests.data.shards.test_tar import entry, hostile


def elsewhere(
    folder: Path, names: Sequence[str] = ("a.jpg", "a.json", "b.jpg", "c.txt"), count: int = 2
) -> Path:
    """A tar with the index of wids alone."""
    folder.mkdir(exist_ok=True)
    path = folder / "others-000000.tar"
    with tarfile.open(path, "w") as archive:
        for number, name in enumerate(names):
            (folder / "x").write_bytes(jpeg(number) if name.endswith("jpg") else b"{}")
            archive.add(folder / "x", name)
    (folder / "x").unlink()
    return index(folder, path, count)


def index(folder: Path, path: Path, count: int) -> Path:
    entries = [{"url": path.name, "nsamples": count, "filesize": path.stat().st_size}]
    content = {"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": entries}
    (folder / "others.json").write_text(json.dumps(content))
    return folder


def test_ours(tmp_path: Path) -> None:
    sharded(tmp_path / "set", 25, 10)
    assert recognise(tmp_path / "set") == ["numbered"]
    faces = read_shards(tmp_path / "set", "", "")
    assert (faces.name, len(faces)) == ("set/numbered", 25)
    assert sorted(faces.ids) == sorted(numbered(25).ids)
    for row in (0, 13, 24):
        told = numbers(decode(faces.images, row, 8)[None])[0]
        assert faces.ids[row].endswith(f"/{told}.png")
        assert faces.known_labels()[row] == told % 7
    taken = faces.images.take(np.array([13, 2]))
    assert [taken.read(n) for n in (0, 1)] == [faces.images.read(n) for n in (13, 2)]
    assert list(taken.ids) == [faces.ids[13], faces.ids[2]]


def test_what_inspect_says(tmp_path: Path) -> None:
    sharded(tmp_path / "set", 28, 10)
    (part,) = inspect(tmp_path / "set")
    assert (part.format, part.part, part.unreadable, part.num_bad) == ("shards", "numbered", {}, 0)
    assert part.counts["happy"] == 4


def test_rendered_shards(tmp_path: Path) -> None:
    """Label, person and the true points come with them."""
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    rows = []
    for number, label in enumerate(("happy", "sad", "happy")):
        points = {
            f"{name}_{axis}": f"{number}.{k}" for k, name in enumerate(names) for axis in "xy"
        }
        row = {"image": f"{number:06d}.webp", "expression": label, "identity": "7", **points}
        rows.append((row, jpeg(number)))
    ShardLayout().write("part", "d", rows, tmp_path)
    faces = read_shards(tmp_path, "part", "")
    assert faces.ids == ["000000.webp", "000001.webp", "000002.webp"]
    assert [class_names(7)[code] for code in faces.known_labels()] == ["happy", "sad", "happy"]
    assert faces.identities is not None
    assert faces.identities.tolist() == ["7"] * 3
    assert faces.landmarks is not None
    assert np.allclose(faces.landmarks[2, :, 0], [2.0, 2.1, 2.2, 2.3, 2.4])
    assert faces.canonical is not None
    assert not faces.canonical.any()


def test_shards_of_others_without_tables(tmp_path: Path) -> None:
    faces = read_shards(elsewhere(tmp_path), "", "")
    assert faces.ids == ["others-000000.tar/a.jpg", "others-000000.tar/b.jpg"]
    assert [faces.images.read(n) for n in range(2)] == [jpeg(0), jpeg(2)]
    assert (faces.labels, faces.identities, faces.landmarks) == (None, None, None)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (entry("/etc/a.jpg"), "the name leaves the tar"),
        (entry("../../a.jpg"), "the name leaves the tar"),
        (entry("link.jpg", tarfile.SYMTYPE), "is no plain file"),
        (entry("device.jpg", tarfile.CHRTYPE), "is no plain file"),
    ],
)
def test_hostile_members_are_named_or_counted(
    tmp_path: Path, odd: tarfile.TarInfo, message: str
) -> None:
    path = hostile(tmp_path / "others-000000.tar", entry("fine.jpg", size=700), odd)
    index(tmp_path, path, 2)
    before = set(tmp_path.iterdir())
    with pytest.raises(Face2ExpError, match=rf"others-000000\.tar: .*{message}.*skip_bad"):
        read_shards(tmp_path, "", "")
    faces = read_shards(tmp_path, "", "", skip_bad=True)
    assert faces.ids == ["others-000000.tar/fine.jpg"]
    assert [(skipped.image, skipped.bad) for skipped in faces.skipped] == [
        (f"others-000000.tar/{odd.name}", True)
    ]
    assert set(tmp_path.iterdir()) == before


def test_a_tar_that_was_cut_off_before_it_was_listed(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    path = tmp_path / "others-000000.tar"
    path.write_bytes(path.read_bytes()[:1500])
    index(tmp_path, path, 2)
    with pytest.raises(Face2ExpError, match=r"others-000000\.tar: not readable as a tar"):
        read_shards(tmp_path, "", "", skip_bad=True)


def test_tars_that_count_from_0_each(tmp_path: Path) -> None:
    """An image is called by its tar, too."""
    elsewhere(tmp_path)
    shutil.copy(tmp_path / "others-000000.tar", tmp_path / "others-000001.tar")
    content = json.loads((tmp_path / "others.json").read_text())
    content["shardlist"].append({"url": "others-000001.tar", "nsamples": 2})
    (tmp_path / "others.json").write_text(json.dumps(content))
    faces = read_shards(tmp_path, "", "")
    assert faces.ids == [f"others-00000{n}.tar/{name}.jpg" for n in (0, 1) for name in "ab"]


def test_names_that_come_twice(tmp_path: Path) -> None:
    elsewhere(tmp_path, ("a.jpg", "b.jpg", "a.jpg"), 3)
    with pytest.raises(Face2ExpError, match=r"an image of this id came before: .*/a\.jpg"):
        read_shards(tmp_path, "", "")
    faces = read_shards(tmp_path, "", "", skip_bad=True)
    first, second = (f"others-000000.tar/{name}.jpg" for name in "ab")
    assert (faces.ids, [s.image for s in faces.skipped]) == ([first, second], [first])


def test_nothing_in_it(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no image"):
        read_shards(elsewhere(tmp_path, ("a.txt",), 1), "", "")


def test_what_is_no_set_of_shards(tmp_path: Path) -> None:
    assert recognise(tmp_path / "nothing") == []
    assert recognise(tmp_path) == []
    (tmp_path / "a.json").write_text('{"shardlist": []}')
    (tmp_path / "a.tar").write_bytes(b"")
    assert recognise(tmp_path) == []
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(Face2ExpError, match="holds no index of shards: if sharding was cut off"):
        read_shards(tmp_path, "", "")
    with pytest.raises(Face2ExpError, match="not readable as JSON"):
        read_shards(tmp_path, "a", "")


def test_an_image_that_is_none(tmp_path: Path) -> None:
    hostile(tmp_path / "others-000000.tar", entry("a.jpg", size=700))
    faces = read_shards(index(tmp_path, tmp_path / "others-000000.tar", 1), "", "")
    with pytest.raises(Face2ExpError, match=r"^others-000000\.tar/a\.jpg: not a readable image"):
        decode(faces.images, 0, 8)
    with pytest.raises(OSError, match="cannot identify"), faces.images.open(0) as image:
        assert isinstance(image, Image.Image)
