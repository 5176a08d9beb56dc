"""Where images lie and how one is decoded: files, a zip, rows of pixels.

Image files come from anywhere, so they are decoded by Pillow alone, in a fixed list of formats, and
nothing in them is executed or written to disk.
"""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from face2exp_lib.errors import Face2ExpError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP")


class Images(Protocol):
    """A sequence of encoded images with an id each."""

    ids: Sequence[str]

    def read(self, index: int) -> bytes:
        """The stored bytes of one image, the same for exact copies."""
        ...

    def open(self, index: int) -> Image.Image:
        """The image, not necessarily decoded yet."""
        ...


class FileImages:
    """Image files below one folder."""

    def __init__(self, root: Path, ids: Sequence[str]) -> None:
        self.root, self.ids = root, ids

    def read(self, index: int) -> bytes:
        return (self.root / self.ids[index]).read_bytes()

    def open(self, index: int) -> Image.Image:
        return Image.open(self.root / self.ids[index], formats=FORMATS)


class ZipImages:
    """Members of one zip. Members are read in memory: none is ever extracted to a path."""

    def __init__(self, path: Path, ids: Sequence[str]) -> None:
        self.path, self.ids = path, ids
        self._archive: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None}  # an open file does not cross to a worker

    def read(self, index: int) -> bytes:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self.path)
        return self._archive.read(self.ids[index])

    def open(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.read(index)), formats=FORMATS)


class PixelImages:
    """Grey images held as an array, (N, H, W) uint8, as the FER2013 csv brings them."""

    def __init__(self, pixels: np.ndarray, ids: Sequence[str]) -> None:
        self.pixels, self.ids = pixels, ids

    def read(self, index: int) -> bytes:
        return self.pixels[index].tobytes()

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])


def decode(images: Images, index: int, size: int) -> torch.Tensor:
    """One image as RGB, upright, resized to a square.

    Returns:
        (3, size, size) uint8.

    Raises:
        Face2ExpError: if it cannot be read to its end; the message names it.
    """
    try:
        with images.open(index) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
            if image.size != (size, size):
                image = image.resize((size, size), Image.Resampling.BILINEAR)
    except (
        OSError,
        ValueError,
        SyntaxError,  # Pillow raises it for some broken PNG chunks
        KeyError,
        zipfile.BadZipFile,
        Image.DecompressionBombError,
    ) as error:
        raise Face2ExpError(
            f"{images.ids[index]}: not a readable image ({error}): replace it or delete it; "
            "`face2exp data inspect` lists all such files of a set"
        ) from error
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def list_images(folder: Path) -> list[str]:
    """Image files below `folder`: sorted POSIX paths relative to it; linked folders are not entered."""
    found = []
    for parent, _, files in os.walk(folder):
        for name in files:
            if Path(name).suffix.lower() in SUFFIXES:
                found.append((Path(parent) / name).relative_to(folder).as_posix())
    return sorted(found)
