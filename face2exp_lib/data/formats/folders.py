"""Folders named by class, and folders named by person."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from face2exp_lib.data.formats.codes import Chosen, choose_codes
from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import PARTS, must_exist, set_name, set_origin
from face2exp_lib.data.formats.published import EVERY
from face2exp_lib.data.formats.tables import BadRows
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import SUFFIXES, is_image, is_left_behind, list_images
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.data.sets.labels import (
    ALIASES,
    CODES,
    LEFT_OUT,
    Codes,
    codes_name,
    left_out,
    parse_label,
    plain_label,
)
from face2exp_lib.runtime.errors import Face2ExpError

MAX_CLASS_FOLDERS = 64  # a folder with more holds persons
OTHER_FILE = f"no image by the end of its name ({', '.join(sorted(SUFFIXES))} are)"
WEBFACE_PERSON = re.compile(r"\d+_\d+_\d+")  # its ten parts are numbered as classes may be


def read_class_folders(
    root: Path, part: str, codes: Codes | None, skip_bad: bool = False
) -> FaceSet:
    """`root/<class>/image`: FER2013, the RAF-DB and AffectNet re-packs, a user's own folders.

    `part` names a folder between root and classes, such as `train`; it may be empty. Folders may
    stand between class and image, such as one a person.
    """
    folder = root / part
    must_exist(folder, "check the data root and the part")
    bad = BadRows(skip_bad)
    paths = _images(folder, "class", bad)
    note = ""
    if codes is None:
        codes, note = _chosen(folder, Counter(p.split("/")[0] for p in paths if "/" in p))
    label_of: dict[str, int] = {}
    kept, labels = [], []
    for path in paths:
        if "/" not in path:
            bad.add(path, f"{folder / path}", "lies in no class folder", way_out="move it into one")
            continue
        name = path.split("/")[0]
        if name not in label_of:
            try:
                label_of[name] = parse_label(name, codes)
            except Face2ExpError as error:
                meaning = left_out(name, codes)
                if meaning is not None:
                    bad.leave_out(path, f"in folder {name} ({meaning})")
                else:
                    bad.add(path, f"{folder}", f"folder with {error}", way_out="rename the folder")
                continue
        kept.append(path)
        labels.append(label_of[name])
    bad.must_leave(len(kept), folder, "no image in a folder that is named by a class")
    return FaceSet(
        set_name(root, part),
        FileImages(folder, kept),
        np.arange(len(kept)),
        np.array(labels, dtype=np.int64),
        skipped=tuple(bad.skipped),
        origin=set_origin(folder),
        codes=codes_name(codes),
        notes=(note,) if note else (),
    )


def read_identity_folders(
    root: Path, part: str, codes: Codes | None, skip_bad: bool = False
) -> FaceSet:
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
        origin=set_origin(folder),
    )


def _images(folder: Path, below: str, bad: BadRows) -> list[str]:
    listed = list_images(folder)
    for name in listed.links:
        bad.add(
            name, f"{folder / name}", "a linked folder is not entered", way_out="put a folder there"
        )
    for name in listed.others:
        bad.leave_out(name, OTHER_FILE)
    for name in listed.left_behind:
        bad.left_behind(name)
    where = f"no image found: expected {folder.name}/<{below}>/<image>"
    bad.must_leave(len(listed.images), folder, where)
    return listed.images


def _chosen(folder: Path, counts: Counter[str]) -> Chosen:
    """The table of a part's class folders: by its own counts, else by those of all parts beside it,
    which are numbered alike (as many images of each class in a test part tell nothing)."""
    try:
        return choose_codes(counts, "names", f"{folder}")
    except Face2ExpError:
        beside = [
            class_counts(child)
            for child in part_like(folder.resolve().parent)
            if child.name.lower() in PARTS and child.resolve() != folder.resolve()
        ]
        if folder.resolve().name.lower() not in PARTS or not any(beside):
            raise
        return choose_codes(sum(beside, counts), "names", f"{folder}")


def recognise_class_folders(path: Path) -> list[str]:
    """Class folders at the path itself or one folder below it."""
    if not path.is_dir():
        return []
    if class_counts(path):
        return [""]
    return [child.name for child in part_like(path) if class_counts(child)]


def recognise_identity_folders(path: Path) -> list[str]:
    """Folders with images in folders that no other layout claims; else the path as a whole.

    Where parts of the path hold class folders, each other part with folders in it is a set of
    persons by itself.
    """
    if not path.is_dir() or class_counts(path):
        return []
    labelled = set(recognise_class_folders(path))
    if not labelled:
        return [""]
    return [
        child.name
        for child in part_like(path)
        if child.name not in labelled and any(_folders(child, links=True))
    ]


def class_like(path: Path) -> list[Path]:
    """The folders in a folder, sorted; none if there are more than classes or parts can be."""
    found = sorted(islice(_folders(path, links=False), MAX_CLASS_FOLDERS + 1))
    return found if len(found) <= MAX_CLASS_FOLDERS else []


def part_like(path: Path) -> list[Path]:
    """`class_like` with linked folders, but for those that lead back to where one comes from."""
    found = sorted(islice(_folders(path, links=True), MAX_CLASS_FOLDERS + 1))
    here = path.resolve()
    if len(found) > MAX_CLASS_FOLDERS:
        return []
    return [child for child in found if child.resolve() not in (here, *here.parents)]


def class_counts(folder: Path) -> Counter[str]:
    """Folder name -> number of images in class folders; empty if these are none.

    Numbers have to be those of one table. Of names a few may be unknown: reading then says which.
    Classes may hold folders, such as one a person; numbered ones are then classes only where their
    counts say so, for parts of large sets of persons are numbered, too.
    """
    children = {child.name: child for child in class_like(folder)}
    numbers = {name for name in children if re.fullmatch("[0-9]|10", name)}
    names = {name for name in children if plain_label(name) in KNOWN_NAMES}
    counts = Counter({name: _count_images(child) for name, child in children.items()})
    if names:
        for name in names:
            counts[name] += _count_below(children[name])
    elif numbers and not counts.total() and not _has_persons(children[min(numbers)]):
        counts.update({name: _count_below(children[name]) for name in numbers})
        try:
            choose_codes(+counts, "names", f"{folder}")
        except Face2ExpError:
            return Counter()
    counts = +counts  # those that hold images
    known = counts.keys() & (names or numbers)
    if len(counts) < 2 or len(known) < 2:
        return Counter()
    if names:
        return counts if len(known) > len(counts.keys() - known) else Counter()
    fits = any(
        counts.keys() <= {*table, *LEFT_OUT.get(codes, {})} for codes, table in CODES.items()
    )
    return counts if fits else Counter()


KNOWN_NAMES = ALIASES.keys() | LEFT_OUT["names"].keys()


def _folders(folder: Path, *, links: bool) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_left_behind(entry.name) and _is_folder(entry, links):
                yield folder / entry.name


def _is_folder(entry: "os.DirEntry[str]", links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError:  # a link that leads to itself
        return False


def _has_persons(folder: Path) -> bool:
    first = next(_folders(folder, links=False), None)
    return first is None or WEBFACE_PERSON.fullmatch(first.name) is not None


def _count_images(folder: Path) -> int:
    with os.scandir(folder) as entries:
        return sum(is_image(e.name) and not is_left_behind(e.name) for e in entries)


def _count_below(folder: Path) -> int:
    """Images in the folders of a folder."""
    return sum(len(list_images(child).images) for child in _folders(folder, links=False))


CLASS_FOLDERS = Format(
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
    published=EVERY,
    notes="Also FER2013 as folders, the re-packs of RAF-DB and AffectNet, and CK+ with a folder a "
    "person in each class. Folders that are links are not entered; a part may be one.",
)
IDENTITY_FOLDERS = Format(
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
