"""Tables of landmarks, and what a set takes from one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from face2exp_lib.config import RunConfig
from face2exp_lib.data.formats.folders import read_identity_folders
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.data.sets.landmark_table import (
    KEY,
    STATES,
    attach,
    count_states,
    list_remarks,
    read_remarks,
    rows_with_reason,
    schema_with,
)
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.data.sources import Source
from face2exp_lib.preparation.landmarking import Found
from face2exp_lib.runtime.errors import Face2ExpError
from tests.run_data import run_data

WIDTH, HEIGHT = 40, 40  # px of the squares of conftest
BOX = (10, 5, 30, 35)
FACE = np.array([[15, 15], [25, 15], [20, 20], [16, 28], [24, 28]], np.float32)


@dataclass
class Made:
    """A set with a table of it, which tests spoil."""

    faces: FaceSet
    path: Path

    def spoil(self, change: Callable[[dict[str, list[Any]]], object]) -> None:
        file = pq.read_table(self.path)
        columns = file.to_pydict()
        change(columns)
        pq.write_table(pa.table(columns, schema=file.schema), self.path)


def rows_of(faces: FaceSet, states: Sequence[str]) -> Found:
    """The same face in every image that has one."""
    codes = np.array([STATES.index(state) for state in states])
    seen = np.array([state in ("detected", "implausible") for state in states])
    return Found(
        faces.ids,
        codes,
        [f"{state}!" if state in ("implausible", "unreadable") else "" for state in states],
        np.where(seen, 0.987654, np.nan),
        seen + 0 * codes,
        np.where(seen[:, None], np.array(BOX), np.nan),
        np.where(seen[:, None, None], FACE, np.nan),
        np.where(np.array(states) != "unreadable", 1, 0)[:, None] * [WIDTH, HEIGHT],
    )


@pytest.fixture
def made(squares_root: Path, tmp_path: Path) -> Made:
    """The last two images of `people` have no face and one that cannot be."""
    faces = read_identity_folders(squares_root / "people", "", "")
    states = ["detected"] * (len(faces) - 2) + ["undetected", "implausible"]
    path = tmp_path / "people.parquet"
    table = rows_of(faces, states).table()
    pq.write_table(table.cast(schema_with(list_remarks(faces))), path)
    return Made(faces, path)


def test_a_set_takes_its_points_and_the_average_ones_where_there_are_none(made: Made) -> None:
    faces = attach(made.faces, made.path)
    assert faces.landmarks is not None
    assert faces.canonical is not None
    assert faces.landmarks.dtype == np.float32
    assert faces.canonical.tolist() == [False] * (len(faces) - 2) + [True, True]
    # The median of the set's own: all faces are the same, the two that were not found as well.
    assert faces.landmarks == pytest.approx(np.repeat(FACE[None], len(faces), 0))
    assert faces.ids == made.faces.ids
    part = faces.subset(np.array([len(faces) - 1, 0]))
    assert part.canonical is not None
    assert part.canonical.tolist() == [True, False]


def test_few_faces_take_the_canonical_points(made: Made) -> None:
    def forget(columns: dict[str, list[Any]]) -> None:
        columns["state"][1:] = ["undetected"] * (len(made.faces) - 1)

    made.spoil(forget)
    faces = attach(made.faces, made.path)
    assert faces.landmarks is not None
    assert faces.landmarks[0] == pytest.approx(FACE)
    assert faces.landmarks[1] == pytest.approx(CANONICAL_POINTS * [WIDTH, HEIGHT])


def test_a_face_is_cut_out_with_its_margin_and_its_points_move(made: Made) -> None:
    """The longer side of 30 px and a tenth on both sides make 36 px round (20, 20)."""
    faces = attach(made.faces, made.path, "face")
    assert faces.landmarks is not None
    assert decode_whole(faces.images, 0).size == (36, 36)
    whole = np.asarray(decode_whole(made.faces.images, 0))
    assert np.array_equal(np.asarray(decode_whole(faces.images, 0)), whole[2:38, 2:38])
    assert faces.landmarks[0] == pytest.approx(FACE - 2)
    # Without a face the image stays whole, and the points are where they are in the faces.
    last = len(faces) - 1
    assert decode_whole(faces.images, last).size == (WIDTH, HEIGHT)
    assert faces.landmarks[last] == pytest.approx((FACE - 2) / 36 * 40, rel=1e-5)
    assert faces.images.read(0) == made.faces.images.read(0)  # a copy is found still


def test_beyond_the_image_its_edge_goes_on(made: Made) -> None:
    def to_the_corner(columns: dict[str, list[Any]]) -> None:
        columns["left"][0], columns["top"][0] = -10.0, -10.0
        columns["right"][0], columns["bottom"][0] = 20.0, 20.0

    made.spoil(to_the_corner)
    faces = attach(made.faces, made.path, "face")
    cut = np.asarray(decode_whole(faces.images, 0))
    whole = np.asarray(decode_whole(made.faces.images, 0))
    assert cut.shape == (36, 36, 3)  # from -13 to 23
    assert np.array_equal(cut[13:, 13:], whole[:23, :23])
    assert (cut[:14, :14] == whole[0, 0]).all()
    assert (cut[13:, 5] == whole[:23, 0]).all()
    taken = faces.images.take(np.array([1, 0]))
    assert np.array_equal(np.asarray(decode_whole(taken, 1)), cut)


def test_a_subset_of_the_images_keeps_its_rows(made: Made, tmp_path: Path) -> None:
    """Rows of a set need not be those of its images."""
    part = made.faces.subset(np.array([5, 2, 9]))
    table = rows_of(part, ["detected", "undetected", "detected"]).table()
    path = tmp_path / "part.parquet"
    pq.write_table(table.cast(schema_with(list_remarks(part))), path)
    faces = attach(part, path, "face")
    sizes = [decode_whole(faces.images, int(row)).size for row in faces.rows]
    assert sizes == [(36, 36), (40, 40), (36, 36)]


def change(key: str, value: Any) -> Callable[[dict[str, list[Any]]], object]:
    return lambda columns: columns[key].__setitem__(1, value)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda c: [c[key].__setitem__(1, c[key][0]) for key in c], "twice or missing"),
        (lambda c: [column.pop(1) for column in c.values()], "11 rows for 12 images"),
        (lambda c: [column.append(column[0]) for column in c.values()], "13 rows for 12 images"),
        (change("left", float("nan")), "its box, points or size are none"),
        (change("left", None), "its box, points or size are none"),
        (change("left", 30.0), "its box, points or size are none"),
        (change("right", 1e9), "its box, points or size are none"),
        (change("nose_x", float("inf")), "its box, points or size are none"),
        (change("width", 0), "its box, points or size are none"),
        (change("width", None), "its box, points or size are none"),
        (change("state", "found"), "not a readable table"),
        (change("state", None), "not a readable table"),
    ],
)
def test_a_table_that_is_none_is_refused(
    made: Made, spoilt: Callable[[dict[str, list[Any]]], object], message: str
) -> None:
    made.spoil(spoilt)
    with pytest.raises(Face2ExpError, match=message) as caught:
        attach(made.faces, made.path)
    assert str(made.path) in str(caught.value)


def test_a_table_of_other_images_is_refused(made: Made, squares_root: Path, tmp_path: Path) -> None:
    others = made.faces.subset(np.arange(3))
    with pytest.raises(Face2ExpError, match=r"made for 12 images of people, and people lists 3"):
        attach(others, made.path)
    for image in made.faces.ids:  # the same names, other pixels
        place = tmp_path / "people" / image
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(place)
    with pytest.raises(Face2ExpError, match=r"when its images were others"):
        attach(read_identity_folders(tmp_path / "people", "", ""), made.path)


def test_files_that_are_no_table_are_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(Face2ExpError, match=r"no such file: `face2exp data landmarks` makes one"):
        attach(made.faces, path)
    for content in (b"", b"PAR1", b"text" * 100, made.path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(Face2ExpError, match="not a readable Parquet file"):
            attach(made.faces, path)
    whole = pq.read_table(made.path)
    for table in (
        pa.table({"image": ["a"]}),
        whole.replace_schema_metadata(None),
        whole.replace_schema_metadata({KEY: b"\x80\x04pickle"}),
        whole.replace_schema_metadata({KEY: b"[" * 10_000}),
        whole.replace_schema_metadata({KEY: json.dumps({"version": 2})}),
        whole.drop_columns(["left"]),
    ):
        pq.write_table(table, path)
        with pytest.raises(Face2ExpError, match="no table of landmarks"):
            attach(made.faces, path)


def test_damage_inside_the_file_is_named(made: Made) -> None:
    content = bytearray(made.path.read_bytes())
    content[4:600] = b"\xff" * 596
    made.path.write_bytes(content)
    with pytest.raises(Face2ExpError, match="not a readable table of landmarks"):
        attach(made.faces, made.path)


def test_values_are_rounded_and_what_is_not_known_is_null(made: Made) -> None:
    table = pq.read_table(made.path).to_pydict()
    assert table["probability"][0] == round(0.987654 * 1024) / 1024
    assert table["nose_x"][-2:] == [None, FACE[2, 0]]
    assert table["left"][-2] is None
    assert table["reason"][-2:] == ["", "implausible!"]
    assert read_remarks(made.path)["set"] == "people"


def test_states_are_counted(made: Made) -> None:
    made.spoil(change("faces", 2))
    assert count_states(made.path) == {
        "detected": 10, "undetected": 1, "implausible": 1, "unreadable": 0, "several faces": 1,
    }  # fmt: skip
    reasons = list(rows_with_reason(made.path, "implausible"))
    assert reasons == [(made.faces.ids[-1], "implausible!")]


def test_a_source_names_the_table_and_the_crop(made: Made, squares_root: Path) -> None:
    keys: dict[str, Any] = {
        "format": "identity_folders", "path": "people", "landmarks": str(made.path),
    }  # fmt: skip
    assert Source(**keys).read(squares_root).canonical is not None
    cut = Source(**keys, crop="face").read(squares_root)
    assert decode_whole(cut.images, 0).size == (36, 36)
    plain = Source(format="identity_folders", path="people").read(squares_root)
    assert plain.landmarks is None
    with pytest.raises(ValueError, match="crop: face needs landmarks"):
        Source(format="identity_folders", path="people", crop="face")
    with pytest.raises(ValueError, match="'whole' or 'face'"):
        Source(**(keys | {"crop": "oval"}))


def test_a_run_records_what_it_took(
    made: Made, squares_root: Path, tiny: Callable[..., RunConfig]
) -> None:
    """So that it goes on with nothing else: data.json holds the record."""
    config = tiny(f"data.unlabelled.landmarks={made.path}", "data.unlabelled.crop=face")
    sets = run_data(config, squares_root).record()["sets"]
    assert sets["unlabelled"]["canonical_landmarks"] == 2
    assert "landmarks" not in sets["test"]
    made.spoil(change("nose_x", 21.0))
    other = run_data(config, squares_root).record()["sets"]
    assert other["unlabelled"]["landmarks"] != sets["unlabelled"]["landmarks"]
    assert other["test"] == sets["test"]
