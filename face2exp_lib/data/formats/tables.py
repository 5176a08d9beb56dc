"""Lists and tables of images: what all formats that read one have in common."""

import csv
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from face2exp_lib.data.sets.facesets import Skipped
from face2exp_lib.data.sets.imagefiles import LEFT_BEHIND_TOLD
from face2exp_lib.data.sets.labels import Codes, left_out, parse_label
from face2exp_lib.runtime.errors import Face2ExpError, in_words

MAX_FIELD_CHARS = 2**24
MAX_LINE_CHARS = 2**16
DELIMITERS = ",;\t"


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

    def left_behind(self, name: str) -> None:
        """Count a file or folder that is none of the set's."""
        self.leave_out(name, LEFT_BEHIND_TOLD)

    def label(self, text: str, codes: Codes, image: str, where: str) -> int | None:
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


def must_have_columns(path: Path, names: Sequence[str], columns: set[str]) -> None:
    """Refuse a table that lacks one of `columns`."""
    missing = columns - set(names)
    if missing:
        raise Face2ExpError(
            f"{path}: column '{min(missing)}' is missing: its first line has to name "
            f"{', '.join(sorted(columns))}"
        )


def plain_columns(line: str) -> tuple[str, list[str]]:
    """Delimiter and names of the columns of a table's first line: in lower case, without blanks.

    Commas part columns, or, as spreadsheets of some countries save them, semicolons or tabs:
    whatever parts the line into most.
    """
    delimiter = max(DELIMITERS, key=lambda mark: (line.count(mark), -DELIMITERS.index(mark)))
    row = next(csv.reader([line], delimiter=delimiter), [])
    return delimiter, [name.strip().lower() for name in row]


def first_line(path: Path) -> str:
    """The beginning of a file's first line, whatever the file is; empty if it cannot be read."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline(2000).rstrip("\r\n")
    except OSError:
        return ""


def read_table(
    path: Path,
    columns: set[str],
    bad: BadRows,
    header: Sequence[str] | None = None,
    also: Mapping[str, str] | None = None,
    *,
    remarks: bool = False,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and content of each row of a csv file (UTF-8), by `plain_columns`.

    Args:
        columns: names that have to be there, in lower case. Others are passed over, such as the
            nameless one in which pandas numbers the rows.
        bad: counts rows that are cut off or too long.
        header: the names, where the file does not begin with them.
        also: another name of a column -> the one it is read as, where that is not there.
        remarks: lines before the names that begin with `#` are none of the table, and names of
            files need be no text.

    Raises:
        Face2ExpError: if it is no text, lacks one of `columns` or has it twice.
    """
    csv.field_size_limit(min(sys.maxsize, MAX_FIELD_CHARS))
    try:
        errors = "surrogateescape" if remarks else "strict"
        # With Excel's mark at the beginning or without.
        with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
            before, start = 0, file.tell()
            while remarks and file.readline(MAX_LINE_CHARS).startswith("#"):
                before, start = before + 1, file.tell()
            file.seek(start)
            delimiter, names = ",", [name.lower() for name in header or ()]
            if not header:
                delimiter, names = plain_columns(file.readline(MAX_LINE_CHARS).rstrip("\r\n"))
                names = _renamed(path, names, also or {})
                file.seek(start)
            must_have_columns(path, names, columns)
            twice = [name for name, n in Counter(names).items() if n > 1 and name in columns]
            if twice:
                raise Face2ExpError(f"{path}: two columns are called '{twice[0]}': delete one")
            rows = csv.reader(file, delimiter=delimiter)
            if not header:
                next(rows)
            for values in rows:
                if not values:
                    continue  # an empty line
                while len(values) > len(names) and not values[-1].strip():
                    values.pop()  # a delimiter at the line's end
                if len(values) != len(names):
                    number = before + rows.line_num
                    reason = "too many values" if len(values) > len(names) else "too few values"
                    bad.add(f"{path.name}, line {number}", f"{path}, line {number}", reason)
                else:
                    yield before + rows.line_num, dict(zip(names, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Face2ExpError(
            f"{path}: not readable as a csv table ({in_words(error)}): save it as UTF-8 text"
        ) from error


def _renamed(path: Path, names: list[str], also: Mapping[str, str]) -> list[str]:
    """The columns' names with the other names that `also` knows replaced."""
    for meant in dict.fromkeys(also.values()):
        others = [name for name in names if also.get(name) == meant]
        if meant in names or not others:
            continue
        if len(others) > 1:
            raise Face2ExpError(
                f"{path}: both '{others[0]}' and '{others[1]}' may be its column '{meant}': call "
                f"the right one '{meant}'"
            )
        names = [meant if name == others[0] else name for name in names]
    return names


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
        told = in_words(error)
        raise Face2ExpError(f"{path}: not readable as a list ({told}): fetch it again") from error
