"""What a format is: how one layout is read and recognised, and what is known about its set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from face2exp_lib.data.formats.published import Published
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import Codes


class Reader(Protocol):
    """Lists the images of one part of a set with what is known about them; decodes none.

    Args:
        root: where the set lies.
        part: which part of it; what the names are is the layout's.
        codes: the table of its labels; None where nobody says it: then it is that of the layout, or
            what `codes.choose_codes` makes of the labels.
        skip_bad: count rows that cannot be used and list them in `skipped`, instead of raising an
            error at the first.

    Raises:
        Face2ExpError: if something is missing, nothing is left or, without `skip_bad`, a row is
            bad, or nobody says what numbers mean; the message names file and line.
    """

    def __call__(
        self, root: Path, part: str, codes: Codes | None, skip_bad: bool = False
    ) -> FaceSet: ...


@dataclass(frozen=True)
class Format:
    """One layout.

    Attributes:
        name: `data.*.format` of a config.
        title: set or kind of set, for people.
        read: lists one part.
        recognise: the parts that lie at a path; none if it is another layout.
        layout: files and folders, a few lines.
        example: keys of a config's source.
        codes: the table of a set that alone has this layout; "names" where labels may be anything;
            "" without labels.
        state: licence and state of the set.
        published: class counts to compare with.
        notes: what else a user has to know.
    """

    name: str
    title: str
    read: Reader
    recognise: Callable[[Path], list[str]]
    layout: str
    example: str
    codes: str
    state: str
    published: Sequence[Published] = ()
    notes: str = ""
