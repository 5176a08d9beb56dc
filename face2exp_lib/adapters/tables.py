"""Tables of images and the paths in them: what all adapters that read a list have in common."""

import csv
import os
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import Skipped
from face2exp_lib.labels import left_out, parse_label

MAX_FIELD_CHARS = 2**24
MAX_LINE_CHARS = 2**16


class BadRows:
    """What becomes of rows that cannot be used: the first one is an error, or all are counted."""

    def __init__(self, skip_bad: bool) -> None:
        self.skip_bad = skip_bad
        self.skipped: list[Skipped] = []

    def add(
        self,
        image: str,
        where: str,
        reason: str,
        detail: str = "",
        way_out: str = "mend or delete it",
    ) -> None:
        """Count one bad row.

        Args:
            image: what the list of skipped rows calls it.
            where: file and line, for the error.
            reason: the same words for the same mistake, so that they can be counted.
            detail: what only this row has.

        Raises:
            Face2ExpError: unless bad rows are skipped.
        """
        if not self.skip_bad:
            raise Face2ExpError(
                f"{where}: {reason}{detail}: {way_out}, or set skip_bad to leave such rows out"
            )
        self.skipped.append(Skipped(image, reason, bad=True))

    def leave_out(self, image: str, reason: str) -> None:
        """Count a row that its set itself marks as no expression: never an error."""
        self.skipped.append(Skipped(image, reason, bad=False))

    def label(self, text: str, codes: str, image: str, where: str) -> int | None:
        """The label of a row, or None where the row is not to be used."""
        try:
            return parse_label(text, codes)
        except Face2ExpError as error:
            meaning = left_out(text, codes)
            if meaning is None:
                self.add(image, where, str(error))
            else:
                self.leave_out(image, f"labelled {text.strip()} ({meaning})")
        return None

    def must_leave(self, count: int, where: Path, what: str) -> None:
        """Check that a reader found something.

        Raises:
            Face2ExpError: if `count` is 0; it tells the first reason.
        """
        if count == 0:
            first = f" ({len(self.skipped)} left out, the first: " if self.skipped else ""
            first += f"{self.skipped[0].image}: {self.skipped[0].reason})" if first else ""
            raise Face2ExpError(f"{where}: {what}{first}")


class Entry(NamedTuple):
    """One usable row: its line, its image and what two rows of one image have to agree in."""

    line: int
    image: str
    values: tuple[Any, ...]


def unique(entries: Sequence[Entry], table: Path, bad: BadRows) -> list[Entry]:
    """The entries without repetitions; of an image whose rows contradict each other none stays."""
    first: dict[str, Entry] = {}
    contradicted: set[str] = set()
    for entry in entries:
        known = first.setdefault(entry.image, entry)
        if known is entry:
            continue
        same = known.values == entry.values
        reason = "an image's second row" if same else "two rows of one image contradict each other"
        detail = f" ({entry.image}, see line {known.line})"
        bad.add(entry.image, f"{table}, line {entry.line}", reason, detail)
        if not same and entry.image not in contradicted:
            contradicted.add(entry.image)
            bad.add(entry.image, f"{table}, line {known.line}", reason, detail)
    return [entry for image, entry in first.items() if image not in contradicted]


class Root:
    """A folder of images that the paths of a table may not leave.

    Each folder below it is listed once, so that a table of 300,000 rows takes seconds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._real = os.path.realpath(folder)
        self._listings: dict[str, dict[str, bool]] = {}  # folder -> file name -> is it a link

    def find(self, text: str) -> str:
        """The path that a table names, relative to the folder, with `/` between its parts.

        Raises:
            ValueError: if it names no file, leads out of the folder or nothing is there.
        """
        path = text.strip().replace("\\", "/")  # tables written on Windows
        if not path or path.endswith("/") or "\0" in path:
            raise ValueError("names no file")
        if path.startswith("/") or re.match("[A-Za-z]:", path) or ".." in path.split("/"):
            raise ValueError("the path leaves the folder of the images")
        path = posixpath.normpath(path)
        parent, _, name = path.rpartition("/")
        if parent not in self._listings:
            self._listings[parent] = self._list(parent)
        is_link = self._listings[parent].get(name)
        full = os.path.join(self.folder, path)
        if is_link is None and not os.path.exists(full):  # else upper and lower case are the same
            raise ValueError("no such image")
        if is_link is not False and not self._holds(full):
            raise ValueError("the path leaves the folder of the images")
        return path

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


def find_image(root: Root, text: str, where: str, bad: BadRows) -> str | None:
    """`Root.find`, or None after counting the bad row."""
    try:
        return root.find(text)
    except ValueError as error:
        name = text.strip()[:200] or "(empty)"
        bad.add(name, where, str(error), f" ('{name}' below {root.folder})")
    return None


def must_have_columns(path: Path, reader: "csv.DictReader[str]", columns: set[str]) -> None:
    """Refuse a table that lacks one of `columns`."""
    missing = columns - set(reader.fieldnames or ())
    if missing:
        raise Face2ExpError(
            f"{path}: column '{min(missing)}' is missing: its first line has to name "
            f"{', '.join(sorted(columns))}"
        )


def read_table(
    path: Path,
    columns: set[str],
    bad: BadRows,
    header: Sequence[str] | None = None,
    also: Mapping[str, str] | None = None,
    *,
    remarks: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of each row of a csv file (UTF-8).

    Args:
        columns: names that have to be there.
        bad: counts rows that are cut off or too long.
        header: the names, where the file does not begin with them.
        also: another name of a column -> the one it is read as, where that is not there. Names of
            such a table may have capitals and blanks around them.
        remarks: lines before the names that begin with `#` are none of the table.

    Raises:
        Face2ExpError: if it is no text or lacks one of `columns`.
    """
    csv.field_size_limit(min(sys.maxsize, MAX_FIELD_CHARS))
    try:
        errors = "surrogateescape" if remarks else "strict"
        # With Excel's mark at the beginning or without.
        with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
            before, start = 0, file.tell()
            while remarks and file.readline().startswith("#"):
                before, start = before + 1, file.tell()
            file.seek(start)
            reader = csv.DictReader(file, fieldnames=header)
            if also:
                names = [name.strip().lower() for name in reader.fieldnames or ()]
                reader.fieldnames = [
                    name if also.get(name, name) in names else also.get(name, name)
                    for name in names
                ]
            must_have_columns(path, reader, columns)
            for row in reader:
                if None in row.values() or None in row:
                    line = f"{path}, line {before + reader.line_num}"
                    reason = "too many values" if None in row else "too few values"
                    bad.add(f"{path.name}, line {reader.line_num}", line, reason)
                else:
                    yield before + reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Face2ExpError(
            f"{path}: not readable as a csv table ({error}): save it as UTF-8 text"
        ) from error


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a list that is not blank (UTF-8).

    Raises:
        Face2ExpError: if it is no text.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 0
            while line := file.readline(MAX_LINE_CHARS):
                number += 1
                if len(line) == MAX_LINE_CHARS:
                    raise ValueError(f"line {number} has {MAX_LINE_CHARS:,} characters or more")
                if line.strip():
                    yield number, line.strip()
    except (OSError, ValueError) as error:
        raise Face2ExpError(f"{path}: not readable as a list ({error}): fetch it again") from error


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
    """What messages call a part of a set."""
    return f"{root.name}/{part}" if part else root.name
