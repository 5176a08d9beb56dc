"""What is looked at, and told, before the first step of a run."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import loader, must_be_none, unreadable
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import Images
from face2exp_lib.data.splits import RunData
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.passes import threads
from face2exp_lib.networks import choose_device
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.phases import Phase
from face2exp_lib.training.plans import learns_from_all

# Keys, and values of theirs, with which a step takes a derivative in forward mode.
FORWARD_MODE = {
    "meta.feedback": "jvp",
    "meta.feedback_unit": "image",
    "meta.reweight": "image",
    "meta_pseudo_labels.feedback": "jvp",
}
# Of a phase's `extra`, what has a row for each labelled image.
BY_LABELLED = ("labels", "neighbours", "annotations")
CHECKED = 64  # images that a process looks at before it tells


def must_part(config: RunConfig) -> None:
    """Make sure that a run's processes can share its batches."""
    for key in ("batch_size_fer", "batch_size_fr"):
        number = getattr(config.training, key)
        if number % world.size() or number < 2 * world.size():
            raise Face2ExpError(
                f"training.{key} {number} does not part into {world.size()} processes with two "
                "images or more each: change one of the two"
            )
    if METHODS[config.method].whole_batch and world.size() > 1:
        raise Face2ExpError(
            f"method {config.method} compares the images of a whole batch, which one process has "
            "to see: start one"
        )
    if world.size() > 1 and config.compute.batch_norm == "sync":
        _must_not_be_in_forward_mode(config)


def _must_not_be_in_forward_mode(config: RunConfig) -> None:
    keys = [key for key in FORWARD_MODE if key.startswith(f"{config.method}.")]
    found = [
        f"{key} {FORWARD_MODE[key]}"
        for key in keys
        if getattr(getattr(config, config.method), key.partition(".")[2]) == FORWARD_MODE[key]
    ]
    if config.telemetry.image_feedback_every:
        found.append("telemetry.image_feedback_every")
    if found:
        raise Face2ExpError(
            f"{found[0]} takes a derivative in forward mode, which compute.batch_norm sync has "
            "not: set that to local, or change the key"
        )


def about_patches(config: RunConfig, data: RunData) -> str | None:
    """What to tell about patches that lie at the points of an average face, if they do."""
    if data.unlabelled is None or not METHODS[config.method].unlabelled:
        return None
    if config.aug.patches == "none":
        return None
    faces = data.unlabelled.listed
    # A stream has its points in its shards, millions of rows that are not read for a note.
    if faces is None or faces.landmarks is not None:
        return None
    return (
        f"note: {faces.name} comes without landmarks, so the patches of Aug lie at those of an "
        "average aligned face. That suits archives of aligned faces; for other photos make a "
        "table with `face2exp data landmarks` and name it as data.unlabelled.landmarks"
    )


def about_points(config: RunConfig, data: RunData) -> str | None:
    """What to tell of a method that looks at landmarks which the labelled set lacks."""
    without = METHODS[config.method].without_landmarks(getattr(config, config.method, None))
    if data.labelled.landmarks is not None or not without:
        return None
    return (
        f"note: {data.labelled.name} comes without landmarks, so method {config.method} {without}: "
        "make a table with `face2exp data landmarks` and name it as data.labelled.landmarks"
    )


def about_threads(config: RunConfig) -> str | None:
    """What to tell of the number of threads, if it is fewer than the machine has."""
    before = torch.get_num_threads()
    with threads(config.compute, config.network.backbone, choose_device(config.device)):
        now = torch.get_num_threads()
    if now >= before or config.compute.threads is not None:
        return None
    return (
        f"the backbone {config.network.backbone} computes with one thread, so that other processes "
        "do not slow it down; compute.threads sets more"
    )


def faces_to_be_read(config: RunConfig, data: RunData) -> list[FaceSet]:
    """The labelled faces that a run reads: one that cannot be read would end it in mid-run. Those
    without labels may be millions, and are not looked at."""
    return [data.long_tailed if learns_from_all(config) else data.labelled, data.validation]


def must_be_readable(sets: Sequence[FaceSet], workers: int) -> None:
    """Decode all images of some sets once, as training does, and keep none.

    Args:
        sets: an image that several of them hold is decoded once.
        workers: processes that decode, as `data.num_workers`.

    Raises:
        Face2ExpError: naming those that cannot be read.
    """
    rows_of: dict[int, tuple[Images, set[int]]] = {}
    for faces in sets:
        rows_of.setdefault(id(faces.images), (faces.images, set()))[1].update(faces.rows.tolist())
    bar = tqdm(
        total=sum(len(rows) for _, rows in rows_of.values()),
        desc="check that labelled images can be read",
        unit="image",
        leave=False,
        delay=2,
    )
    bad: list[tuple[str, str]] = []
    with bar:
        for images, rows in rows_of.values():
            order = sorted(rows)
            batches = [order[i : i + CHECKED] for i in range(0, len(order), CHECKED)]
            readings = loader(_Readings(images), batches, workers)
            for batch, found in zip(batches, readings, strict=True):
                bad += found
                bar.update(len(batch))
    must_be_none(bad)


class _Readings(Dataset[Any]):
    """What is wrong with images that cannot be read."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitems__(self, rows: list[int]) -> list[tuple[str, str]]:
        return unreadable(self.images, rows)


def must_keep_what_it_chose(phase: Phase, sets: dict[str, dict[str, Any]]) -> None:
    """What a method keeps of images by their places in a set goes with the set."""
    for kept, name in (*((kept, "labelled") for kept in BY_LABELLED), ("rows", "unlabelled")):
        if kept in phase.extra and name in sets:
            raise Face2ExpError(
                f"method {phase.config.method}: the {name} set has changed since the run began, "
                "and what it chose of it does not fit: restore it, or choose another --run-dir"
            )
