"""Expressions of images and folders, from runs whose evaluation is known."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from face2exp_lib.config import load_config
from face2exp_lib.data.sets import landmark_table
from face2exp_lib.data.sets.images import PixelImages
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.runs import predict as module
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runs.predict import (
    as_json,
    class_probabilities,
    find_images,
    predict,
    predict_faces,
    predict_images,
    write_results,
)
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from tests.run_data import run_data


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))


def test_predictions(run: Path, squares_root: Path) -> None:
    paths = sorted((squares_root / "squares" / "test").glob("*/0.png"))
    results = predict_images(run, paths)
    assert [result["image"] for result in results] == [str(path) for path in paths]
    for result in results:
        assert list(result["probabilities"]) == list(class_names(7))
        assert sum(result["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        best = max(result["probabilities"], key=result["probabilities"].__getitem__)
        assert result["label"] == best


def test_predictions_are_those_of_the_evaluation(run: Path, squares_root: Path) -> None:
    data = run_data(load_config(run / "config.yaml"), squares_root)
    result, _ = evaluate_run(run, "test", squares_root)
    folder = squares_root / "squares" / "test"
    predicted = predict_images(run, [folder / name for name in data.test.ids])
    names = class_names(7)
    confusion = [[0] * 7 for _ in names]
    for label, prediction in zip(data.test.known_labels(), predicted, strict=True):
        confusion[label][names.index(prediction["label"])] += 1
    assert confusion == result["confusion_matrix"]


def test_an_array_is_read_as_the_file_it_is_stored_in(run: Path, squares_root: Path) -> None:
    paths = [squares_root / "squares" / "test" / name / "0.png" for name in ("sad", "fear")]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    config, network, _ = load_trained(run)
    rows = class_probabilities(config, network, PixelImages(pixels, ["sad", "fear"]))
    assert rows.shape == (2, 7)
    torch.testing.assert_close(rows.sum(1), torch.ones(2))
    for row, prediction in zip(rows, predict_images(run, paths), strict=True):
        assert dict(zip(class_names(7), row.tolist(), strict=True)) == prediction["probabilities"]


def test_broken_image_is_named_before_anything_is_said(
    run: Path, squares_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    good = squares_root / "squares" / "test" / "sad" / "0.png"
    with pytest.raises(Face2ExpError, match=r"broken\.png: not a readable image"):
        predict_images(run, [good, tmp_path / "broken.png"])


def test_relative_paths_of_images(
    run: Path, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(squares_root)
    relative = Path("squares/test/sad/0.png")
    first, second = predict_images(run, [relative, squares_root / relative])
    assert first["probabilities"] == second["probabilities"]


def test_folders_give_their_images_in_order_and_files_stay(squares_root: Path) -> None:
    folder = squares_root / "squares" / "test"
    single = folder / "sad" / "0.png"
    found = find_images([single, folder])
    assert found[0] == single
    assert found[1:] == sorted(folder.glob("*/*.png"))
    assert len(found) == 22


def test_folder_without_an_image(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match="no image below this folder: give one"):
        find_images([tmp_path])
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(
        Face2ExpError, match=r"folder \(1 file left out: no image by .* name: \.txt 1\): give one"
    ):
        find_images([tmp_path])


def test_what_a_folder_holds_beside_images_is_counted(tmp_path: Path, squares_root: Path) -> None:
    for name in ("a.txt", "b.TXT", "c.mov", "README", "d.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "linked").symlink_to(squares_root, target_is_directory=True)
    told: list[str] = []
    assert find_images([tmp_path, squares_root / "people"], told)[0] == tmp_path / "d.png"
    assert told == [
        f"{tmp_path}: 4 files left out: no image by the end of the name: .txt 2, (none) 1, .mov 1",
        f"{tmp_path}: 1 linked folders left out, such as linked",
    ]
    for number in range(30):
        (tmp_path / f"x.{number}").write_bytes(b"")
    told.clear()
    find_images([tmp_path], told)
    assert told[0].startswith(f"{tmp_path}: 34 files left out: no image by the end of the name: ")
    assert told[0].endswith(", others 23")


def test_broken_images_can_be_left_out(
    run: Path, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others get what they get without the broken ones."""
    monkeypatch.setattr(module, "BATCH", 3)
    good = sorted((squares_root / "squares" / "test").glob("*/0.png"))
    (tmp_path / "broken.png").write_bytes(b"broken")
    mixed = [*good[:4], tmp_path / "broken.png", *good[4:], tmp_path / "gone.png"]
    left_out: list[str] = []
    results = predict_images(run, mixed, left_out=left_out)
    assert [result["image"] for result in results] == [str(path) for path in good]
    assert [text.split(": ")[0] for text in left_out] == [str(mixed[4]), str(mixed[-1])]
    for result, expected in zip(results, predict_images(run, good), strict=True):
        assert result["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)


def test_mirror_images_share_their_flip_averaged_prediction(run: Path, squares_root: Path) -> None:
    path = squares_root / "squares" / "test" / "sad" / "0.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    config, network, _ = load_trained(run)
    both = PixelImages(np.stack([pixels, pixels[:, ::-1]]), ["plain", "mirrored"])
    plain, mirrored = predict(config, network, both)
    assert plain["probabilities"] != pytest.approx(mirrored["probabilities"], abs=1e-6)
    averaged, same = predict(config, network, both, flip=True)
    assert averaged["probabilities"] == pytest.approx(same["probabilities"], abs=1e-6)
    for name in class_names(7):
        half = (plain["probabilities"][name] + mirrored["probabilities"][name]) / 2
        assert averaged["probabilities"][name] == pytest.approx(half, abs=1e-6)


def test_results_as_files(run: Path, squares_root: Path, tmp_path: Path) -> None:
    results = predict_images(run, sorted((squares_root / "squares" / "test").glob("*/0.png")))
    write_results(tmp_path / "r.json", results)
    assert json.loads((tmp_path / "r.json").read_text()) == results == json.loads(as_json(results))
    write_results(tmp_path / "r.csv", results)
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", "label", *class_names(7)]
    for row, result in zip(rows, results, strict=True):
        assert (row["image"], row["label"]) == (result["image"], result["label"])
        for name in class_names(7):
            assert float(row[name]) == pytest.approx(result["probabilities"][name], abs=1e-6)
    with pytest.raises(Face2ExpError, match=r"r\.txt: unknown kind of table: name it"):
        write_results(tmp_path / "r.txt", results)


def test_name_that_is_no_text_is_written_with_escapes(tmp_path: Path) -> None:
    result = {"image": "odd\udcff.png", "label": "sad", "probabilities": {"sad": 1.0}}
    write_results(tmp_path / "r.csv", [result])
    assert (tmp_path / "r.csv").read_text() == ("image,label,sad\nodd\\udcff.png,sad,1.000000\n")


class UpperLeft:
    """Takes the upper left quarter of every picture for its face, and the lower right one, too."""

    def detect(self, images: Sequence[Image.Image]) -> SimpleNamespace:
        half = [image.width / 2 for image in images]
        return SimpleNamespace(boxes=np.array([[0, 0, side, side] for side in half], np.float32))

    def detect_all(self, images: Sequence[Image.Image]) -> list[SimpleNamespace]:
        first = self.detect(images).boxes
        both = [np.stack([box, box + box[2]]) for box in first]
        return [SimpleNamespace(boxes=boxes, probability=np.array([1, 0.875])) for boxes in both]


def test_faces_are_cropped_before_they_are_named(
    run: Path, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landmark_table, "MARGIN", 0.0)
    face = squares_root / "squares" / "test" / "sad" / "0.png"
    with Image.open(face) as image:
        whole = Image.new("RGB", (80, 80))
        whole.paste(image, (0, 0))
        whole.save(tmp_path / "whole.png")
    (found,) = predict_images(run, [tmp_path / "whole.png"], detector=UpperLeft())
    assert found["image"] == str(tmp_path / "whole.png")
    (expected,) = predict_images(run, [face])
    assert found["probabilities"] == expected["probabilities"]


def test_every_face_of_a_photo(
    run: Path, squares_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two faces, each as if it had come alone."""
    monkeypatch.setattr(landmark_table, "MARGIN", 0.0)
    singles = [squares_root / "squares" / "test" / name / "0.png" for name in ("sad", "fear")]
    photo = Image.new("RGB", (80, 80))
    for path, place in zip(singles, ((0, 0), (40, 40)), strict=True):
        with Image.open(path) as image:
            photo.paste(image, place)
    photo.save(tmp_path / "photo.png")
    (tmp_path / "broken.png").write_bytes(b"broken")
    left_out: list[str] = []
    paths = [tmp_path / "broken.png", tmp_path / "photo.png"]
    found = predict_faces(run, paths, UpperLeft(), left_out=left_out)
    assert [text.split(": ")[0] for text in left_out] == [str(paths[0])]
    edges = ("left", "top", "right", "bottom")
    for number, (one, alone) in enumerate(zip(found, predict_images(run, singles), strict=True)):
        assert list(one) == ["image", "face", "faces", "box", "score", "label", "probabilities"]
        assert (one["image"], one["face"], one["faces"]) == (str(paths[1]), number + 1, 2)
        box = (40 * number, 40 * number, 40 * number + 40, 40 * number + 40)
        assert one["box"] == dict(zip(edges, box, strict=True))
        assert one["score"] == (1, 0.875)[number]
        assert (one["label"], one["probabilities"]) == (alone["label"], alone["probabilities"])
    assert json.loads(as_json(found)) == found
    write_results(tmp_path / "r.csv", found)
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["image", "face", "faces", *edges, "score", "label", *class_names(7)]
    assert list(rows[1]) == columns
    numbers = ["2", "2", "40", "40", "80", "80", "0.875000"]
    assert [rows[1][name] for name in columns[1:8]] == numbers
