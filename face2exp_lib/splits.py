"""Which faces a run learns from, chooses by and is tested on, and how many labels that costs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from face2exp_lib.config import RunConfig
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet, without_copies
from face2exp_lib.labels import class_names
from face2exp_lib.sampling import balanced_draw, class_counts


@dataclass(frozen=True)
class RunData:
    """The sets of one run.

    Attributes:
        long_tailed: D'_FER less what evaluation holds out.
        labelled: D_FER = Smp(D'_FER), or all of D'_FER where the config says so.
        validation, test: what chooses the checkpoint, what is read once at the end.
        unlabelled: D_FR.
        label_budget: labels used for training, for validation, and together.
    """

    long_tailed: FaceSet
    labelled: FaceSet
    validation: FaceSet
    test: FaceSet
    unlabelled: FaceSet
    label_budget: dict[str, int]


def read_test(config: RunConfig, data_root: Path | None) -> FaceSet:
    """The test part alone, without looking at any other set."""
    return _of_classes(config.data.test.read(data_root), config.data.num_classes)


def read_run_data(config: RunConfig, data_root: Path | None) -> RunData:
    """List all sets of a run, hold out the evaluation parts and draw the training labels.

    Exact copies of test or validation images are dropped from the training images, never the
    other way round.

    Raises:
        Face2ExpError: if a set is missing, a class is empty, or a draw asks for too many.
    """
    data, names = config.data, class_names(config.data.num_classes)
    test = read_test(config, data_root)
    pool = without_copies(_of_classes(data.labelled.read(data_root), len(names)), [test])
    if data.validation is not None:
        validation = _of_classes(data.validation.read(data_root), len(names))
    else:
        chosen = balanced_draw(
            pool.known_labels(),
            names,
            per_class=data.validation_per_class,
            seed=config.seed,
            purpose="validation",
        )
        validation = pool.subset(chosen, f"{pool.name} (validation)")
        pool = pool.subset(np.setdiff1d(np.arange(len(pool)), chosen))
    pool = without_copies(pool, [validation])
    for part in (pool, validation, test):
        for name, count in class_counts(part.known_labels(), names).items():
            if count == 0:
                raise Face2ExpError(f"{part.name}: class '{name}' has no image: add some")
    labelled = pool
    if data.balanced:
        drawn = balanced_draw(
            pool.known_labels(),
            names,
            per_class=data.per_class,
            seed=config.seed,
            purpose="training",
        )
        labelled = pool.subset(drawn, f"{pool.name} (Smp)")
    unlabelled = data.unlabelled.read(data_root)
    warm = config.training
    all_used = (
        config.method == "meta"
        and warm.warm_start_steps > 0
        and warm.warm_start_labels == "long_tailed"
    )
    train_labels = len(pool) if all_used else len(labelled)
    budget = {
        "train": train_labels,
        "validation": len(validation),
        "total": train_labels + len(validation),
    }
    return RunData(pool, labelled, validation, test, unlabelled, budget)


def _of_classes(faces: FaceSet, num_classes: int) -> FaceSet:
    return faces.subset(np.flatnonzero(faces.known_labels() < num_classes))
