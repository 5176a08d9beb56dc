"""The order in which a set of shards is streamed, however large it is.

An epoch takes the shards in a random order, in windows of a few; the images of a window come in one
random order. That is the shuffle buffer: it mixes `window` shards at a time and is a function of
(seed, stream, epoch, window) alone. So the images of step t are arithmetic: nothing is replayed on
resume, the position is the step, and neither the number of ranks nor of workers changes what a step
holds. A window of one shard would follow the order in which the images were written.

WebDataset leaves resuming and exact epochs to its user (issues 177 and 271 there); wids has both to
be built around it and walks through each tar for its index; MosaicML's streaming resumes as here,
but wants its own format and lays out the order of the whole epoch, 8 bytes an image;
StatefulDataLoader saves the state of every worker, of which there is none here. None of this would
leave less code than this page.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from torch.utils.data import Sampler
from tqdm import tqdm

from face2exp_lib.data.formats.paths import set_name, set_origin
from face2exp_lib.data.formats.shards import open_shard_set
from face2exp_lib.data.shards.reader import ShardSet, rows_of_digests, rows_of_ids
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator

MAX_EXCLUDED = 5_000_000  # images; 8 bytes each in every process


@dataclass(frozen=True)
class ShardedFaces:
    """The images of a set of shards, less some. No list of them is made.

    An image's index counts through all shards, also over what is excluded.

    Attributes:
        name: what messages call it.
        shards: the set.
        excluded: number of a shard -> sorted rows of it that are left out.
    """

    name: str
    shards: ShardSet
    excluded: dict[int, np.ndarray]

    @property
    def origin(self) -> str:
        """As `FaceSet.origin`."""
        return set_origin(self.shards.folder / self.shards.name)

    def __len__(self) -> int:
        return int(self.counts.sum())

    @cached_property
    def counts(self) -> np.ndarray:
        """(S,) images of each shard that are left."""
        counts = np.diff(self.shards.starts)
        for number, rows in self.excluded.items():
            counts[number] -= len(rows)
        return counts

    @property
    def listed(self) -> None:
        """As `FaceSet.listed`: no list of the images is made."""
        return None

    @property
    def digest(self) -> str:
        """Names the content, in 32 hexadecimal digits."""
        digest = hashlib.blake2b(self.shards.digest.encode(), digest_size=16)
        for number, rows in sorted(self.excluded.items()):
            digest.update(np.array([number, len(rows), *rows], np.int64).tobytes())
        return digest.hexdigest()

    def indices(self, number: int) -> np.ndarray:
        """Indices of a shard's images that are left."""
        start, stop = self.shards.starts[number : number + 2]
        indices = np.arange(start, stop)
        return np.delete(indices, self.excluded[number]) if number in self.excluded else indices

    def without(
        self, ids: set[str], digests: set[bytes]
    ) -> tuple["ShardedFaces", int, int, set[str]]:
        """Leave images out by their ids and by the digests of what their source stored.

        Reads every table, and of it no more than the column that is asked for.

        Returns:
            What is left; how many had one of `ids`, and how many others one of `digests`; those of
            `ids` that no image has.

        Raises:
            Face2ExpError: if a table cannot be read, or too many would be left out.
        """
        excluded, lacking = dict(self.excluded), set(ids)
        num_listed = num_copies = 0
        bar = tqdm(
            range(len(self.shards.shards)), desc=f"look through {self.name}", unit="shard", delay=2
        )
        for number in bar if ids or digests else ():
            kept = self.excluded.get(number, np.empty(0, np.int64))
            listed, found = rows_of_ids(self.shards, number, ids)
            lacking -= found
            copies = rows_of_digests(self.shards, number, digests)
            rows = np.unique(np.concatenate([kept, listed, copies]))
            num_listed += len(np.setdiff1d(listed, kept))
            num_copies += len(np.setdiff1d(copies, np.union1d(kept, listed)))
            if len(rows):
                excluded[number] = rows
            if num_listed + num_copies > MAX_EXCLUDED:
                raise Face2ExpError(
                    f"{self.name}: over {MAX_EXCLUDED:,} images to be left out: shard it without "
                    "them"
                )
        return replace(self, excluded=excluded), num_listed, num_copies, lacking


def open_stream(root: Path, part: str) -> ShardedFaces:
    """The set of shards called `part` in a folder; without a part, the only one there.

    Raises:
        Face2ExpError: if it is not there, unfinished or damaged, or its tars have no tables.
    """
    shards = open_shard_set(root, part)
    if not all(shard.table_digest for shard in shards.shards):
        raise Face2ExpError(
            f"{root}: {shards.name}.json lists no tables, which a stream needs: "
            f"`face2exp data shard --index {root}` writes them"
        )
    return ShardedFaces(set_name(root, shards.name), shards, {})


class StreamOrder:
    """The images of an endless stream by their positions in it.

    Args:
        faces: what is streamed; must not be empty.
        window: shards whose images are mixed.
        seed, stream: what the order depends on beside these.
    """

    def __init__(self, faces: ShardedFaces, *, window: int, seed: int, stream: str) -> None:
        self.faces, self.window, self.seed, self.stream = faces, window, seed, stream
        self.num_images = len(faces)
        self.num_windows = -(-len(faces.counts) // window)  # of an epoch
        self._epoch, self._held = -1, -1
        self._shards = self._ends = self._indices = np.empty(0, np.int64)

    def place(self, position: int) -> tuple[int, int]:
        """Number of the window, counted through all epochs, and place in it."""
        epoch, rest = divmod(position, self.num_images)
        self._take_epoch(epoch)
        number = int(np.searchsorted(self._ends, rest, side="right"))
        begin = int(self._ends[number - 1]) if number else 0
        return epoch * self.num_windows + number, rest - begin

    def shards_of(self, window: int) -> np.ndarray:
        """Numbers of the shards in a window."""
        epoch, number = divmod(window, self.num_windows)
        self._take_epoch(epoch)
        return self._shards[number * self.window : (number + 1) * self.window]

    def indices(self, window: int) -> np.ndarray:
        """Indices of the images in a window, in their order."""
        if window != self._held:
            shards = self.shards_of(window)
            indices = np.concatenate([self.faces.indices(number) for number in shards])
            generator = numpy_generator(self.seed, f"windows/{self.stream}", window)
            self._indices, self._held = generator.permutation(indices), window
        return self._indices

    def take(self, first: int, stop: int) -> list[int]:
        """Indices of the images at positions `first` to `stop - 1`."""
        taken: list[int] = []
        while first < stop:
            window, place = self.place(first)
            part = self.indices(window)[place : place + stop - first]
            taken += part.tolist()
            first += len(part)
        return taken

    def _take_epoch(self, epoch: int) -> None:
        if epoch != self._epoch:
            generator = numpy_generator(self.seed, f"shards/{self.stream}", epoch)
            self._shards = generator.permutation(len(self.faces.counts))
            counts = self.faces.counts[self._shards]
            lasts = np.arange(1, self.num_windows + 1) * self.window
            self._ends = np.cumsum(counts)[np.minimum(lasts, len(counts)) - 1]
            self._epoch = epoch


class StreamBatches(Sampler[list[int]]):
    """`sampling.StepBatches` of a stream: batch t is a function of (seed, stream, t).

    Every rank takes its slice of each batch, so that any number of ranks shares the same batches.

    Args:
        batch_size: of all ranks together.
        start, stop: steps.
        rank, ranks: of this process among those that train together.
    """

    def __init__(
        self,
        order: StreamOrder,
        batch_size: int,
        *,
        start: int,
        stop: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch_size % ranks:
            raise Face2ExpError(
                f"a batch of {batch_size} cannot be shared by {ranks} processes: take a multiple"
            )
        self.order, self.batch_size = order, batch_size
        self.start, self.stop, self.rank, self.ranks = start, stop, rank, ranks

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.ranks
        ahead = ReadAhead(self.order)
        for step in range(self.start, self.stop):
            first = step * self.batch_size + self.rank * share
            ahead.reach(first)
            yield self.order.take(first, first + share)


class ReadAhead:
    """Asks the system for the tars of the next window while this one is used, from begin to end:
    disks read in sequence, and images are found in the page cache. Elsewhere than on Linux and
    macOS's kin without `posix_fadvise` it does nothing."""

    def __init__(self, order: StreamOrder) -> None:
        self.order = order
        self._window: int | None = None
        self._asked = 0

    def reach(self, position: int) -> None:
        """Tell where the stream has come."""
        if not hasattr(os, "posix_fadvise"):
            return
        window, place = self.order.place(position)
        if window != self._window:
            if self._window is None or self._window < window - 1:  # nobody has asked for it
                self._ask(window, 0, self._bytes(window))
            self._window, self._asked = window, 0
        part = (place + 1) / len(self.order.indices(window))
        target = int(part * self._bytes(window + 1))
        self._ask(window + 1, self._asked, target)
        self._asked = target

    def _bytes(self, window: int) -> int:
        shards = self.order.faces.shards.shards
        return sum(shards[number].filesize for number in self.order.shards_of(window))

    def _ask(self, window: int, first: int, stop: int) -> None:
        """Ask for bytes `first` to `stop - 1` of a window's tars, laid one after the other."""
        shards, begin = self.order.faces.shards, 0
        for number in self.order.shards_of(window):
            shard = shards.shards[number]
            low, high = max(first - begin, 0), min(stop - begin, shard.filesize)
            begin += shard.filesize
            # A file that is not there is named when one of its images is read.
            if low < high:
                with suppress(OSError), (shards.folder / shard.url).open("rb") as file:
                    os.posix_fadvise(file.fileno(), low, high - low, os.POSIX_FADV_WILLNEED)
