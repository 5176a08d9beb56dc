"""Which faces a run learns from, chooses by and is tested on, and how many labels that costs."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face2exp_lib.budget import LABELS_ALONE
from face2exp_lib.config import RunConfig
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet, without_copies
from face2exp_lib.imagelists import (
    LISTED,
    Draw,
    list_digest,
    must_lack_none,
    read_draw,
    read_drops,
    rows_of_list,
    without_dropped,
)
from face2exp_lib.labels import class_names
from face2exp_lib.sampling import (
    balanced_draw,
    images_per_class,
    missing_classes,
    proportional_draw,
)
from face2exp_lib.sources import below_data_root
from face2exp_lib.streaming import ShardedFaces, open_stream

COPIES = "copies of evaluation images"
MISSING = {  # what it means that a set lacks a class
    "labelled": "nothing teaches the network to name it",
    "validation": "it has no part in choosing the checkpoint",
    "test": "its accuracy is not measured",
}


@dataclass(frozen=True)
class LabelledData:
    """The labelled sets of one run.

    Attributes:
        long_tailed: D'_FER less what evaluation holds out.
        labelled: D_FER = Smp(D'_FER), or all of D'_FER where the config says so.
        validation, test: what chooses the checkpoint, what is read once at the end.
        left_out: set -> reason -> number of images that training does without.
        missing: `labelled`, `validation` or `test` -> the classes that it does not show, if any.
    """

    long_tailed: FaceSet
    labelled: FaceSet
    validation: FaceSet
    test: FaceSet
    left_out: dict[str, dict[str, int]]
    missing: dict[str, list[str]]

    def notes(self) -> list[str]:
        """What to tell of classes that a set does not show."""
        return [
            f"note: {getattr(self, name).name} shows no {', '.join(classes)}: {MISSING[name]}"
            for name, classes in self.missing.items()
        ]


@dataclass(frozen=True)
class RunData(LabelledData):
    """The sets of one run.

    Attributes:
        unlabelled: D_FR; a stream where its format is `shards`.
        label_budget: labels used for training, for validation, and together.
    """

    unlabelled: FaceSet | ShardedFaces
    label_budget: dict[str, int]

    def record(self) -> dict[str, Any]:
        """Of each set the number of images, digests of its list and its table of landmarks, and how
        many landmarks were not found; what was left out, and which classes a set lacks."""
        names = ("long_tailed", "labelled", "validation", "test", "unlabelled")
        sets = {name: getattr(self, name) for name in names}
        return {
            "sets": {name: _about(faces) for name, faces in sets.items()},
            "left_out": self.left_out,
            "missing_classes": self.missing,
        }


def read_test(config: RunConfig, data_root: Path | None) -> FaceSet:
    """The test part alone, without looking at any other set."""
    return of_classes(config.data.test.read(data_root), config.data.num_classes)


def read_validation(config: RunConfig, data_root: Path | None) -> FaceSet:
    """The validation part: a set of its own, or cut from the labelled one. No more is read."""
    if config.data.validation is None:
        return read_labelled_data(config, data_root).validation
    return of_classes(config.data.validation.read(data_root), config.data.num_classes)


def of_classes(faces: FaceSet, num_classes: int) -> FaceSet:
    """The faces of a run's classes: with seven of them, all but those of contempt.

    Raises:
        Face2ExpError: if they show fewer than two classes.
    """
    kept = faces.subset(np.flatnonzero(faces.known_labels() < num_classes))
    _must_show_two(kept)
    return kept


def read_run_data(config: RunConfig, data_root: Path | None) -> RunData:
    """List all sets of a run, hold out the evaluation parts and draw the training labels.

    Exact copies of test or validation images are dropped from the training images, never the
    other way round.

    Raises:
        Face2ExpError: if a set is missing or shows but one class, or a draw asks for too many.
    """
    parts = read_labelled_data(config, data_root)
    drops = _drops(config, data_root)
    unlabelled = _read_unlabelled(config, data_root)
    own = {unlabelled.name, parts.long_tailed.name}
    if drops and not own & drops.keys():
        raise Face2ExpError(
            f"data.drop: lists images of {', '.join(sorted(drops))}, and this run trains on "
            f"{' and '.join(sorted(own))}: audit these"
        )
    evaluation = [parts.test, parts.validation] if config.data.check_unlabelled else []
    if isinstance(unlabelled, ShardedFaces):
        held_out = {digest for part in evaluation for digest in part.digests()}
        listed = drops.get(unlabelled.name, set())
        unlabelled, num_listed, num_copies, lacking = unlabelled.without(listed, held_out)
        must_lack_none(unlabelled.name, lacking)
        left_out = {LISTED: num_listed, COPIES: num_copies}
    else:
        unlabelled, left_out = without_dropped(drops, unlabelled)
        if evaluation:
            kept = without_copies(unlabelled, evaluation)
            left_out[COPIES] = len(unlabelled) - len(kept)
            unlabelled = kept
    if len(unlabelled) == 0:
        raise Face2ExpError(f"{unlabelled.name}: no image is left of it: add some")
    warm = config.training
    all_used = (
        config.method not in LABELS_ALONE
        and warm.warm_start_steps > 0
        and warm.warm_start_labels == "long_tailed"
    )
    train_labels = len(parts.long_tailed) if all_used else len(parts.labelled)
    budget = {
        "train": train_labels,
        "validation": len(parts.validation),
        "total": train_labels + len(parts.validation),
    }
    return RunData(
        parts.long_tailed,
        parts.labelled,
        parts.validation,
        parts.test,
        {**parts.left_out, "unlabelled": left_out},
        parts.missing,
        unlabelled,
        budget,
    )


def read_labelled_data(config: RunConfig, data_root: Path | None) -> LabelledData:
    """`read_run_data` without the unlabelled faces."""
    data, names = config.data, class_names(config.data.num_classes)
    test = read_test(config, data_root)
    listed = data.labelled.read(data_root)
    pool, left_out = without_dropped(_drops(config, data_root), listed)
    pool = of_classes(pool, len(names))
    unheld = without_copies(pool, [test])
    left_out["copies of test images"] = len(pool) - len(unheld)
    pool = unheld
    draw = Draw({}, {})
    if data.draw is not None:
        draw = read_draw(below_data_root(data.draw, data_root)).of_classes(len(names))
    if data.validation is not None:
        validation = of_classes(data.validation.read(data_root), len(names))
    else:
        if draw.validation:
            chosen = rows_of_list(draw.validation, pool, listed, data.draw)
        else:
            free = np.flatnonzero([image not in draw.train for image in pool.ids])
            chosen = free[
                balanced_draw(
                    pool.known_labels()[free],
                    names,
                    per_class=data.validation_per_class,
                    seed=config.seed,
                    purpose="validation",
                )
            ]
        validation = pool.subset(chosen, f"{pool.name} (validation)")
        before = pool
        pool = pool.subset(np.setdiff1d(np.arange(len(pool)), chosen))
        _must_keep_classes(before, pool)
    unheld = without_copies(pool, [validation])
    left_out["copies of validation images"] = len(pool) - len(unheld)
    pool = unheld
    _must_show_two(pool)
    _must_show_two(validation)
    if draw.train:
        rows = rows_of_list(draw.train, pool, listed, data.draw)
        labelled = pool.subset(rows, f"{pool.name} (list)")
        _must_show_two(labelled)
    else:
        labelled = _smp(config, pool)
    parts = {"labelled": labelled, "validation": validation, "test": test}
    missing = {
        name: classes
        for name, part in parts.items()
        if (classes := missing_classes(part.known_labels(), names))
    }
    return LabelledData(pool, labelled, validation, test, {"labelled": left_out}, missing)


def _smp(config: RunConfig, pool: FaceSet) -> FaceSet:
    """D_FER = Smp(D'_FER), or D'_FER itself."""
    data, names = config.data, class_names(config.data.num_classes)
    labels = pool.known_labels()
    if data.balanced:
        per_class = data.per_class
        if data.percent is not None:
            num_shown = len(names) - len(missing_classes(labels, names))
            per_class = images_per_class(len(pool), data.percent, num_shown)
        drawn = balanced_draw(
            labels, names, per_class=per_class, seed=config.seed, purpose="training"
        )
    elif data.percent is not None:
        drawn = proportional_draw(
            labels,
            names,
            percent=data.percent,
            ratios=data.ratios,
            seed=config.seed,
            purpose="training",
        )
    else:
        return pool
    return pool.subset(drawn, f"{pool.name} (Smp)")


def _drops(config: RunConfig, data_root: Path | None) -> dict[str, set[str]]:
    """Name of a set -> ids that training does without, by all tables of `data.drop`."""
    tables = config.data.drop or ()
    drops: dict[str, set[str]] = {}
    for table in (tables,) if isinstance(tables, str) else tables:
        for name, dropped in read_drops(below_data_root(table, data_root)).items():
            drops.setdefault(name, set()).update(dropped)
    return drops


def _read_unlabelled(config: RunConfig, data_root: Path | None) -> FaceSet | ShardedFaces:
    source = config.data.unlabelled
    if source.format == "shards":
        if source.landmarks:
            raise Face2ExpError(
                "data.unlabelled: a stream's landmarks lie in its shards: leave `landmarks` out"
            )
        return open_stream(below_data_root(source.path, data_root), source.part)
    return source.read(data_root)


def _about(faces: FaceSet | ShardedFaces) -> dict[str, Any]:
    about: dict[str, Any] = {"num_images": len(faces), "digest": _digest(faces)}
    if isinstance(faces, FaceSet) and faces.landmarks is not None and faces.canonical is not None:
        about["landmarks"] = hashlib.blake2b(faces.landmarks.tobytes(), digest_size=16).hexdigest()
        about["canonical_landmarks"] = int(faces.canonical.sum())
    return about


def _digest(faces: FaceSet | ShardedFaces) -> str:
    return faces.digest if isinstance(faces, ShardedFaces) else list_digest(faces)


def _must_show_two(faces: FaceSet) -> None:
    shown = [class_names(8)[code] for code in np.unique(faces.known_labels())]
    if len(shown) < 2:
        alone = f"{shown[0]} alone" if shown else "no class"
        raise Face2ExpError(f"{faces.name}: shows {alone}: add images of two classes or more")


def _must_keep_classes(before: FaceSet, after: FaceSet) -> None:
    taken = np.setdiff1d(before.known_labels(), after.known_labels())
    if len(taken):
        raise Face2ExpError(
            f"{before.name}: validation takes all images of {class_names(8)[taken[0]]}, and none "
            "is left to train on: lower data.validation_per_class, or list fewer"
        )
