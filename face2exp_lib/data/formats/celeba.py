"""CelebA, aligned: faces with identities and five landmarks."""

from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import Root, find_image, first_existing, set_name, set_origin
from face2exp_lib.data.formats.tables import BadRows, Entry, read_lines, unique
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.runtime.errors import Face2ExpError

IMAGES = ("img_align_celeba", "Img/img_align_celeba")
FOLDERS = ("", "Anno/", "Eval/")
IDENTITIES = "identity_CelebA.txt"
LANDMARKS = "list_landmarks_align_celeba.txt"
PARTITION = "list_eval_partition.txt"
PARTS = {"train": "0", "val": "1", "test": "2"}
MAX_SIDE = 100_000.0  # px


def read_celeba(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """Aligned images by the list of identities; `part` is train, val, test or empty for all."""
    del codes
    table = _list(root, IDENTITIES)
    images = Root(first_existing(root, IMAGES, "the folder of images"))
    bad = BadRows(skip_bad)
    part_of = _partition(root, part, bad)
    entries = []
    for line, text in read_lines(table):
        where, values = f"{table}, line {line}", text.split()
        if len(values) != 2:
            bad.add(f"line {line}", where, "needs a name and a person's number")
        elif part and values[0] not in part_of:
            bad.add(values[0], where, "an image of no part", f": {PARTITION} has no {values[0]}")
        elif not part or part_of[values[0]] == PARTS[part]:
            image = find_image(images, values[0], where, bad)
            if image is not None:
                entries.append(Entry(line, image, (values[1],)))
    entries = unique(entries, table, bad)
    landmarks = None
    if any((root / f"{folder}{LANDMARKS}").exists() for folder in FOLDERS):
        points = _landmarks(_list(root, LANDMARKS), bad)
        for entry in entries:
            if entry.image not in points:
                bad.add(entry.image, str(_list(root, LANDMARKS)), "no landmarks", f" of {entry[1]}")
        entries = [entry for entry in entries if entry.image in points]
        landmarks = np.array([points[entry.image] for entry in entries], dtype=np.float32)
    bad.must_leave(len(entries), table, f"no usable line of part '{part}'")
    return FaceSet(
        set_name(root, part),
        FileImages(images.folder, [entry.image for entry in entries]),
        np.arange(len(entries)),
        identities=np.array([entry.values[0] for entry in entries]),
        landmarks=landmarks,
        skipped=tuple(bad.skipped),
        origin=set_origin(table, part),
    )


def _list(root: Path, name: str) -> Path:
    return first_existing(root, [f"{folder}{name}" for folder in FOLDERS], name)


def _partition(root: Path, part: str, bad: BadRows) -> dict[str, str]:
    """Name -> number of its part; empty where no part is asked for."""
    if not part:
        return {}
    if part not in PARTS:
        raise Face2ExpError(f"{root}: no part '{part}': CelebA has {', '.join(PARTS)}")
    table, part_of = _list(root, PARTITION), {}
    for line, text in read_lines(table):
        values = text.split()
        if len(values) != 2 or values[1] not in PARTS.values():
            where = f"{table}, line {line}"
            bad.add(f"line {line}", where, "needs a name and its part's number, 0 to 2")
        else:
            part_of[values[0]] = values[1]
    return part_of


def _landmarks(table: Path, bad: BadRows) -> dict[str, np.ndarray]:
    """Name -> (5, 2) px. Before them stand the number of rows and the columns' names."""
    points = {}
    for line, text in read_lines(table):
        name, *values = text.split()
        if (line == 1 and not values) or (line == 2 and name.startswith("lefteye")):
            continue
        try:
            array = np.array(values, dtype=np.float32).reshape(5, 2)
            if not (np.abs(array) < MAX_SIDE).all():  # NaN is not smaller either
                raise ValueError("not in the image")
        except ValueError:
            bad.add(name, f"{table}, line {line}", "needs 10 finite coordinates")
            continue
        points[name] = array
    return points


def recognise(path: Path) -> list[str]:
    """The aligned images with the list of identities."""
    if not any((path / folder).is_dir() for folder in IMAGES):
        return []
    if not any((path / f"{folder}{IDENTITIES}").is_file() for folder in FOLDERS):
        return []
    return [""]


CELEBA = Format(
    name="celeba",
    title="CelebA (aligned)",
    read=read_celeba,
    recognise=recognise,
    layout="""\
img_align_celeba/000001.jpg         178 x 218 px; also below Img/
identity_CelebA.txt                 lines `000001.jpg 2880`; also below Anno/
list_landmarks_align_celeba.txt     five points of each image; may be missing
list_eval_partition.txt             for the parts; also below Eval/""",
    example="{format: celeba, path: celeba, part: train}",
    codes="",
    state="For non-commercial research; may not be passed on.",
    notes="Parts are `train`, `val` and `test`; without a part all images are read. "
    "`FaceSet.landmarks` holds the five points, so that no detector is needed. "
    "torchvision stores the set in this layout.",
)
