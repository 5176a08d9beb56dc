"""Labelled (FER) and unlabelled (FR) sets of faces behind one class.

`face2exp_lib.data.formats` reads them from their layouts.
"""

import hashlib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from face2exp_lib.data.sets.images import Images, unreadable
from face2exp_lib.runtime.errors import Face2ExpError


class Skipped(NamedTuple):
    """An image or row that a reader left out.

    Attributes:
        image: its path, id or line.
        reason: the same words for the same reason, so that they can be counted.
        bad: something is wrong with it; False where the set itself marks it as no expression.
    """

    image: str
    reason: str
    bad: bool


@dataclass(frozen=True)
class FaceSet:
    """Images with, where the set has them, labels and identities. Nothing is decoded yet.

    Attributes:
        name: what messages call it.
        images: where the image of each row lies.
        rows: (N,) positions in `images` that belong to this set, so that a subset costs nothing.
        labels: (N,) `Expression` codes, or None for unlabelled faces.
        identities: (N,) names or numbers of persons, or None.
        landmarks: (N, 5, 2) float32 x, y in px of the stored image, or None: the eyes, the nose tip
            and the corners of the mouth, of each pair first the one on the left of the image.
        canonical: (N,) bool, whose landmarks were not found and are those of an average face, or
            None if no detector was asked.
        distributions: (N, 8) float32 shares of the annotators' votes in the order of `Expression`,
            or None.
        skipped: what the set lists and this does not hold.
        origin: what the set is, however an argument spells it: its resolved path, and behind a
            colon its part where that is no file or folder of its own; empty for one made in memory.
        codes: the table its labels were looked up in, for people; empty without labels.
        notes: what somebody has to know of how the labels were understood.
    """

    name: str
    images: Images
    rows: np.ndarray
    labels: np.ndarray | None = None
    identities: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    canonical: np.ndarray | None = None
    distributions: np.ndarray | None = None
    skipped: tuple[Skipped, ...] = ()
    origin: str = ""
    codes: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def ids(self) -> list[str]:
        """The image ids, one a row."""
        return [self.images.ids[row] for row in self.rows]

    def subset(self, indices: np.ndarray, name: str | None = None) -> "FaceSet":
        """The samples at `indices`."""

        def of(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[indices]

        return replace(
            self,
            name=name or self.name,
            rows=self.rows[indices],
            labels=of(self.labels),
            identities=of(self.identities),
            landmarks=of(self.landmarks),
            canonical=of(self.canonical),
            distributions=of(self.distributions),
        )

    def noted(self, *notes: str) -> "FaceSet":
        """The same set with notes before those that it has."""
        return replace(self, notes=(*notes, *self.notes))

    def known_labels(self) -> np.ndarray:
        """The labels.

        Raises:
            Face2ExpError: if the set has none.
        """
        if self.labels is None:
            raise Face2ExpError(f"{self.name}: this set has no labels: choose a labelled format")
        return self.labels

    @property
    def listed(self) -> "FaceSet":
        """The set as a list of its images, which a stream is not."""
        return self

    @property
    def digest(self) -> str:
        """What it lists, as 32 hexadecimal digits: ids and labels in order, not the pixels."""
        digest = hashlib.blake2b(digest_size=16)
        for index, row in enumerate(
            self.rows
        ):  # one by one: millions of ids need not lie in memory
            image = self.images.ids[row]
            label = -1 if self.labels is None else int(self.labels[index])
            digest.update(f"{len(image)} {image} {label}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def without(self, ids: set[str], digests: set[bytes]) -> tuple["FaceSet", int, int, set[str]]:
        """Leave images out by their ids and by the digests of their stored bytes.

        Returns:
            What is left; how many had one of `ids`, and how many others one of `digests`; those of
            `ids` that no image has.

        Raises:
            Face2ExpError: naming an image that cannot be read, if there are `digests`.
        """
        dropped, here = {plain_id(image) for image in ids}, [plain_id(image) for image in self.ids]
        left = self.subset(np.flatnonzero([image not in dropped for image in here]))
        kept = left
        if digests:
            held_out = [digest in digests for digest in left.digests()]
            kept = left.subset(np.flatnonzero(np.logical_not(held_out)))
        lacking = dropped.difference(here)
        return kept, len(self) - len(left), len(left) - len(kept), lacking

    def digests(self) -> list[bytes]:
        """A digest of each image's stored bytes: equal for exact copies.

        Raises:
            Face2ExpError: naming the image that cannot be read.
        """
        digests = []
        for row in tqdm(self.rows, desc=f"hash {self.name}", unit="image", leave=False, delay=2):
            try:
                stored = self.images.read(row)
            except Exception as error:  # as in `decode`
                raise unreadable(self.images, row, error) from error
            digests.append(hashlib.blake2b(stored, digest_size=16).digest())
        return digests


def plain_id(image: str) -> str:
    """An id by which lists are compared: Macs take accents apart in the names of files."""
    return unicodedata.normalize("NFC", image)


def without_copies(candidates: FaceSet, evaluation: Sequence[FaceSet]) -> FaceSet:
    """`candidates` less every image that is an exact copy of one in an evaluation set."""
    held_out = {digest for part in evaluation for digest in part.digests()}
    return candidates.without(set(), held_out)[0]


def drawn_faces(faces: FaceSet, most: int, seed: int) -> FaceSet:
    """At most so many faces of a set, in its order."""
    if len(faces) <= most:
        return faces
    drawn = np.random.default_rng(seed).choice(len(faces), most, replace=False)
    return faces.subset(np.sort(drawn))
