"""From a set of faces to the mini-batches of every step."""

import signal
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from face2exp_lib.data.sampling import BalancedBatches, StepBatches
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import Images, decode_sized
from face2exp_lib.data.sets.landmarks import CANONICAL_POINTS
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError

NAMED = 5  # images that a message names
READ_SIZE = 32  # px: whether an image can be read does not depend on it


class Batch(NamedTuple):
    """Faces of one mini-batch, or a single one without its first axis.

    Attributes:
        images: (N, 3, S, S) uint8.
        labels: (N,) int64, `Expression` codes; -1 where there are none.
        landmarks: (N, 5, 2) float32 x, y in px of these images; a set without landmarks has
            `CANONICAL_POINTS`.
        indices: (N,) int64, their positions in the set.
    """

    images: Tensor
    labels: Tensor
    landmarks: Tensor
    indices: Tensor


class DecodedFaces(Dataset[Batch]):
    """A face set as images of S x S px with their labels and landmarks."""

    def __init__(self, faces: FaceSet, size: int, *, in_memory: bool) -> None:
        self.faces, self.size = faces, size
        labels = np.full(len(faces), -1) if faces.labels is None else faces.labels
        self.labels = torch.from_numpy(labels)
        self.decoded: tuple[Tensor, Tensor] | None = None
        if in_memory:
            bar = tqdm(
                range(len(faces)), desc=f"decode {faces.name}", unit="image", leave=False, delay=2
            )
            try:
                self.decoded = self._decode(bar)
            except Face2ExpError:
                must_be_none(unreadable(faces.images, faces.rows.tolist()))
                raise

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(values[0] for values in self.__getitems__([index])))

    def __getitems__(self, indices: list[int]) -> Batch:
        """One batch at once, as the data loader asks for it."""
        if self.decoded is None:
            images, landmarks = self._decode(indices)
        else:
            images, landmarks = (values[indices] for values in self.decoded)
        return Batch(images, self.labels[indices], landmarks, torch.tensor(indices))

    def ids_at(self, indices: Sequence[int]) -> list[str]:
        """What the faces at some positions are called."""
        faces = self.faces  # row by row: `faces.ids` would name every face there is, at every step
        return [faces.images.ids[faces.rows[index]] for index in indices]

    def step_sampler(
        self, batch_size: int, *, start: int, stop: int, seed: int, stream: str
    ) -> StepBatches:
        """Indices of the faces of steps `start` to `stop - 1`."""
        return StepBatches(len(self), batch_size, start=start, stop=stop, seed=seed, stream=stream)

    def _decode(self, indices: Collection[int]) -> tuple[Tensor, Tensor]:
        points = self.faces.landmarks
        known = None if points is None else (points[index] for index in indices)
        rows = [int(self.faces.rows[index]) for index in indices]
        return decode_faces(self.faces.images, rows, known, self.size)


class StepFaces(Protocol):
    """Faces that steps can take batches from: `DecodedFaces`, or a stream of shards."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: list[int]) -> Batch: ...

    def ids_at(self, indices: Sequence[int]) -> list[str]: ...

    def step_sampler(
        self, batch_size: int, *, start: int, stop: int, seed: int, stream: str
    ) -> Sampler[list[int]]: ...


class ChosenFaces:
    """Some faces of a set, by their positions in it; one may come several times."""

    def __init__(self, faces: DecodedFaces, rows: Sequence[int]) -> None:
        self.faces, self.rows = faces, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, indices: list[int]) -> Batch:
        return self.faces.__getitems__([self.rows[index] for index in indices])

    def ids_at(self, indices: Sequence[int]) -> list[str]:
        """Of positions in the whole set, as `Batch.indices` are."""
        return self.faces.ids_at(indices)

    def step_sampler(
        self, batch_size: int, *, start: int, stop: int, seed: int, stream: str
    ) -> StepBatches:
        return StepBatches(len(self), batch_size, start=start, stop=stop, seed=seed, stream=stream)


def decode_faces(
    images: Images, rows: Collection[int], points: Iterable[np.ndarray | None] | None, size: int
) -> tuple[Tensor, Tensor]:
    """Some images of S x S px, and the landmarks in px of these.

    Args:
        rows: (N,) which images.
        points: for each (5, 2) in px of the stored image; NaN or None where it has none, which
            gets `CANONICAL_POINTS`.

    Returns:
        (N, 3, S, S) uint8 with channels last in memory, as they are decoded; (N, 5, 2) float32.
    """
    decoded = torch.empty(len(rows), size, size, 3, dtype=torch.uint8)
    landmarks = torch.empty(len(rows), *CANONICAL_POINTS.shape)
    points = repeat(None, len(rows)) if points is None else points
    for position, (row, known) in enumerate(zip(rows, points, strict=True)):
        pixels, sides = decode_sized(images, row, size)
        decoded[position] = pixels.permute(1, 2, 0)
        relative: np.ndarray = CANONICAL_POINTS
        if known is not None and np.isfinite(known).all():
            relative = known / np.array(sides, np.float32)
        landmarks[position] = torch.from_numpy(relative * np.float32(size))
    return decoded.permute(0, 3, 1, 2), landmarks


def unreadable(images: Images, rows: Iterable[int]) -> list[tuple[str, str]]:
    """Those of some images that cannot be read, each with what is wrong with it."""
    bad = []
    for row in rows:
        try:
            decode_sized(images, row, READ_SIZE)
        except Face2ExpError as error:
            bad.append((images.ids[row], str(error.__cause__)))
    return bad


def must_be_none(bad: Sequence[tuple[str, str]]) -> None:
    """Make sure that no image was found to be `unreadable`.

    Raises:
        Face2ExpError: naming the first few.
    """
    if not bad:
        return
    if len(bad) == 1:
        ((name, reason),) = bad
        problem = f"{name}: not a readable image ({reason}): replace it or delete it"
    else:
        named = ", ".join(f"{name} ({reason})" for name, reason in bad[:NAMED])
        more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        problem = f"{len(bad)} images cannot be read: {named}{more}: replace or delete them"
    raise Face2ExpError(
        f"{problem}; `face2exp data inspect PATH --skip-bad FILE` lists all such files of a "
        "training set, for data.drop"
    )


def step_batches(
    faces: StepFaces,
    batch_size: int,
    *,
    start: int,
    stop: int,
    seed: int,
    stream: str,
    workers: int,
    balanced: bool = False,
) -> Iterator[Batch]:
    """Batches `start` to `stop - 1` of the endless stream that (seed, stream) names, and of each
    the rows that this process works on.

    With `balanced`, for faces with labels, every class comes alike: `sampling.BalancedBatches`.
    """
    where: dict[str, Any] = {"start": start, "stop": stop, "seed": seed, "stream": stream}
    if balanced:
        assert isinstance(faces, DecodedFaces)
        labels = faces.labels.numpy()
        whole: Sampler[list[int]] = BalancedBatches(labels, batch_size, **where)
    else:
        whole = faces.step_sampler(batch_size, **where)
    return _batches(faces, (batch[world.share(batch_size)] for batch in whole), workers)


def ordered_batches(faces: DecodedFaces, batch_size: int, workers: int) -> Iterator[Batch]:
    """All faces once, in order."""
    order = list(range(len(faces)))
    batches = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    return _batches(faces, batches, workers)


class _ErrorsAsValues(Dataset[Any]):
    """Hands a mistake of the user's over as a value: a worker process would raise it with its
    traceback written into the message."""

    def __init__(self, faces: StepFaces) -> None:
        self.faces = faces

    def __getitems__(self, indices: list[int]) -> Batch | Face2ExpError:
        try:
            return self.faces.__getitems__(indices)
        except Face2ExpError as error:
            return error


def _batches(faces: StepFaces, batches: Iterable[list[int]], workers: int) -> Iterator[Batch]:
    for batch in loader(_ErrorsAsValues(faces), batches, workers):
        if isinstance(batch, Face2ExpError):
            # A new one: a frame that holds the error it raises keeps workers alive until the
            # garbage collector comes by.
            raise Face2ExpError(str(batch)) from batch
        yield batch


def loader(images: Dataset[Any], batches: Iterable[list[int]], workers: int) -> DataLoader[Any]:
    """What `images.__getitems__` gives for each batch of indices, by processes that decode."""
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=torch.cuda.is_available(),
        # A loader otherwise takes a number from the global generator, and a resumed run would not.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=_outlive_sigterm,
    )


def _outlive_sigterm(worker: int) -> None:
    """A cluster's SIGTERM goes to every process of a run, and the step at hand needs its images:
    a process that decodes ends when the one that asked for them does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch
