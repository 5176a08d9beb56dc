"""Packs: whole or absent, resumed without a trace, and the committed one as it says it is."""

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.faces import SpecError, make_spec, pack, render_face
from face2exp_lib.faces.default_pack import RAF_DB_TRAINING_COUNTS
from face2exp_lib.faces.expressions import CLASSES
from face2exp_lib.faces.head import LANDMARKS

RENDERED = Path(__file__).parents[2] / "data" / "rendered"
PARTS = {"fer_train": 3000, "fer_val": 7 * 60, "fer_test": 7 * 150, "fr": 8000}


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[pack.Part]:
    monkeypatch.setattr(pack, "CHUNK_IMAGES", 4)
    values = {"count": 10, "size": 16, "num_identities": 7}
    return [
        pack.Part("seen", make_spec({**values, "purpose": "seen"}), labelled=True),
        pack.Part("unseen", make_spec({**values, "purpose": "unseen"}), labelled=False),
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_an_interrupted_pack_goes_on_and_ends_the_same(
    parts: list[pack.Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack.write_pack(parts, tmp_path / "at_once")
    drawn: list[int] = []

    def render_until_interrupted(spec, index):  # type: ignore[no-untyped-def]
        if len(drawn) == 6:
            raise KeyboardInterrupt
        drawn.append(index)
        return render_face(spec, index)

    monkeypatch.setattr(pack, "render_face", render_until_interrupted)
    with pytest.raises(KeyboardInterrupt):
        pack.write_pack(parts, tmp_path / "resumed")
    assert not list((tmp_path / "resumed").glob("*.*"))[1:]  # nothing but the hidden chunks
    redrawn: list[int] = []

    def render_and_note(spec, index):  # type: ignore[no-untyped-def]
        redrawn.append(index)
        return render_face(spec, index)

    monkeypatch.setattr(pack, "render_face", render_and_note)
    pack.write_pack(parts, tmp_path / "resumed")
    assert redrawn == [*range(4, 10), *range(10)]  # the first chunk of 4 was kept
    assert contents(tmp_path / "resumed") == contents(tmp_path / "at_once")

    redrawn.clear()
    pack.write_pack(parts, tmp_path / "resumed")
    assert redrawn == []


def test_workers_do_not_change_the_pack(parts: list[pack.Part], tmp_path: Path) -> None:
    pack.write_part(parts[0], tmp_path / "one")
    pack.write_part(parts[0], tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_spec_replaces_the_part(parts: list[pack.Part], tmp_path: Path) -> None:
    pack.write_part(parts[0], tmp_path)
    before = contents(tmp_path)
    values = {"count": 10, "size": 16, "num_identities": 8, "purpose": "seen"}
    pack.write_part(pack.Part("seen", make_spec(values), labelled=True), tmp_path)
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def test_a_table_lost_in_a_crash_is_made_again(parts: list[pack.Part], tmp_path: Path) -> None:
    pack.write_part(parts[0], tmp_path)
    before = contents(tmp_path)
    (tmp_path / "seen.csv").unlink()
    assert not parts[0].is_whole(tmp_path)
    pack.write_part(parts[0], tmp_path)
    assert contents(tmp_path) == before


def test_spec_yaml_makes_the_same_parts(parts: list[pack.Part], tmp_path: Path) -> None:
    pack.write_pack(parts, tmp_path)
    assert pack.load_parts(tmp_path / "spec.yaml") == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("parts: {a: {size: 0}}", "size: input should be"),
        ("parts: 3", "needs a mapping 'parts'"),
        ("parts: {a: {}}\nshards: 2", "unknown key 'shards'"),
        ("parts: {a: {}}\nunlabelled: [b]", "unlabelled: there is no part 'b'"),
        ("parts: [", "not readable as YAML"),
        ("parts: {../a: {}}", r"part name '\.\./a'"),
    ],
)
def test_a_wrong_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=message):
        pack.load_parts(path)


def table(name: str) -> list[dict[str, str]]:
    with (RENDERED / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


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


def test_committed_pack_is_the_default_one_and_small() -> None:
    parts = pack.load_parts(None)
    assert pack.load_parts(RENDERED / "spec.yaml") == parts
    assert all(part.is_whole(RENDERED) for part in parts)
    assert sum(path.stat().st_size for path in RENDERED.iterdir()) <= 16e6


def test_committed_images_are_those_of_the_spec() -> None:
    # Up to rounding: other processors and other codecs may differ by a little.
    for part in pack.load_parts(None):
        with zipfile.ZipFile(RENDERED / f"{part.name}.zip") as archive:
            stored = np.asarray(Image.open(io.BytesIO(archive.read("000001.webp"))))
        again = np.asarray(Image.open(io.BytesIO(pack.encode_webp(render_face(part.spec, 1)[0]))))
        assert np.abs(stored.astype(int) - again).mean() < 2


def test_committed_training_part_has_the_class_ratios_of_raf_db() -> None:
    counts = Counter(row["expression"] for row in table("fer_train"))
    for name, count in RAF_DB_TRAINING_COUNTS.items():
        assert counts[name] == pytest.approx(3000 * count / 12271, abs=1)


@pytest.mark.parametrize(("name", "per_class"), [("fer_val", 60), ("fer_test", 150)])
def test_committed_balanced_parts(name: str, per_class: int) -> None:
    counts = Counter(row["expression"] for row in table(name))
    assert counts == dict.fromkeys(CLASSES[:7], per_class)


def test_committed_parts_share_no_person() -> None:
    people = {name: {row["identity"] for row in table(name)} for name in PARTS}
    assert sum(map(len, people.values())) == len(set().union(*people.values()))
    assert len(people["fr"]) > 700


def test_committed_unlabelled_table_tells_no_label() -> None:
    assert list(table("fr")[0]) == ["image", "identity"]
    rows, answers = table("fr"), truth("fr")
    assert [(row["image"], row["identity"]) for row in rows] == [
        (row["image"], row["identity"]) for row in answers
    ]
    counts = Counter(row["expression"] for row in answers)
    assert counts["neutral"] + counts["happy"] > 0.65 * 8000
    assert counts["neutral"] > counts["happy"] > 3 * max(counts[name] for name in CLASSES[2:])
    compounds = sum(" " in row["mixture"] for row in answers)
    assert 0.08 * 8000 < compounds < 0.16 * 8000


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
