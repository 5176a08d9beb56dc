"""What lies at a path: which layout, how many images of each class, which cannot be read."""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import (
    FaceSet,
    Format,
    read_class_folders,
    read_fer2013_csv,
    read_identity_folders,
    read_rendered,
    read_table,
)
from face2exp_lib.images import SUFFIXES, decode
from face2exp_lib.labels import CODES


@dataclass(frozen=True)
class Inspection:
    """One part of what was found.

    Attributes:
        format: the layout, as `data.*.format` of a config wants it.
        codes: the table in which its labels were looked up, as `data.*.codes` wants it.
        faces: the set.
        unreadable: one message for each image that cannot be decoded.
    """

    format: Format
    codes: str
    faces: FaceSet
    unreadable: list[str]


def inspect(path: Path) -> list[Inspection]:
    """Recognise the layout at `path`, read every part of it and decode every image once.

    Raises:
        Face2ExpError: if nothing is there or no known layout fits.
    """
    if not path.exists():
        raise Face2ExpError(f"{path}: no such file or folder")
    return [
        Inspection(format_found, codes, faces, _unreadable(faces))
        for format_found, codes, faces in _recognise(path)
    ]


def _recognise(path: Path) -> list[tuple[Format, str, FaceSet]]:
    if path.is_file():
        with path.open(newline="", errors="replace") as file:
            head = file.readline(1000)  # it may be anything, and all on one line
        if "emotion" not in head or "pixels" not in head:
            raise Face2ExpError(
                f"{path}: no layout fits: a file must be fer2013.csv (emotion,pixels,Usage)"
            )
        return [
            ("fer2013_csv", "fer2013", read_fer2013_csv(path, p, "fer2013")) for p in _usages(path)
        ]
    packed = sorted(
        zipped.stem for zipped in path.glob("*.zip") if zipped.with_suffix(".csv").exists()
    )
    if packed:
        return [("rendered", "names", read_rendered(path, part, "names")) for part in packed]
    parts = [("", path)] + [
        (child.name, child) for child in sorted(path.iterdir()) if child.is_dir()
    ]
    found: list[tuple[Format, str, FaceSet]] = []
    others = []
    for part, folder in parts:
        codes = _class_codes(folder)
        if codes:
            found.append(("class_folders", codes, read_class_folders(path, part, codes)))
            if not part:
                return found
        elif part and any(child.is_dir() for child in folder.iterdir()):
            others.append(part)
    if not found:  # nothing is labelled: the folders here are the identities
        others = [""]
    for part in others:
        found.append(("identity_folders", "names", read_identity_folders(path, part, "names")))
    return found


def _class_codes(folder: Path) -> str | None:
    """The table that knows all names of the folders with images, if one does.

    Numbers alone fit several tables: 1..7 is taken for RAF-DB's re-pack, numbers with a 0 for
    AffectNet's, whose 0 is neutral (FER2013's is anger, but its folders bear names).
    """
    names = {
        child.name.lower()
        for child in folder.iterdir()
        if child.is_dir() and any(f.suffix.lower() in SUFFIXES for f in child.iterdir())
    }
    for codes in ("names", "rafdb", "affectnet"):
        if len(names) >= 2 and names <= CODES[codes].keys():
            return codes
    return None


def _usages(path: Path) -> list[str]:
    return sorted({row["Usage"] for _, row in read_table(path, {"emotion", "pixels", "Usage"})})


def _unreadable(faces: FaceSet) -> list[str]:
    messages = []
    for row in tqdm(faces.rows, desc=f"decode {faces.name}", leave=False, delay=2):
        try:
            decode(faces.images, int(row), 48)
        except Face2ExpError as error:
            messages.append(str(error))
    return messages
