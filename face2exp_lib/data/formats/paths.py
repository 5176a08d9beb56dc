"""The paths in lists of images, and where the files of a set lie."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from face2exp_lib.data.formats.tables import BadRows
from face2exp_lib.data.sets.imagefiles import is_left_behind
from face2exp_lib.runtime.errors import Face2ExpError

# Names of a part, of a folder or at the beginning of a file's name -> is it for training?
TRAINING_PARTS = {"train": True, "training": True, "train_set": True}
OTHER_PARTS = dict.fromkeys(
    ("test", "val", "valid", "validation", "val_set", "publictest", "privatetest"), False
)
PARTS = TRAINING_PARTS | OTHER_PARTS


class Root:
    """A folder of images that the paths of a table may not leave.

    Each folder below it is listed once, so that a table of 300,000 rows takes seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._real = os.path.realpath(folder)
        self._listings: dict[str, dict[str, bool]] = {}  # folder -> file name -> is it a link
        self._alike: dict[str, dict[str, list[str]]] = {}  # folder -> `_key` -> file names

    def find(self, text: str) -> str:
        """The path that a table names, relative to the folder, with `/` between its parts.

        Accents written in two ways (Macs take letters apart) and capitals do not matter where one
        file alone is meant.

        Raises:
            ValueError: if it names no file, leads out of the folder or nothing is there.
        """
        path = text.strip().replace("\\", "/")  # tables written on Windows
        if os.path.isabs(path) and "\0" not in path and self._holds(path):
            path = os.path.relpath(os.path.realpath(path), self._real).replace("\\", "/")
        if not path or path.endswith("/") or "\0" in path:
            raise ValueError("names no file")
        if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
            raise ValueError("the path leaves the folder of the images")
        *folders, name = posixpath.normpath(path).split("/")
        parent = ""
        for folder in folders:
            parent = f"{parent}{self._name(parent, folder)}/"
        name = self._name(parent, name)
        path = parent + name
        is_link = self._listing(parent).get(name)
        if is_link is False:
            return path
        full = os.path.join(self.folder, path)
        if is_link is None or not os.path.exists(full):
            raise ValueError("no such image")
        if not self._holds(full):
            raise ValueError("the path leaves the folder of the images")
        return path

    def _name(self, parent: str, name: str) -> str:
        """What lies in a folder by that name, or by the only one that is written like it."""
        if name in self._listing(parent):
            return name
        alike = self._alike[parent].get(_key(name), [])
        return alike[0] if len(alike) == 1 else name

    def _listing(self, parent: str) -> dict[str, bool]:
        if parent not in self._listings:
            self._listings[parent] = self._list(parent)
            alike = self._alike[parent] = {}
            for name in self._listings[parent]:
                alike.setdefault(_key(name), []).append(name)
        return self._listings[parent]

    def _list(self, parent: str) -> dict[str, bool]:
        folder = os.path.join(self.folder, parent)
        if not self._holds(folder):
            raise ValueError("the path leaves the folder of the images")
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry.is_symlink() for entry in entries}
        except OSError:
            return {}  # `find` says that there is no such image

    def _holds(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def find_image(root: Root, text: str, where: str, bad: BadRows) -> str | None:
    """`Root.find`, or None after counting the bad row."""
    if any(is_left_behind(name) for name in re.split(r"[/\\]", text.strip()) if name.strip(".")):
        bad.left_behind(text.strip()[:200])
        return None
    try:
        return root.find(text)
    except ValueError as error:
        name = text.strip()[:200] or "(empty)"
        bad.add(name, where, str(error), f" ('{name}' below {root.folder})")
    return None


def must_exist(path: Path, way_out: str) -> None:
    """Raises:
    Face2ExpError: if nothing lies at `path`.
    """
    if not path.exists():
        raise Face2ExpError(f"{path}: no such file or folder: {way_out}")


def first_existing(root: Path, names: Sequence[str], what: str) -> Path:
    """The first of several places below `root` where a set keeps something.

    Raises:
        Face2ExpError: if it is at none of them.
    """
    for name in names:
        if (root / name).exists():
            return root / name
    raise Face2ExpError(f"{root}: {what} is missing: expected {' or '.join(names)} below it")


def set_name(root: Path, part: str) -> str:
    """What messages call a part of a set, however its path is spelt."""
    path = root.resolve()
    if not part and path.name.lower() in PARTS:  # a part that is given as a folder
        return f"{path.parent.name}/{path.name}"
    return f"{path.name}/{part}" if part else path.name


def set_origin(path: Path, part: str = "") -> str:
    """`FaceSet.origin` of what lies at a path; `part` is one that has no path of its own."""
    return f"{path.resolve()}:{part}" if part else f"{path.resolve()}"
