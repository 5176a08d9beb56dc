"""A set of shards as mini-batches, in memory that does not grow with it."""

import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, overload

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from face2exp_lib.data.batches import Batch, DecodedFaces, StepFaces, decode_faces
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import open_image
from face2exp_lib.data.shards.reader import ShardReader, ShardSet, points_of
from face2exp_lib.data.sources import Data
from face2exp_lib.data.stream_order import ShardedFaces, StreamBatches, StreamOrder

COLUMNS = ("offset", "length", "landmarks")


class StreamedFaces(Dataset[Batch]):
    """What `batches.DecodedFaces` is for a list of faces, for shards. Labels are left unread.

    Args:
        faces: what to stream.
        size: side of the images in px.
        window: shards whose images are mixed; a process holds the tables of as many.
    """

    def __init__(self, faces: ShardedFaces, size: int, *, window: int) -> None:
        self.faces, self.size, self.window = faces, size, window
        self.images = StreamImages(faces.shards, window)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, indices: list[int]) -> Batch:
        """One batch at once, as the data loader asks for it."""
        found = [self.images.find(index) for index in indices]
        points = [table.landmarks[row] for table, row in found]
        images, landmarks = decode_faces(self.images, indices, points, self.size)
        return Batch(images, torch.full((len(indices),), -1), landmarks, torch.tensor(indices))

    def ids_at(self, indices: Sequence[int]) -> list[str]:
        """What the images at some positions are called."""
        return [self.images.ids[index] for index in indices]

    def step_sampler(
        self, batch_size: int, *, start: int, stop: int, seed: int, stream: str
    ) -> StreamBatches:
        """Indices of the images of steps `start` to `stop - 1`."""
        order = StreamOrder(self.faces, window=self.window, seed=seed, stream=stream)
        return StreamBatches(order, batch_size, start=start, stop=stop)


def unlabelled_faces(faces: FaceSet | ShardedFaces, data: Data) -> StepFaces:
    """D_FR as steps take batches from it: a stream, or a list of images.

    Labels that it may have do not come along: whatever a method reads of it, it reads of pixels.
    """
    if isinstance(faces, ShardedFaces):
        return StreamedFaces(faces, data.stored_size, window=data.stream_window)
    unlabelled = replace(faces, labels=None, distributions=None)
    return DecodedFaces(unlabelled, data.stored_size, in_memory=data.in_memory)


class Table(NamedTuple):
    """What a batch needs of a shard's table: places, and points (NaN for none)."""

    offsets: np.ndarray
    lengths: np.ndarray
    landmarks: np.ndarray


class StreamImages:
    """All images of a set of shards. Holds the tables and open tars of a few.

    Args:
        shards: the set.
        window: tables and tars to hold.
    """

    holds_files = True

    def __init__(self, shards: ShardSet, window: int) -> None:
        self.shards, self.window = shards, window
        self.ids: Sequence[str] = StreamIds(shards)
        self._reader = ShardReader(shards, window)
        self._tables: OrderedDict[int, Table] = OrderedDict()

    def find(self, index: int) -> tuple[Table, int]:
        """The table that has an image, and its row there."""
        number = _shard_of(self.shards, index)
        if number not in self._tables:
            while len(self._tables) >= self.window:
                self._tables.popitem(last=False)
            table = self.shards.table(number, COLUMNS)
            offset, length = (table[name].to_numpy() for name in ("offset", "length"))
            # Copies: what pyarrow read lies in one piece with all columns.
            self._tables[number] = Table(np.array(offset), np.array(length), points_of(table))
        self._tables.move_to_end(number)
        return self._tables[number], index - int(self.shards.starts[number])

    def read(self, index: int) -> bytes:
        table, row = self.find(index)
        place = int(table.offsets[row]), int(table.lengths[row])
        return self._reader.read(_shard_of(self.shards, index), *place)

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.read(index)))

    def take(self, rows: np.ndarray) -> "StreamImages":
        return self  # it holds nothing that a part would not


class StreamIds(Sequence[str]):
    """What the sources of the images called them, looked up when a message names one."""

    def __init__(self, shards: ShardSet) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return int(self.shards.starts[-1])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number = _shard_of(self.shards, index)
        table = self.shards.table(number, ("image", "id"))
        row = index - int(self.shards.starts[number])
        image, name = (table[column][row].as_py() for column in ("image", "id"))
        return f"{self.shards.folder / self.shards.shards[number].url}: {image} ({name})"


def _shard_of(shards: ShardSet, index: int) -> int:
    return int(np.searchsorted(shards.starts, index, side="right")) - 1
