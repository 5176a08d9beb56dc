"""Which classes the sets of a run show, and D_FER = Smp(D'_FER) as its config asks."""

import numpy as np

from face2exp_lib.data.sampling import (
    balanced_draw,
    images_per_class,
    missing_classes,
    proportional_draw,
)
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.sources import Data
from face2exp_lib.runtime.errors import Face2ExpError

MISSING = {  # what it means that a set lacks a class
    "labelled": "nothing teaches the network to name it",
    "validation": "it has no part in choosing the checkpoint",
    "test": "its accuracy is not measured",
}


def of_classes(faces: FaceSet, num_classes: int) -> FaceSet:
    """The faces of a run's classes: with seven of them, all but those of contempt.

    Raises:
        Face2ExpError: if they show fewer than two classes.
    """
    kept = faces.subset(np.flatnonzero(faces.known_labels() < num_classes))
    must_show_two(kept)
    return kept


def must_show_two(faces: FaceSet) -> None:
    """Raises:
    Face2ExpError: if a set shows one class or none.
    """
    shown = [class_names(8)[code] for code in np.unique(faces.known_labels())]
    if len(shown) < 2:
        alone = f"{shown[0]} alone" if shown else "no class"
        raise Face2ExpError(f"{faces.name}: shows {alone}: add images of two classes or more")


def must_keep_classes(before: FaceSet, after: FaceSet) -> None:
    """Raises:
    Face2ExpError: if validation took all images of a class.
    """
    taken = np.setdiff1d(before.known_labels(), after.known_labels())
    if len(taken):
        raise Face2ExpError(
            f"{before.name}: validation takes all images of {class_names(8)[taken[0]]}, and none "
            "is left to train on: lower data.validation_per_class, or list fewer"
        )


def missing_of_sets(sets: dict[str, FaceSet], num_classes: int) -> dict[str, list[str]]:
    """Set -> the classes that it does not show; a set that shows all is not there."""
    names = class_names(num_classes)
    found = {name: missing_classes(faces.known_labels(), names) for name, faces in sets.items()}
    return {name: missing for name, missing in found.items() if missing}


def smp(data: Data, seed: int, pool: FaceSet) -> FaceSet:
    """D_FER = Smp(D'_FER), or D'_FER itself."""
    names = class_names(data.num_classes)
    labels = pool.known_labels()
    if data.balanced:
        per_class = data.per_class
        if data.percent is not None:
            num_shown = len(names) - len(missing_classes(labels, names))
            per_class = images_per_class(len(pool), data.percent, num_shown)
        drawn = balanced_draw(labels, names, per_class=per_class, seed=seed, purpose="training")
    elif data.percent is not None:
        drawn = proportional_draw(
            labels,
            names,
            percent=data.percent,
            ratios=data.ratios,
            seed=seed,
            purpose="training",
        )
    else:
        return pool
    return pool.subset(drawn, f"{pool.name} (Smp)")
