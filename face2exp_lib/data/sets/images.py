"""Where images lie and how one is decoded: files, a zip, rows of pixels."""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from face2exp_lib.data.sets.imagefiles import open_image
from face2exp_lib.data.sets.jpeg import decode_plain
from face2exp_lib.runtime.errors import Face2ExpError, in_words

MAX_MEMBER_BYTES = 2**26  # of an image in a zip, uncompressed


class Images(Protocol):
    """A sequence of encoded images with an id each.

    Attributes:
        holds_files: `read` gives an image file, and `open` shows all of it.
    """

    ids: Sequence[str]
    holds_files: bool

    def read(self, index: int) -> bytes:
        """The stored bytes of one image, the same for exact copies."""
        ...

    def open(self, index: int) -> Image.Image:
        """The image, not necessarily decoded yet."""
        ...

    def take(self, rows: np.ndarray) -> "Images":
        """The images at `rows` with nothing of the others: small enough to send to a process."""
        ...


class FileImages:
    """Image files below one folder."""

    holds_files = True

    def __init__(self, root: Path, ids: Sequence[str]) -> None:
        self.root, self.ids = root, ids

    def read(self, index: int) -> bytes:
        return (self.root / self.ids[index]).read_bytes()

    def open(self, index: int) -> Image.Image:
        return open_image(self.root / self.ids[index])

    def take(self, rows: np.ndarray) -> "FileImages":
        return FileImages(self.root, [self.ids[row] for row in rows])


class ZipImages:
    """Members of one zip. Members are read in memory: none is ever extracted to a path."""

    holds_files = True

    def __init__(self, path: Path, ids: Sequence[str]) -> None:
        self.path, self.ids = path, ids
        self._archive: zipfile.ZipFile | None = None
        self._opened_by = 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_archive": None}  # an open file does not cross to a worker

    def read(self, index: int) -> bytes:
        # Processes forked from one that opened the zip would share its position in the file.
        if self._archive is None or self._opened_by != os.getpid():
            self._archive, self._opened_by = zipfile.ZipFile(self.path), os.getpid()
        member = self._archive.getinfo(self.ids[index])
        if member.file_size > MAX_MEMBER_BYTES:
            raise ValueError(f"unpacks to {member.file_size:,} bytes")
        return self._archive.read(member)

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.read(index)))

    def take(self, rows: np.ndarray) -> "ZipImages":
        return ZipImages(self.path, [self.ids[row] for row in rows])


class PixelImages:
    """Images held as an array, uint8: (N, H, W) as the FER2013 csv brings them, or (N, H, W, 3)."""

    holds_files = False

    def __init__(self, pixels: np.ndarray, ids: Sequence[str]) -> None:
        self.pixels, self.ids = pixels, ids

    def read(self, index: int) -> bytes:
        return self.pixels[index].tobytes()

    def open(self, index: int) -> Image.Image:
        return Image.fromarray(self.pixels[index])

    def take(self, rows: np.ndarray) -> "PixelImages":
        return PixelImages(self.pixels[rows], [self.ids[row] for row in rows])


class CroppedImages:
    """The face that a box marks in each of some images.

    Args:
        images: the whole images, one for each face; an image with two faces stands there twice.
        ids: one for each face.
        boxes: (N, 4) left, top, right, bottom in px of the upright image.
    """

    holds_files = False

    def __init__(self, images: Images, ids: Sequence[str], boxes: np.ndarray) -> None:
        self.images, self.ids, self.boxes = images, ids, boxes

    def read(self, index: int) -> bytes:
        # Two faces of one image are no copies of each other.
        return self.images.read(index) + self.boxes[index].tobytes()

    def take(self, rows: np.ndarray) -> "CroppedImages":
        ids = [self.ids[row] for row in rows]
        return CroppedImages(self.images.take(rows), ids, self.boxes[rows])

    def open(self, index: int) -> Image.Image:
        left, top, right, bottom = (round(float(edge)) for edge in self.boxes[index])
        with self.images.open(index) as image:
            upright = _upright(image)
            return upright.crop(_within((left, top, right, bottom), upright))


class FaceSquares:
    """A square round the one face of each image; beyond the image its edge pixels go on.

    An image without a square stays whole.

    Args:
        images: the whole images.
        squares: (N, 4) int left, top, right, bottom in px of the upright image, which they may
            leave; (0, 0, 0, 0) where there is none.
    """

    holds_files = False

    def __init__(self, images: Images, squares: np.ndarray) -> None:
        self.images, self.squares, self.ids = images, squares, images.ids

    def read(self, index: int) -> bytes:
        # The whole image's: with another square it is a copy still.
        return self.images.read(index)

    def take(self, rows: np.ndarray) -> "FaceSquares":
        return FaceSquares(self.images.take(rows), self.squares[rows])

    def open(self, index: int) -> Image.Image:
        left, top, right, bottom = (int(edge) for edge in self.squares[index])
        with self.images.open(index) as image:
            upright = _upright(image)
            if left == right:
                return upright
            inner = _within((left, top, right, bottom), upright)
            crop = upright.crop(inner)
        if inner == (left, top, right, bottom):
            return crop
        pixels = np.asarray(_rgb(crop))
        beyond = ((inner[1] - top, bottom - inner[3]), (inner[0] - left, right - inner[2]), (0, 0))
        return Image.fromarray(np.pad(pixels, beyond, mode="edge"))


def decode(images: Images, index: int, size: int) -> torch.Tensor:
    """One image as RGB, upright, resized to a square.

    Returns:
        (3, size, size) uint8.

    Raises:
        Face2ExpError: if it cannot be read to its end; the message names it.
    """
    return decode_sized(images, index, size)[0]


def decode_sized(images: Images, index: int, size: int) -> tuple[torch.Tensor, tuple[int, int]]:
    """As `decode`, and width and height in px before the resize: points scale with them."""
    try:
        with images.open(index) as image:
            pixels = decode_plain(image)
            if pixels is None:
                pixels = np.array(_rgb(_upright(image)))
    except Exception as error:  # as in `decode_whole`
        raise unreadable(images, index, error) from error
    height, width, _ = pixels.shape
    if (width, height) != (size, size):
        whole = Image.fromarray(pixels)
        pixels = np.array(whole.resize((size, size), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1), (width, height)


def decode_whole(images: Images, index: int) -> Image.Image:
    """One image as RGB, upright, in its own size.

    Transparency is dropped, 16 bits a channel become 8.

    Raises:
        Face2ExpError: if it cannot be read to its end; the message names it.
    """
    try:
        with images.open(index) as image:
            return _rgb(_upright(image))
    except Exception as error:  # a damaged file makes the parsers raise nearly anything
        raise unreadable(images, index, error) from error


def unreadable(images: Images, index: int, error: Exception) -> Face2ExpError:
    """The error that names one image and what was wrong with it."""
    return Face2ExpError(
        f"{images.ids[index]}: not a readable image ({_wrong_with(error)}): replace it or delete "
        "it; `face2exp data inspect` lists all such files of a set"
    )


def _wrong_with(error: Exception) -> str:
    """What was wrong, without the words that Python and Pillow have for programmers."""
    if isinstance(error, UnidentifiedImageError):
        return "its content is no image of a kind that is read"
    if isinstance(error, OSError) and error.strerror:
        return in_words(error)
    # Ours, and Pillow's about files that are cut off. The rest is what a parser stumbles over.
    told = type(error) in (OSError, ValueError, SyntaxError) and len(error.args) == 1
    text = in_words(error)
    return text if told and text and " object at 0x" not in text else "damaged"


def _within(box: tuple[int, int, int, int], image: Image.Image) -> tuple[int, int, int, int]:
    """The part of a box that lies in the image."""
    left, top, right, bottom = box
    inner = max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height)
    if inner[0] >= inner[2] or inner[1] >= inner[3]:
        raise ValueError(
            f"the face's box {left}, {top}, {right}, {bottom} lies outside of its "
            f"{image.width} x {image.height} pixels"
        )
    return inner


def _upright(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips to white
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() >= 2**16):
            raise ValueError("its values are no 8 or 16 bits: save it as an 8-bit image")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":  # of which nobody knows what is white
        raise ValueError("its values are floating point numbers: save it as an 8-bit image")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # at once to RGB, Pillow warns
    return image.convert("RGB")
