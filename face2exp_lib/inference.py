"""Name the expression of images and folders of images."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.config import RunConfig
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.evaluation import class_probabilities, load_trained
from face2exp_lib.face_crops import Detector, crop_to_faces
from face2exp_lib.imagefiles import list_images
from face2exp_lib.images import FileImages, Images
from face2exp_lib.labels import class_names
from face2exp_lib.storage import write_json, write_text

BATCH = 64


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths` as they stand, and the image files below the folders among them.

    Raises:
        Face2ExpError: if a folder holds no image, or cannot be listed.
    """
    found = []
    for path in paths:
        if path.is_dir():
            below = list_images(path).images
            if not below:
                raise Face2ExpError(f"{path}: no image below this folder: give one that has some")
            found += [path / name for name in below]
        else:
            found.append(path)
    return found


def predict_images(
    run_dir: Path,
    paths: Sequence[Path],
    *,
    detector: Detector | None = None,
    flip: bool = False,
    left_out: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Label and class probabilities of images of faces.

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
    config, network, _ = load_trained(run_dir)
    images: Images = FileImages(Path(), [str(path) for path in paths])
    if detector is not None:
        images = crop_to_faces(images, detector, left_out)
    return predict(config, network, images, flip=flip, left_out=left_out)


def predict(
    config: RunConfig,
    network: nn.Module,
    images: Images,
    *,
    flip: bool = False,
    left_out: list[str] | None = None,
) -> list[dict[str, Any]]:
    """`predict_images` for a network at hand (see `load_trained`) and images of any kind."""
    names = class_names(config.data.num_classes)
    results = []
    numbers = range(len(images.ids))
    bar = tqdm(total=len(numbers), desc="predict", unit="image", leave=False, delay=2)
    with bar:
        for start in range(0, len(numbers), BATCH):
            batch = numbers[start : start + BATCH]
            for index, row in _probabilities(config, network, images, batch, flip, left_out):
                shares = dict(zip(names, row.tolist(), strict=True))
                label = names[int(row.argmax())]
                results.append(
                    {"image": images.ids[index], "label": label, "probabilities": shares}
                )
            bar.update(len(batch))
    return results


def must_be_table(path: Path) -> None:
    """Make sure that `write_results` knows a file's kind, before hours of work.

    Raises:
        Face2ExpError: if its name ends in neither .csv nor .json.
    """
    if path.suffix not in (".csv", ".json"):
        raise Face2ExpError(f"{path}: unknown kind of table: name it .csv or .json")


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write what `predict` returned as .csv (image, label, a column for each class) or .json.

    A file's name that is no text is written with backslash escapes.

    Raises:
        Face2ExpError: if the file's name ends otherwise or it cannot be written.
    """
    must_be_table(path)
    if path.suffix == ".json":
        write_json(path, list(results))
    else:
        write_text(path, _as_csv(results).encode(errors="backslashreplace").decode())


def as_json(results: Sequence[dict[str, Any]]) -> str:
    """What `predict` returned as indented JSON."""
    return json.dumps(list(results), indent=2)


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
    writer.writerow(["image", "label", *(results[0]["probabilities"] if results else ())])
    for result in results:
        shares = [f"{share:.6f}" for share in result["probabilities"].values()]
        writer.writerow([result["image"], result["label"], *shares])
    return buffer.getvalue()
