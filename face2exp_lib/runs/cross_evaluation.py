"""A finished run on a labelled set that is no part of it, such as another data set's test part."""

import hashlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from face2exp_lib.config import RunConfig, load_config
from face2exp_lib.data.draws import of_classes
from face2exp_lib.data.sets.facesets import FaceSet, Skipped
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.landmark_table import attach
from face2exp_lib.data.splits import read_labelled_data
from face2exp_lib.evaluation.metrics import evaluation_path, read_evaluation
from face2exp_lib.runs.evaluate import READINGS, evaluate_part
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json

CONTEMPT = "contempt, which is none of the run's classes"
UNREADABLE = "cannot be read"
MOST_CHARS = 60  # of a set's name in the name of a file
SIDE = 8  # px; whether an image can be read does not depend on it


def evaluate_on(
    run_dir: Path | str,
    faces: FaceSet,
    *,
    flip: bool = False,
    crop_by: Path | str | None = None,
    data_root: Path | str | None = None,
    unreadable: list[Skipped] | None = None,
) -> tuple[dict[str, Any], bool]:
    """Evaluate a finished run's best checkpoint on any labelled set.

    Writes `evaluation-on-NAME.json` and `predictions-on-NAME.parquet`, NAME being made of the set's
    name and what tells it apart.

    As with the test part, a set is read once: a second call gives back what the first one wrote,
    and is refused if it asks for other options. Every reading is noted before it begins, in
    `readings-on-NAME.jsonl`; that of the run's own test part where those of `--split test` are.

    Args:
        faces: the set, which is what its origin and its list together say; images of contempt are
            left out where the run has no such class.
        flip: average the probabilities of each image and its mirror image.
        crop_by: table of `face2exp data landmarks`: cut each image to its face, for a run whose own
            sets have `crop: face`.
        data_root: of the run's data. Where they are here, the evaluation counts exact copies of the
            images that the run learnt labels from (`copies_of_training_images`, else None).
        unreadable: if given, images that cannot be read are left out and added here.

    Returns:
        The content of the file, see `scores.read_evaluation`, and whether it was computed now.

    Raises:
        Face2ExpError: if the run is broken or has not finished, the set has no labels of two
            classes or more, an image cannot be read, or the set was read with other options.
    """
    run_dir = Path(run_dir)
    if not (run_dir / "config.yaml").is_file():
        raise Face2ExpError(f"{run_dir}: no run directory: `face2exp train` makes one")
    num_classes = load_config(run_dir / "config.yaml").data.num_classes
    crop = "face" if crop_by else "whole"
    left_out = Counter(skipped.reason for skipped in faces.skipped)
    part = of_classes(attach(faces, Path(crop_by), "face") if crop_by else faces, num_classes)
    left_out[CONTEMPT] = len(faces) - len(part)
    digest = part.digest
    name = f"on-{_file_name(faces.name, faces.origin, digest)}"
    own_test = digest == _test_digest(run_dir)
    for other in (name, "test") if own_test else (name,):
        path = evaluation_path(run_dir, other)
        if not path.exists():
            continue
        stored = read_evaluation(path)
        if (stored["flip"], stored.get("crop", crop)) != (flip, crop):
            cut = ", cut to the face," if stored.get("crop") == "face" else ""
            raise Face2ExpError(
                f"{run_dir}: {faces.name} was read{cut} {'with' if stored['flip'] else 'without'} "
                "flip averaging, and a second reading would let it choose: decide by `--split val`"
            )
        if other == name:
            return stored, False

    def read(config: RunConfig) -> tuple[FaceSet, dict[str, Any]]:
        good = part
        if unreadable is not None:
            good = _readable(part, unreadable)
            left_out[UNREADABLE] = len(unreadable)
            good = of_classes(good, num_classes)
        return good, {
            "split": name,
            "set": faces.name,
            "origin": faces.origin,
            "is_own_test_part": own_test,
            "crop": crop,
            "left_out": {reason: count for reason, count in left_out.items() if count},
            "copies_of_training_images": _copies(
                config, Path(data_root) if data_root else None, good
            ),
        }

    readings = READINGS if own_test else f"readings-{name}.jsonl"
    return evaluate_part(run_dir, name, read, readings, flip=flip), True


def _file_name(name: str, origin: str, digest: str) -> str:
    """A set's name as a part of a file's, with eight digits that tell it from others called so."""
    identity = hashlib.blake2b(
        f"{origin}\n{digest}".encode(errors="surrogateescape"), digest_size=4
    )
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:MOST_CHARS].strip("-.")
    return f"{readable}-{identity.hexdigest()}" if readable else identity.hexdigest()


def _test_digest(run_dir: Path) -> str:
    record = read_json(run_dir / "data.json", "sets")
    return str(record["sets"]["test"]["digest"])


def _readable(part: FaceSet, unreadable: list[Skipped]) -> FaceSet:
    good = []
    for index, row in enumerate(tqdm(part.rows.tolist(), desc="decode", leave=False, delay=2)):
        try:
            decode(part.images, row, SIDE)
        except Face2ExpError as error:
            unreadable.append(Skipped(part.images.ids[row], str(error), bad=True))
        else:
            good.append(index)
    return part.subset(np.array(good, dtype=np.int64))


def _copies(config: RunConfig, data_root: Path | None, part: FaceSet) -> int | None:
    """How many images are exact copies of those whose labels the run used, if these are here."""
    try:
        data = read_labelled_data(config.data, config.seed, data_root)
        learnt = [data.labelled, data.validation]
        if config.training.warm_start_labels == "long_tailed":
            learnt.append(data.long_tailed)
        known = {digest for faces in learnt for digest in faces.digests()}
    except Face2ExpError:
        return None
    return sum(digest in known for digest in part.digests())
