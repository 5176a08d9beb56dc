"""Folders named by class, and folders named by person."""

import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from face2exp_lib.adapters.adapter import Adapter
from face2exp_lib.adapters.published import (
    AFFECTNET,
    FER2013,
    FER2013_TRAIN,
    MAX_DISTANCE,
    RAFDB,
    Published,
    comparable,
    distance,
)
from face2exp_lib.adapters.tables import BadRows, must_exist, set_name
from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet
from face2exp_lib.images import SUFFIXES, FileImages, list_images
from face2exp_lib.labels import CODES, LEFT_OUT, left_out, parse_label

MAX_CLASS_FOLDERS = 64  # a folder with more holds persons
OTHER_FILE = f"no image by the end of its name ({', '.join(sorted(SUFFIXES))} are)"
AMBIGUOUS = frozenset("0123456")  # FER2013's codes, and AffectNet's seven


def read_class_folders(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """`root/<class>/image`: FER2013, the RAF-DB and AffectNet re-packs, a user's own folders.

    `part` names a folder between root and classes, such as `train`; it may be empty. `codes` names
    the table in which the folder names are looked up.
    """
    folder = root / part
    must_exist(folder, "check the data root and the part")
    bad = BadRows(skip_bad)
    paths = _images(folder, "class", bad)
    code_of: dict[str, int] = {}
    kept, labels = [], []
    for path in paths:
        if "/" not in path:
            bad.add(path, f"{folder / path}", "lies in no class folder", way_out="move it into one")
            continue
        name = path.split("/")[0]
        if name not in code_of:
            try:
                code_of[name] = parse_label(name, codes)
            except Face2ExpError as error:
                meaning = left_out(name, codes)
                if meaning is not None:
                    bad.leave_out(path, f"in folder {name} ({meaning})")
                else:
                    bad.add(path, f"{folder}", f"folder with {error}", way_out="rename the folder")
                continue
        kept.append(path)
        labels.append(code_of[name])
    bad.must_leave(len(kept), folder, "no image in a folder that is named by a class")
    return FaceSet(
        set_name(root, part),
        FileImages(folder, kept),
        np.arange(len(kept)),
        np.array(labels, dtype=np.int64),
        skipped=tuple(bad.skipped),
    )


def read_identity_folders(root: Path, part: str, codes: str, skip_bad: bool = False) -> FaceSet:
    """`root/<identity>/image`, as in LFW, WebFace, VGGFace2 and CASIA: faces without labels.

    Folders between, such as WebFace's ten parts 0 to 9, become part of the identity's name.
    """
    del codes
    folder = root / part
    must_exist(folder, "check the data root and the part")
    bad = BadRows(skip_bad)
    paths = _images(folder, "identity", bad)
    identities = np.array([path.rsplit("/", 1)[0] if "/" in path else "" for path in paths])
    return FaceSet(
        set_name(root, part),
        FileImages(folder, paths),
        np.arange(len(paths)),
        identities=identities,
        skipped=tuple(bad.skipped),
    )


def _images(folder: Path, below: str, bad: BadRows) -> list[str]:
    paths, links, others = list_images(folder)
    for name in links:
        bad.add(
            name, f"{folder / name}", "a linked folder is not entered", way_out="put a folder there"
        )
    for name in others:
        bad.leave_out(name, OTHER_FILE)
    bad.must_leave(len(paths), folder, f"no image found: expected {folder.name}/<{below}>/<image>")
    return paths


def recognise_class_folders(path: Path) -> list[tuple[str, str]]:
    """Class folders at the path itself or one folder below it."""
    if not path.is_dir():
        return []
    codes = class_codes(path)
    if codes:
        return [("", codes)]
    parts = [(child.name, class_codes(child)) for child in class_like(path)]
    return [(part, codes) for part, codes in parts if codes]


def recognise_identity_folders(path: Path) -> list[tuple[str, str]]:
    """Folders with images in folders that no other layout claims; else the path as a whole.

    Where parts of the path hold class folders, each other part with folders in it is a set of
    persons by itself.
    """
    if not path.is_dir() or class_codes(path):
        return []
    labelled = {part for part, _ in recognise_class_folders(path)}
    if not labelled:
        return [("", "")]
    return [
        (child.name, "")
        for child in class_like(path)
        if child.name not in labelled and _has_folders(child)
    ]


def class_like(path: Path) -> list[Path]:
    """The folders in a folder, sorted; none if there are more than classes or parts can be."""
    with os.scandir(path) as entries:
        folders = (e.path for e in entries if e.is_dir(follow_symlinks=False))
        found = sorted(islice(folders, MAX_CLASS_FOLDERS + 1))
    return [Path(folder) for folder in found] if len(found) <= MAX_CLASS_FOLDERS else []


def class_codes(folder: Path) -> str | None:
    """The table that knows the names of the folders with images, if one does.

    Numbers alone fit several tables: 1..7 is taken for RAF-DB's re-pack, numbers with a 0 for
    AffectNet's, whose 0 is neutral, unless their counts are like FER2013's. Of names a few may be
    unknown: reading then says which.
    """
    counts = {child.name.lower(): _count_images(child) for child in class_like(folder)}
    names = {name for name, count in counts.items() if count}
    if len(names) < 2:
        return None
    if names == AMBIGUOUS and fits_numbered(counts, FER2013_TRAIN):
        return "fer2013"
    for codes in ("rafdb", "affectnet"):
        known = names & CODES[codes].keys()
        if len(known) >= 2 and names <= known | LEFT_OUT.get(codes, {}).keys():
            return codes
    known = names & (CODES["names"].keys() | LEFT_OUT["names"].keys())
    return "names" if len(known) >= 2 and len(known) > len(names - known) else None


def fits_numbered(counts: Mapping[str, int], published: Published) -> bool:
    """Whether folders named by the codes of a set hold shares like its published ones."""
    table = CODES[published.codes]
    by_name = {table[code].name.lower(): n for code, n in counts.items() if code in table}
    return distance(by_name, comparable(by_name, published)) <= MAX_DISTANCE


def _has_folders(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.is_dir() for entry in entries)


def _count_images(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(os.path.splitext(entry.name)[1].lower() in SUFFIXES for entry in entries)


CLASS_FOLDERS = Adapter(
    name="class_folders",
    title="Class folders",
    read=read_class_folders,
    recognise=recognise_class_folders,
    layout="""\
train/          the part; any name, or none
  happy/        a class name, or a code of the table that `codes` names
    a.jpg""",
    example="{format: class_folders, path: my_faces, part: train}",
    codes="names",
    state="That of the images.",
    published=(*RAFDB, *AFFECTNET, *FER2013),
    notes="Also FER2013 as folders, and the re-packs of RAF-DB (`codes: rafdb`) and AffectNet "
    "(`codes: affectnet`). Folders that are links are not entered.",
)
IDENTITY_FOLDERS = Adapter(
    name="identity_folders",
    title="Identity folders: LFW, WebFace, VGGFace2, CASIA-WebFace",
    read=read_identity_folders,
    recognise=recognise_identity_folders,
    layout="""\
Aaron_Eckhart/            LFW: a person's name
  Aaron_Eckhart_0001.jpg
0_0_0000000/              WebFace42M and WebFace260M, also below their parts 0 to 9
  0_0.jpg
n000002/                  VGGFace2
  0001_01.jpg
0000045/                  CASIA-WebFace
  001.jpg""",
    example="{format: identity_folders, path: lfw}",
    codes="",
    state="LFW: public, for research. WebFace260M and its clean part WebFace42M: gated, for "
    "research, not to be passed on. VGGFace2 and CASIA-WebFace: for research. MS-Celeb-1M, which "
    "many re-packs hold, was withdrawn by its publisher: do not build on it.",
    notes="The images must be cropped to the face.",
)
