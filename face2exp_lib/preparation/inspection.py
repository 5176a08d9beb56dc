"""What lies at a path: which layout, how many images of each class, what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from face2exp_lib.data.formats.published import Published
from face2exp_lib.data.lists import write_drops
from face2exp_lib.data.reading import label_counts, published_like
from face2exp_lib.data.recognition import Found, find_sets, read_found
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.runtime.errors import Face2ExpError

SIDE = 48  # px; every image is decoded once, to see whether that works


@dataclass(frozen=True)
class Inspection:
    """One part of what was found.

    Attributes:
        format: the layout, as `data.*.format` of a config wants it.
        part: as `data.*.part` wants it.
        faces: the set; its `skipped` lists the rows that were left out, its `notes` what looks
            wrong with it.
        published: the part of a published set that its counts are like, if there is one.
        unreadable: id -> message of each image that cannot be decoded.
    """

    format: str
    part: str
    faces: FaceSet
    published: Published | None
    unreadable: dict[str, str]

    @property
    def counts(self) -> dict[str, int]:
        """Class name -> number of images; empty without labels."""
        return label_counts(self.faces)

    @property
    def num_bad(self) -> int:
        """Images that cannot be read and rows that cannot be used."""
        return len(self.unreadable) + sum(skipped.bad for skipped in self.faces.skipped)

    def left_out(self) -> dict[str, list[str]]:
        """Reason -> images, the most frequent first."""
        images: dict[str, list[str]] = {}
        for skipped in self.faces.skipped:
            images.setdefault(skipped.reason, []).append(skipped.image)
        return dict(sorted(images.items(), key=lambda entry: -len(entry[1])))


def inspect(path: Path | str, codes: Codes | None = None) -> list[Inspection]:
    """Recognise the layout at `path`, read every part of it and decode every image once.

    Args:
        codes: what the numbers that stand for labels mean, where that is known.

    Raises:
        Face2ExpError: if nothing is there, no known layout fits, several sets lie further inside,
            or nobody says what the numbers mean.
    """
    return [_inspect_part(found, codes) for found in find_sets(path)]


def write_bad(found: list[Inspection], path: Path | str) -> int:
    """Write a csv of what cannot be read and what was left out, as `data.drop` takes it.

    Training has to drop what cannot be read; what its reader leaves out is no more in the set.

    Returns:
        Number of rows.
    """
    path = Path(path)
    return write_drops(path, [(part.faces, part.unreadable.items()) for part in found])


def _inspect_part(found: Found, codes: Codes | None) -> Inspection:
    faces = read_found(found, codes)
    published = None if faces.labels is None else published_like(found.adapter, faces, found.part)
    return Inspection(found.adapter.name, found.part, faces, published, _unreadable(faces))


def _unreadable(faces: FaceSet) -> dict[str, str]:
    messages = {}
    for row in tqdm(faces.rows, desc=f"decode {faces.name}", unit="image", leave=False, delay=2):
        try:
            decode(faces.images, int(row), SIDE)
        except Face2ExpError as error:
            messages[faces.images.ids[int(row)]] = str(error)
    return messages
