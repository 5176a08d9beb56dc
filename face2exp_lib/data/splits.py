"""Which faces a run learns from, chooses by and is tested on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face2exp_lib.data.draws import (
    MISSING,
    missing_of_sets,
    must_keep_classes,
    must_show_two,
    of_classes,
    smp,
)
from face2exp_lib.data.lists import Draw, Drops, read_draw, read_drops
from face2exp_lib.data.sampling import balanced_draw
from face2exp_lib.data.sets.facesets import FaceSet, plain_id, without_copies
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.sources import Data, below_data_root
from face2exp_lib.data.stream_order import ShardedFaces, open_stream
from face2exp_lib.runtime.errors import Face2ExpError

COPIES = "copies of evaluation images"
LISTED = "listed in data.drop"


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
        """What to tell of how labels were understood, and of classes that a set does not show."""
        sets = (self.test, self.long_tailed, self.validation)
        # A validation part that was cut out says the same once more.
        read = {(faces.origin, note): faces.name for faces in sets for note in faces.notes}
        return [
            *(f"note: {name}: {note}" for (_, note), name in read.items()),
            *(
                f"note: {getattr(self, name).name} shows no {', '.join(classes)}: {MISSING[name]}"
                for name, classes in self.missing.items()
            ),
        ]


@dataclass(frozen=True)
class RunData(LabelledData):
    """The sets of one run.

    Attributes:
        unlabelled: D_FR; a stream where its format is `shards`; None where the config names none.
    """

    unlabelled: FaceSet | ShardedFaces | None

    def record(self) -> dict[str, Any]:
        """Of each set the number of images, digests of its list and its table of landmarks, and how
        many landmarks were not found; what was left out, and which classes a set lacks."""
        names = ("long_tailed", "labelled", "validation", "test", "unlabelled")
        sets = {name: getattr(self, name) for name in names}
        return {
            "sets": {name: _about(faces) for name, faces in sets.items() if faces is not None},
            "left_out": self.left_out,
            "missing_classes": self.missing,
        }


def read_test(data: Data, data_root: Path | str | None) -> FaceSet:
    """The test part alone, without looking at any other set."""
    data_root = Path(data_root) if data_root else None
    return of_classes(data.test.read(data_root), data.num_classes)


def read_validation(data: Data, seed: int, data_root: Path | str | None) -> FaceSet:
    """The validation part: a set of its own, or cut from the labelled one. No more is read."""
    data_root = Path(data_root) if data_root else None
    if data.validation is None:
        return read_labelled_data(data, seed, data_root).validation
    return of_classes(data.validation.read(data_root), data.num_classes)


def read_run_data(data: Data, seed: int, data_root: Path | str | None) -> RunData:
    """List all sets of a run, hold out the evaluation parts and draw the training labels.

    Exact copies of test or validation images are dropped from the training images, never the
    other way round.

    Raises:
        Face2ExpError: if a set is missing or shows but one class, or a draw asks for too many.
    """
    data_root = Path(data_root) if data_root else None
    parts = read_labelled_data(data, seed, data_root)
    drops = _drops(data, data_root)
    unlabelled = _read_unlabelled(data, data_root)
    own = [parts.long_tailed] if unlabelled is None else [unlabelled, parts.long_tailed]
    if drops and not any(drops.knows(faces.name, faces.origin) for faces in own):
        raise Face2ExpError(
            f"data.drop: lists images of {drops.names}, and this run trains on "
            f"{' and '.join(sorted({faces.name for faces in own}))}: audit these"
        )
    left_out = dict(parts.left_out)
    if unlabelled is not None:
        evaluation = (parts.test, parts.validation) if data.check_unlabelled else ()
        held_out = {digest for part in evaluation for digest in part.digests()}
        listed = drops.ids(unlabelled.name, unlabelled.origin)
        unlabelled, num_listed, num_copies, lacking = unlabelled.without(listed, held_out)
        _must_lack_none(unlabelled.name, lacking)
        left_out["unlabelled"] = {LISTED: num_listed}
        if evaluation:
            left_out["unlabelled"][COPIES] = num_copies
        if len(unlabelled) == 0:
            raise Face2ExpError(f"{unlabelled.name}: no image is left of it: add some")
    return RunData(
        parts.long_tailed,
        parts.labelled,
        parts.validation,
        parts.test,
        left_out,
        parts.missing,
        unlabelled,
    )


def read_labelled_data(data: Data, seed: int, data_root: Path | str | None) -> LabelledData:
    """`read_run_data` without the unlabelled faces."""
    data_root = Path(data_root) if data_root else None
    names = class_names(data.num_classes)
    test = read_test(data, data_root)
    listed = data.labelled.read(data_root)
    dropped = _drops(data, data_root).ids(listed.name, listed.origin)
    pool, num_listed, _, lacking = listed.without(dropped, set())
    _must_lack_none(listed.name, lacking)
    left_out = {LISTED: num_listed}
    pool = of_classes(pool, len(names))
    unheld = without_copies(pool, [test])
    left_out["copies of test images"] = len(pool) - len(unheld)
    pool = unheld
    draw = Draw({}, {})
    if data.draw is not None:
        draw = _draw_of_classes(read_draw(below_data_root(data.draw, data_root)), len(names))
    if data.validation is not None:
        validation = of_classes(data.validation.read(data_root), len(names))
    else:
        if draw.validation:
            chosen = _rows_of(draw.validation, pool, listed, data.draw)
        else:
            free = np.flatnonzero([plain_id(image) not in draw.train for image in pool.ids])
            chosen = free[
                balanced_draw(
                    pool.known_labels()[free],
                    names,
                    per_class=data.validation_per_class,
                    seed=seed,
                    purpose="validation",
                )
            ]
        validation = pool.subset(chosen, f"{pool.name} (validation)")
        before = pool
        pool = pool.subset(np.setdiff1d(np.arange(len(pool)), chosen))
        must_keep_classes(before, pool)
    unheld = without_copies(pool, [validation])
    left_out["copies of validation images"] = len(pool) - len(unheld)
    pool = unheld
    must_show_two(pool)
    must_show_two(validation)
    if draw.train:
        labelled = pool.subset(_rows_of(draw.train, pool, listed, data.draw), f"{pool.name} (list)")
        must_show_two(labelled)
    else:
        labelled = smp(data, seed, pool)
    missing = missing_of_sets(
        {"labelled": labelled, "validation": validation, "test": test}, len(names)
    )
    return LabelledData(pool, labelled, validation, test, {"labelled": left_out}, missing)


def _drops(data: Data, data_root: Path | None) -> Drops:
    """What training does without, by all tables of `data.drop`."""
    tables = data.drop or ()
    listed = (tables,) if isinstance(tables, str) else tables
    return read_drops(*(below_data_root(table, data_root) for table in listed))


def _read_unlabelled(data: Data, data_root: Path | None) -> FaceSet | ShardedFaces | None:
    source = data.unlabelled
    if source is None:
        return None
    if source.format == "shards":
        if source.landmarks:
            raise Face2ExpError(
                "data.unlabelled: a stream's landmarks lie in its shards: leave `landmarks` out"
            )
        return open_stream(below_data_root(source.path, data_root), source.part)
    return source.read(data_root)


def _about(faces: FaceSet | ShardedFaces) -> dict[str, Any]:
    about: dict[str, Any] = {"num_images": len(faces), "digest": faces.digest}
    listed = faces.listed
    if listed is not None and listed.landmarks is not None and listed.canonical is not None:
        about["landmarks"] = hashlib.blake2b(listed.landmarks.tobytes(), digest_size=16).hexdigest()
        about["canonical_landmarks"] = int(listed.canonical.sum())
    return about


def _must_lack_none(name: str, lacking: set[str]) -> None:
    if lacking:
        raise Face2ExpError(
            f"data.drop: {name} lacks {len(lacking)} of the images that it lists, such as "
            f"{min(lacking)}: audit the set again"
        )


def _draw_of_classes(draw: Draw, num_classes: int) -> Draw:
    parts = (
        {image: label for image, label in part.items() if label < num_classes}
        for part in (draw.train, draw.validation)
    )
    return Draw(*parts)


def _rows_of(part: dict[str, int], pool: FaceSet, listed: FaceSet, path: str | None) -> np.ndarray:
    """Where the images of a draw's list stand in `pool`, sorted.

    Raises:
        Face2ExpError: if one is not there or has another label there.
    """
    row_of = {plain_id(image): row for row, image in enumerate(pool.ids)}
    lacking = sorted(part.keys() - row_of.keys())
    if lacking:
        unknown = sorted(set(lacking).difference(map(plain_id, listed.ids)))
        if unknown:
            raise Face2ExpError(
                f"{path}: {listed.name} lacks {len(unknown)} of the images that it lists, such as "
                f"{unknown[0]}: take the list's own set"
            )
        raise Face2ExpError(
            f"{path}: {len(lacking)} of the images that it lists may not be trained on, such as "
            f"{lacking[0]}: copies of evaluation images, or in data.drop: draw again"
        )
    labels = pool.known_labels()
    for image, label in part.items():
        held = int(labels[row_of[image]])
        if held != label:
            names = class_names(8)
            raise Face2ExpError(
                f"{path}: {image} is '{names[label]}' there and '{names[held]}' in {listed.name}: "
                "take the list's own set and codes"
            )
    return np.sort(np.array([row_of[image] for image in part], dtype=np.int64))
