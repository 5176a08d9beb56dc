"""From a set of faces to the mini-batches of every step."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.facesets import FaceSet
from face2exp_lib.images import decode
from face2exp_lib.sampling import StepBatches


class DecodedFaces(Dataset[tuple[Tensor, Tensor]]):
    """A face set as (N, 3, S, S) uint8 images and (N,) labels (-1 where there are none)."""

    def __init__(self, faces: FaceSet, size: int, *, in_memory: bool) -> None:
        self.faces, self.size = faces, size
        labels = np.full(len(faces), -1) if faces.labels is None else faces.labels
        self.labels = torch.from_numpy(labels)
        self.pixels: Tensor | None = None
        if in_memory:
            bar = tqdm(range(len(faces)), desc=f"decode {faces.name}", leave=False, delay=2)
            self.pixels = torch.stack([self._decode(index) for index in bar])

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """One batch at once, as the data loader asks for it."""
        if self.pixels is None:
            images = torch.stack([self._decode(index) for index in indices])
        else:
            images = self.pixels[indices]
        return images, self.labels[indices]

    def _decode(self, index: int) -> Tensor:
        return decode(self.faces.images, int(self.faces.rows[index]), self.size)


def step_batches(
    faces: DecodedFaces,
    batch_size: int,
    *,
    start: int,
    stop: int,
    seed: int,
    stream: str,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches `start` to `stop - 1` of the endless stream that (seed, stream) names."""
    sampler = StepBatches(len(faces), batch_size, start=start, stop=stop, seed=seed, stream=stream)
    return _batches(faces, sampler, workers)


def ordered_batches(
    faces: DecodedFaces, batch_size: int, workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """All faces once, in order."""
    order = list(range(len(faces)))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return _batches(faces, batches, workers)


class _ErrorsAsValues(Dataset[Any]):
    """Hands a mistake of the user's over as a value: a worker process would raise it with its
    traceback written into the message."""

    def __init__(self, faces: DecodedFaces) -> None:
        self.faces = faces

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor] | Face2ExpError:
        try:
            return self.faces.__getitems__(indices)
        except Face2ExpError as error:
            return error


def _batches(
    faces: DecodedFaces, batches: Iterable[list[int]], workers: int
) -> Iterator[tuple[Tensor, Tensor]]:
    loader: DataLoader[Any] = DataLoader(
        _ErrorsAsValues(faces),
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        # A loader otherwise takes a number from the global generator, and a resumed run would not.
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        if isinstance(batch, Face2ExpError):
            # A new one: a frame that holds the error it raises keeps workers alive until the
            # garbage collector comes by.
            raise Face2ExpError(str(batch)) from batch
        yield batch


def _as_it_is(batch: Any) -> Any:
    return batch
