"""Sets of tiny images that show their own number, and shards of them, for the tests."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.shards import numbers, tiny
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import open_image
from face2exp_lib.data.shards.reader import ShardSet
from face2exp_lib.data.stream_order import ShardedFaces
from face2exp_lib.preparation.sharding import Recipe, shard_set

__all__ = ["NumberedImages", "numbered", "numbers", "sharded", "tiny"]


class NumberedImages:
    """PNGs of 8 x 8 px, made when they are read."""

    holds_files = True

    def __init__(self, held: Sequence[int], broken: Sequence[int] = ()) -> None:
        self.held, self.broken = held, broken
        self.ids: Sequence[str] = [f"person{number // 10}/{number}.png" for number in held]

    def read(self, index: int) -> bytes:
        number = self.held[index]
        return b"broken" if number in self.broken else tiny(number)

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.read(index)))

    def take(self, rows: np.ndarray) -> "NumberedImages":
        return NumberedImages([self.held[row] for row in rows], self.broken)


def numbered(count: int, *, broken: Sequence[int] = (), labelled: bool = True) -> FaceSet:
    """Ten images of each person, with labels, and landmarks of which some are canonical."""
    order = np.arange(count)
    points = order[:, None, None] / 1000 + np.arange(10).reshape(5, 2) / 2
    return FaceSet(
        "numbered",
        NumberedImages(range(count), broken),
        order,
        order % 7 if labelled else None,
        np.array([f"p{number // 10}" for number in order]),
        points.astype(np.float32),
        order % 4 == 0,
    )


def sharded(
    folder: Path, count: int, per_shard: int, seed: int | None = 0, *, labelled: bool = True
) -> ShardedFaces:
    """`numbered` as shards. With `seed` None an image's index is its number."""
    recipe = Recipe(images_per_shard=per_shard, seed=seed)
    shards, _ = shard_set(numbered(count, labelled=labelled), folder, recipe)
    return ShardedFaces(shards.name, shards, {})


def entry_of(shards: ShardSet, number: int) -> Path:
    """The tar of a shard."""
    return shards.folder / shards.shards[number].url
