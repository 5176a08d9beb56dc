"""Name the expression of faces: of images, of all faces of photos, of folders of either."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.config import RunConfig
from face2exp_lib.data.sets.imagefiles import LEFT_BEHIND_TOLD, Listed, endings, list_images
from face2exp_lib.data.sets.images import FileImages, Images, decode
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.inference import predict_probabilities
from face2exp_lib.methods.passes import threads
from face2exp_lib.preparation.face_crops import (
    Detector,
    PhotoFace,
    crop_to_every_face,
    crop_to_faces,
)
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import write_json, write_text

BATCH = 64


def find_images(paths: Sequence[Path | str], told: list[str] | None = None) -> list[Path]:
    """The files among `paths` as they stand, and the image files below the folders among them.

    Args:
        told: if given, what is left out below each folder is counted here.

    Raises:
        Face2ExpError: if a folder holds no image, or cannot be listed.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            below = list_images(path)
            lines = _left_out(below)
            if not below.images:
                others = f" ({'; '.join(lines)})" if lines else ""
                raise Face2ExpError(
                    f"{path}: no image below this folder{others}: give one that has some"
                )
            if told is not None:
                told += [f"{path}: {line}" for line in lines]
            found += [path / name for name in below.images]
        else:
            found.append(path)
    return found


def predict_images(
    run_dir: Path | str,
    paths: Sequence[Path | str],
    *,
    detector: Detector | None = None,
    flip: bool = False,
    left_out: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Label and class probabilities of images of one face each.

    Args:
        detector: crops each image to its face; None takes them as cropped already.
        flip: average the probabilities of each image and its mirror image.
        left_out: if given, images that cannot be read or show no face are left out, and what is
            wrong with each is added here.

    Returns:
        For each image: `image`, `label`, `probabilities` (name -> 0..1).

    Raises:
        Face2ExpError: naming the image that cannot be read or shows no face.
    """
    run_dir = Path(run_dir)
    config, network, _ = load_trained(run_dir)
    images = files_of(paths)
    if detector is not None:
        images = crop_to_faces(images, detector, left_out)
    return predict(config, network, images, flip=flip, left_out=left_out)


def predict_faces(
    run_dir: Path | str,
    paths: Sequence[Path | str],
    detector: Detector,
    *,
    flip: bool = False,
    left_out: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Label and class probabilities of every face of photos.

    Args:
        detector: such as `mtcnn.Detector("group")`.
        flip, left_out: as for `predict_images`.

    Returns:
        For each face, those of a photo from left to right: `image`, `face` (its number from 1),
        `faces` (of the photo), `box` (`left`, `top`, `right`, `bottom` in px of the upright image,
        which it may leave), `score` (the detector's, 0..1), `label`, `probabilities`.

    Raises:
        Face2ExpError: naming the photo that cannot be read or shows no face.
    """
    run_dir = Path(run_dir)
    config, network, _ = load_trained(run_dir)
    images, faces = crop_to_every_face(files_of(paths), detector, left_out)
    return [
        {"image": result.pop("image"), **_about(faces[index]), **result}
        for index, result in _predicted(config, network, images, flip, left_out)
    ]


def predict(
    config: RunConfig,
    network: nn.Module,
    images: Images,
    *,
    flip: bool = False,
    left_out: list[str] | None = None,
) -> list[dict[str, Any]]:
    """`predict_images` for a network at hand (see `load_trained`) and images of any kind."""
    return [result for _, result in _predicted(config, network, images, flip, left_out)]


def files_of(paths: Sequence[Path | str]) -> Images:
    """Image files anywhere, called by their paths."""
    return FileImages(Path(), [str(path) for path in paths])


def must_be_table(path: Path | str) -> None:
    """Make sure that `write_results` knows a file's kind, before hours of work.

    Raises:
        Face2ExpError: if its name ends in neither .csv nor .json.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".json"):
        raise Face2ExpError(f"{path}: unknown kind of table: name it .csv or .json")


def write_results(path: Path | str, results: Sequence[dict[str, Any]]) -> None:
    """Write what was predicted as .csv or .json.

    The csv has the columns image, label and one for each class; of faces of photos also face,
    faces, left, top, right, bottom and score. A file's name that is no text is written with
    backslash escapes.

    Raises:
        Face2ExpError: if the file's name ends otherwise or it cannot be written.
    """
    path = Path(path)
    must_be_table(path)
    if path.suffix == ".json":
        write_json(path, list(results))
    else:
        write_text(path, _as_csv(results).encode(errors="backslashreplace").decode())


def as_json(results: Sequence[dict[str, Any]]) -> str:
    """What was predicted as indented JSON."""
    return json.dumps(list(results), indent=2)


def _predicted(
    config: RunConfig,
    network: nn.Module,
    images: Images,
    flip: bool,
    left_out: list[str] | None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and prediction of each image that can be read."""
    names = class_names(config.data.num_classes)
    numbers = range(len(images.ids))
    with tqdm(total=len(numbers), desc="predict", unit="image", leave=False, delay=2) as bar:
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            for index, row in _probabilities(config, network, images, batch, flip, left_out):
                shares = dict(zip(names, row.tolist(), strict=True))
                label = names[int(row.argmax())]
                yield (
                    index,
                    {"image": images.ids[index], "label": label, "probabilities": shares},
                )
            bar.update(len(batch))


def _about(face: PhotoFace) -> dict[str, Any]:
    box = dict(zip(("left", "top", "right", "bottom"), face.box, strict=True))
    return {"face": face.number, "faces": face.of, "box": box, "score": face.score}


def _left_out(below: Listed) -> list[str]:
    """What of a folder's content is not looked at, in a line for each reason."""
    lines = []
    if below.others:
        told = f"{_files(below.others)} left out: no image by the end of the name"
        lines.append(f"{told}: {endings(below.others)}")
    if below.links:
        lines.append(f"{len(below.links)} linked folders left out, such as {below.links[0]}")
    if below.left_behind:
        lines.append(f"{len(below.left_behind)} left out: {LEFT_BEHIND_TOLD}")
    return lines


def _files(names: Sequence[str]) -> str:
    return f"{len(names)} file{'' if len(names) == 1 else 's'}"


def _probabilities(
    config: RunConfig,
    network: nn.Module,
    images: Images,
    batch: Sequence[int],
    flip: bool,
    left_out: list[str] | None,
) -> list[tuple[int, Tensor]]:
    """The images of a batch that can be read, each with its (K,) probabilities."""
    try:
        rows = class_probabilities(config, network, images.take(np.array(batch)), flip=flip)
        return list(zip(batch, rows, strict=True))
    except Face2ExpError as error:
        if left_out is None:
            raise
        if len(batch) == 1:
            left_out.append(str(error))
            return []
    # One of them is broken, and only one at a time tells which.
    return [
        pair
        for index in batch
        for pair in _probabilities(config, network, images, [index], flip, left_out)
    ]


def _as_csv(results: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    rows = [_row(result) for result in results]
    writer.writerow(rows[0] if rows else ("image", "label"))
    writer.writerows(row.values() for row in rows)
    return buffer.getvalue()


def _row(result: dict[str, Any]) -> dict[str, Any]:
    """A prediction without what is nested in it."""
    row: dict[str, Any] = {}
    for key, value in result.items():
        row |= value if isinstance(value, dict) else {key: value}
    return {key: f"{v:.6f}" if isinstance(v, float) else v for key, v in row.items()}


def class_probabilities(
    config: RunConfig, network: nn.Module, images: Images, *, flip: bool = False
) -> Tensor:
    """What a trained network makes of face images that are already cropped to the face.

    Args:
        config, network: as `load_trained` gives them.
        images: N of them, of any size, in one batch; an array in memory is a `PixelImages`.

    Returns:
        (N, K) float32 on the CPU, rows sum to 1.

    Raises:
        Face2ExpError: naming the image that cannot be read.
    """
    if len(images.ids) == 0:
        return torch.empty(0, config.data.num_classes)
    device = next(network.parameters()).device
    decoded = [decode(images, i, config.data.stored_size) for i in range(len(images.ids))]
    pixels = torch.stack(decoded).to(device)
    with threads(config.compute, config.network.backbone, device):
        return predict_probabilities(network, pixels, config.data.view_size, flip=flip)
