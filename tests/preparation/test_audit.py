"""Which images have copies, and which of them training should drop."""

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.config import load_config
from face2exp_lib.data.lists import read_drops
from face2exp_lib.data.recognition import read_sets
from face2exp_lib.preparation.audit import Audit, audit, write_audit
from face2exp_lib.preparation.audited_sets import (
    AuditedSet,
    distinct,
    for_evaluation,
    sets_of_config,
)
from face2exp_lib.runtime.errors import Face2ExpError


def blobs(seed: int, quality: int | None = None) -> bytes:
    """A picture with large structures, as faces have: a PNG, or a JPEG of some quality."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "PNG")
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def again(content: bytes) -> bytes:
    """The same pixels in other bytes."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


FILES = {
    "fer/train/happy/alone.png": blobs(0),
    "fer/train/happy/leaked.png": blobs(1),
    "fer/train/sad/leaked too.png": again(blobs(1)),
    "fer/test/happy/t1.png": blobs(1),
    "fer/train/happy/twice a.png": blobs(2),
    "fer/train/happy/twice b.png": blobs(2),
    "fer/train/happy/conflict.png": blobs(3),
    "fer/train/sad/conflict.png": blobs(3),
    "fer/train/sad/near test.jpg": blobs(4, quality=40),
    "fer/test/sad/t2.png": blobs(4),
    "fer/test/sad/t3.png": blobs(5),
    "fer/test/sad/t3 again.png": blobs(5),
    "fer/train/sad/near a.jpg": blobs(6, quality=50),
    "fer/train/sad/near b.jpg": blobs(6, quality=80),
    "people/ann/1.png": blobs(7),
    "people/ann/of test.png": blobs(5),
    "people/ann/of train.png": blobs(0),
    "people/bob/of conflict.png": blobs(3),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def sets(root: Path) -> list[AuditedSet]:
    return [
        AuditedSet(faces, for_evaluation(faces.name))
        for text in (f"{root}/fer:train", f"{root}/people", f"{root}/fer:test")
        for faces in read_sets(text)
    ]


@pytest.fixture(scope="module")
def result(root: Path) -> Audit:
    return audit(sets(root))


def drops(result: Audit) -> set[str]:
    return {one.image for one in result.found if one.drop}


def test_counts_by_hand(result: Audit) -> None:
    """The same bytes: pictures 0, 1, 2, 3 and 5, of 2, 2, 2, 3 and 3 images."""
    assert result.exact_groups == 5
    assert result.redundant == 1 + 1 + 1 + 2 + 2
    assert result.pixel_groups == 5
    assert result.conflicting == 2  # pictures 1 and 3
    assert result.near_pairs == 2  # pictures 4 and 6
    assert result.unreadable == []


def test_copies_between_sets(result: Audit) -> None:
    """By the closest copy of each image in the other set."""
    counted = {pair: tuple(kinds.values()) for pair, kinds in result.between.items()}
    assert counted == {
        # twice a, twice b, conflict, conflict; leaked, leaked too; near a, near b
        ("fer/train", "fer/train"): (4, 2, 2),
        ("fer/train", "fer/test"): (1, 1, 1),
        ("fer/train", "people"): (3, 0, 0),
        ("fer/test", "fer/train"): (1, 0, 1),
        ("fer/test", "fer/test"): (2, 0, 0),
        ("fer/test", "people"): (2, 0, 0),
        ("people", "fer/train"): (2, 0, 0),
        ("people", "fer/test"): (1, 0, 0),
        ("people", "people"): (0, 0, 0),
    }


def test_what_training_should_drop(result: Audit) -> None:
    reasons = {one.image: one.reason for one in result.found if one.drop}
    assert reasons == {
        "happy/leaked.png": "copy of fer/test: happy/t1.png",
        "sad/leaked too.png": "copy of fer/test: happy/t1.png",
        "happy/twice b.png": "copy of fer/train: happy/twice a.png",
        "happy/conflict.png": "its copies have other labels",
        "sad/conflict.png": "its copies have other labels",
        "ann/of test.png": "copy of fer/test: sad/t3 again.png",
        "ann/of train.png": "copy of fer/train: happy/alone.png",
        "bob/of conflict.png": "copy of fer/train: happy/conflict.png",
    }


def test_near_copies_of_evaluation_images_are_dropped_on_demand(root: Path, result: Audit) -> None:
    assert drops(audit(sets(root), drop_near=True)) - drops(result) == {"sad/near test.jpg"}


def test_evaluation_images_are_never_dropped(root: Path) -> None:
    everything = [AuditedSet(audited.faces, True) for audited in sets(root)]
    assert drops(audit(everything, drop_near=True)) == set()


def test_rows(result: Audit) -> None:
    of = {(one.set_name, one.image): one for one in result.found}
    assert ("people", "ann/1.png") not in of
    leaked = of["fer/train", "happy/leaked.png"]
    assert (leaked.kind, leaked.label, leaked.distance) == ("exact", "happy", 0)
    assert of["fer/train", "sad/leaked too.png"].kind == "pixels"
    assert of["fer/test", "happy/t1.png"].group == leaked.group
    assert of["people", "ann/of test.png"].label == ""
    near, other = of["fer/train", "sad/near a.jpg"], of["fer/train", "sad/near b.jpg"]
    assert (near.kind, near.group) == ("near", other.group)
    assert 0 <= near.distance == other.distance <= 40
    assert near.reason == f"{near.distance} bits from fer/train: sad/near b.jpg"
    groups = [one.group for one in result.found]
    assert groups == sorted(groups)
    assert set(groups) == set(range(1, 8))


def test_no_near_copies_wanted(root: Path) -> None:
    exact = audit(sets(root), max_distance=-1)
    assert exact.near_pairs == 0
    assert Counter(one.kind for one in exact.found) == {"exact": 12, "pixels": 1}


def test_table_is_read_back(result: Audit, tmp_path: Path) -> None:
    write_audit(tmp_path / "drop.csv", result.found)
    listed = read_drops(tmp_path / "drop.csv")
    sources = {(one.set_name, one.origin) for one in result.found}
    assert set().union(*(listed.ids(*source) for source in sources)) == drops(result)
    assert len((tmp_path / "drop.csv").read_text().splitlines()) == len(result.found) + 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FER2013/PublicTest", True),
        ("x/val_set", True),
        ("fer_test", True),
        ("validation", True),
        ("test/train", False),
        ("fer_train", False),
        ("latest", False),
        ("valerie", False),
    ],
)
def test_names_of_sets_for_evaluation(name: str, expected: bool) -> None:
    assert for_evaluation(name) is expected


def test_sets_of_a_config() -> None:
    found = sets_of_config(load_config(Path("rendered_cpu.yaml")), None)
    assert [(audited.faces.name, audited.evaluation) for audited in found] == [
        ("fer_train", False),
        ("fer_val", True),
        ("fer_test", True),
        ("fr", False),
    ]


def test_sets_that_cannot_be_read(root: Path, tmp_path: Path) -> None:
    (tmp_path / "bad" / "happy").mkdir(parents=True)
    (tmp_path / "bad" / "sad").mkdir(parents=True)
    for name in ("happy/1.png", "sad/1.png"):
        (tmp_path / "bad" / name).write_bytes(b"")
    (bad,) = read_sets(str(tmp_path / "bad"))
    with pytest.raises(Face2ExpError, match="bad: no image can be read"):
        audit([AuditedSet(bad, False)])
    with_bad = audit([*sets(root), AuditedSet(bad, False)])
    assert len(with_bad.unreadable) == 2


def test_two_sets_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder / "faces").mkdir(parents=True)
        (tmp_path / folder / "faces" / "1.png").write_bytes(blobs(seed))
        (tmp_path / folder / "faces" / "2.png").write_bytes(blobs(9))
        table = "path,label\n1.png,happy\n2.png,sad\n"
        (tmp_path / folder / "faces" / "labels.csv").write_text(table)
    tables = [read_sets(f"{tmp_path}/{folder}/faces/labels.csv") for folder in "ab"]
    found = audit([AuditedSet(faces, False) for (faces,) in tables])
    assert set(found.between) == {
        (f"{one}/faces/labels.csv", f"{other}/faces/labels.csv") for one in "ab" for other in "ab"
    }
    (dropped,) = [one for one in found.found if one.drop]
    assert (dropped.set_name, dropped.image) == ("b/faces/labels.csv", "2.png")
    assert dropped.origin == f"{tmp_path.resolve()}/b/faces/labels.csv"


def test_a_set_that_is_named_twice_is_audited_once(root: Path, tmp_path: Path) -> None:
    """However it is spelt; as labelled faces, as unlabelled ones, or for evaluation, too."""
    (tmp_path / "link").symlink_to(root / "fer", target_is_directory=True)
    spelt = [f"{root}/fer:train", f"{root}/fer/train", f"{root}/people/../fer:train",
             f"{tmp_path}/link:train"]  # fmt: skip
    (once,) = distinct([AuditedSet(read_sets(text)[0], False) for text in spelt])
    assert once.faces.name == "fer/train"
    labelled = read_sets(spelt[0])[0]
    (both,) = distinct(
        [AuditedSet(replace(labelled, labels=None), False), AuditedSet(labelled, True)]
    )
    assert both.evaluation
    assert both.faces.labels is not None


@pytest.mark.full
def test_fer2013(real_faces: Path) -> None:
    """The published parts. That there are 280 and 351 is also seen in `test_splits`."""
    train, public = (read_sets(f"{real_faces}:{part}")[0] for part in ("train", "validation"))
    found = audit([AuditedSet(train, False), AuditedSet(public, True)], max_distance=-1)
    assert found.redundant == 1_532
    assert found.conflicting == 47
    assert found.between[public.name, train.name]["exact"] == 280
    assert found.between[train.name, public.name]["exact"] == 351
    assert found.exact_groups == found.pixel_groups == 1_273
    dropped = {one.image for one in found.found if one.drop}
    assert len(dropped) == 1_539  # as measured
    assert {one.set_name for one in found.found if one.drop} == {train.name}
