"""Decoding: every kind of file that comes along, and every way in which one can be broken."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from face2exp_lib.data.sets import images
from face2exp_lib.data.sets.imagefiles import open_image
from face2exp_lib.data.sets.images import (
    CroppedImages,
    FileImages,
    PixelImages,
    ZipImages,
    decode,
)
from face2exp_lib.runtime.errors import Face2ExpError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
CORNERS = np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8)


def stored(folder: Path, image: Image.Image, name: str, **options: Any) -> FileImages:
    image.save(folder / name, **options)
    return FileImages(folder, [name])


def rows(tensor: torch.Tensor) -> np.ndarray:
    """(3, S, S) to (S, S, 3)."""
    return tensor.permute(1, 2, 0).numpy()


def test_png_is_decoded_to_its_pixels(tmp_path: Path) -> None:
    decoded = decode(stored(tmp_path, Image.fromarray(CORNERS), "a.png"), 0, 2)
    assert decoded.dtype == torch.uint8
    assert rows(decoded).tolist() == CORNERS.tolist()


def test_image_is_resized_to_a_square(tmp_path: Path) -> None:
    wide = Image.fromarray(np.full((10, 30, 3), 77, np.uint8))
    decoded = decode(stored(tmp_path, wide, "a.png"), 0, 32)
    assert decoded.shape == (3, 32, 32)
    assert (decoded == 77).all()


@pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    flat = Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8))
    decoded = decode(stored(tmp_path, flat, f"a.{suffix}"), 0, 16)
    assert np.abs(rows(decoded).astype(int) - (200, 100, 50)).max() <= 3


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.array([[0, 90], [180, 255]], np.uint8)
    decoded = decode(stored(tmp_path, Image.fromarray(grey), "a.png"), 0, 2)
    assert [channel.tolist() for channel in decoded] == [grey.tolist()] * 3


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    """Pillow's own conversion would clip all but the darkest 256 levels to white."""
    grey = np.array([[0, 90], [180, 255]], np.uint16) * 257
    decoded = decode(stored(tmp_path, Image.fromarray(grey), "a.png"), 0, 2)
    assert decoded[0].tolist() == [[0, 90], [180, 255]]


def test_one_bit_a_pixel(tmp_path: Path) -> None:
    decoded = decode(stored(tmp_path, Image.fromarray(np.eye(2) > 0), "a.png"), 0, 2)
    assert decoded[0].tolist() == [[255, 0], [0, 255]]


def test_palette_with_transparency(tmp_path: Path) -> None:
    """A table of opacities makes Pillow warn when it converts at once to RGB."""
    palette = Image.fromarray(CORNERS).quantize(4)
    files = stored(tmp_path, palette, "a.png", transparency=bytes([0, 128, 255, 255]))
    assert rows(decode(files, 0, 2)).tolist() == CORNERS.tolist()


def test_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([CORNERS, np.array([[0, 128], [255, 0]], np.uint8)])
    decoded = decode(stored(tmp_path, Image.fromarray(rgba), "a.png"), 0, 2)
    assert rows(decoded).tolist() == CORNERS.tolist()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    decoded = rows(decode(stored(tmp_path, red, "a.jpg"), 0, 16)).astype(int)
    assert np.abs(decoded - RED).max() <= 5


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: turn a quarter clockwise to see it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = stored(tmp_path, Image.fromarray(CORNERS), "a.png", exif=exif)
    upright = np.array([[BLUE, RED], [WHITE, GREEN]])
    assert rows(decode(files, 0, 2)).tolist() == upright.tolist()


def png_header(width: int, height: int) -> bytes:
    """A valid start of a PNG that claims a size."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("side", [9_000, 10_000, 100_000])
def test_image_that_would_unpack_to_gigabytes_is_refused(tmp_path: Path, side: int) -> None:
    """Pillow is silent on the first size, warns of the second and refuses the third."""
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(
        Face2ExpError, match=r"bomb\.png: .*more than the 67,108,864 that are read: make it smaller"
    ):
        decode(FileImages(tmp_path, ["bomb.png"]), 0, 32)


def noise_png() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", noise_png()[:300], noise_png()[:20], png_header(24, 24), b"GIF89a" * 9],
    ids=["empty", "text", "cut", "cut in its header", "too few pixels", "format not taken"],
)
def test_broken_image_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(
        Face2ExpError, match=r"^x\.png: not a readable image .*: replace it or"
    ) as e:
        decode(FileImages(tmp_path, ["x.png"]), 0, 32)
    assert "\n" not in str(e.value)


def test_missing_image_and_folder_in_its_place_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("gone.png", "folder.png"):
        with pytest.raises(Face2ExpError, match=f"^{name}: not a readable image"):
            decode(FileImages(tmp_path, [name]), 0, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
@pytest.mark.filterwarnings("ignore")  # Pillow's, of odd metadata
def test_no_damage_gets_past_the_one_error(kind: str) -> None:
    """Random damage gives an image or the one error, never another exception."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "description"
    buffer = io.BytesIO()
    options = {} if kind == "BMP" else {"exif": exif}
    Image.open(io.BytesIO(noise_png())).save(buffer, kind, **options)
    generator = np.random.default_rng(1)
    failed = 0
    for _ in range(300):
        damaged = bytearray(buffer.getvalue())
        for _ in range(generator.integers(1, 5)):  # mostly in the headers
            damaged[generator.integers(min(len(damaged), generator.choice([40, 200, 2000])))] ^= (
                int(generator.integers(1, 256))
            )
        archive = Encoded(bytes(damaged))
        try:
            assert decode(archive, 0, 32).shape == (3, 32, 32)
        except Face2ExpError:
            failed += 1
    assert failed


class Encoded:
    """One image in memory."""

    holds_files = True
    ids: Sequence[str] = ("memory",)

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, index: int) -> bytes:
        return self.content

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.content))

    def take(self, rows: np.ndarray) -> "Encoded":
        return self


@pytest.mark.parametrize(
    "error", [TypeError("abs"), struct.error("odd"), EOFError(), RuntimeError()]
)
def test_whatever_a_parser_raises_becomes_the_one_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Each of these was seen on damaged files, but rarely: here they are certain."""

    def parse(_: Image.Image) -> Image.Image:
        raise error

    monkeypatch.setattr("PIL.ImageOps.exif_transpose", parse)
    with pytest.raises(Face2ExpError, match="memory: not a readable image"):
        decode(Encoded(noise_png()), 0, 32)


def test_pixel_images() -> None:
    pixels = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    faces = PixelImages(pixels, ["a", "b"])
    assert decode(faces, 1, 2)[2].tolist() == [[4, 5], [6, 7]]
    assert faces.read(0) != faces.read(1)


def cropped(images: images.Images, *box: float) -> CroppedImages:
    return CroppedImages(images, ["face"], np.array([box], dtype=np.float32))


def test_a_face_is_cut_out_by_its_box(tmp_path: Path) -> None:
    pixels = np.zeros((10, 20, 3), np.uint8)
    pixels[2:6, 5:11] = 200
    files = stored(tmp_path, Image.fromarray(pixels), "a.png")
    assert (decode(cropped(files, 5, 2, 11, 6), 0, 4) == 200).all()
    assert (decode(cropped(files, 5.4, 1.6, 10.6, 6.4), 0, 4) == 200).all()
    assert decode(cropped(files, 4, 2, 11, 6), 0, 32).min() == 0


def test_a_box_is_clipped_to_its_image(tmp_path: Path) -> None:
    files = stored(tmp_path, Image.fromarray(np.full((10, 20, 3), 200, np.uint8)), "a.png")
    face = cropped(files, -5, -5, 1000, 1000)
    with face.open(0) as image:
        assert image.size == (20, 10)
    with pytest.raises(Face2ExpError, match=r"^face: .*20, 0, 30, 9 lies outside of its 20 x 10"):
        decode(cropped(files, 20, 0, 30, 9), 0, 4)


def test_a_box_counts_in_the_upright_image(tmp_path: Path) -> None:
    """Corners turned a quarter: blue is at the upper left."""
    exif = Image.Exif()
    exif[0x0112] = 6
    files = stored(tmp_path, Image.fromarray(CORNERS), "a.png", exif=exif)
    assert rows(decode(cropped(files, 0, 0, 1, 1), 0, 1)).tolist() == [[list(BLUE)]]


def test_a_huge_image_is_refused_before_it_is_cut(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png_header(9_000, 9_000))
    with pytest.raises(Face2ExpError, match=r"^face: .*more than the 67,108,864"):
        decode(cropped(FileImages(tmp_path, ["bomb.png"]), 0, 0, 9, 9), 0, 32)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "pack.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", noise_png())
        archive.writestr("cut.png", noise_png()[:300])
    return path


def test_zip_member_is_decoded_and_its_bytes_are_the_stored_ones(pack: Path) -> None:
    faces = ZipImages(pack, ["a.png"])
    assert faces.read(0) == noise_png()
    assert decode(faces, 0, 24).shape == (3, 24, 24)


@pytest.mark.parametrize("name", ["cut.png", "gone.png", "../a.png", "/etc/passwd"])
def test_zip_member_that_cannot_be_read_is_named(pack: Path, name: str) -> None:
    with pytest.raises(Face2ExpError, match=f"^{name}: not a readable image"):
        decode(ZipImages(pack, [name]), 0, 32)


def test_zip_member_with_a_name_that_leads_outside_is_read_in_memory_only(tmp_path: Path) -> None:
    path = tmp_path / "inner" / "pack.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.png", noise_png())
    decode(ZipImages(path, ["../outside.png"]), 0, 32)
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["inner", "pack.zip"]


def test_open_zip_crosses_to_a_spawned_process(pack: Path) -> None:
    faces = ZipImages(pack, ["a.png"])
    expected = faces.read(0)
    assert pickle.loads(pickle.dumps(faces)).read(0) == expected


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_process_opens_the_zip_anew(tmp_path: Path) -> None:
    """Through the parent's open file, several processes would move one common position."""
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("first", b"1")
        archive.writestr("between", bytes(10**6))  # more than a buffer holds
        archive.writestr("last", b"2")
    faces = ZipImages(tmp_path / "pack.zip", ["first", "between", "last"])
    faces.read(0)
    assert faces._archive is not None
    assert faces._archive.fp is not None
    descriptor = faces._archive.fp.fileno()
    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    child = os.fork()
    if child == 0:
        try:
            faces.read(1)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == position


def test_damaged_zip_member_is_named(pack: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[200] ^= 0xFF
    pack.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"a\.png: not a readable image \(damaged\)"):
        decode(ZipImages(pack, ["a.png"]), 0, 32)


def test_zip_member_that_would_unpack_to_gigabytes_is_refused(
    pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "MAX_MEMBER_BYTES", 100)
    with pytest.raises(Face2ExpError, match=r"a\.png: .*unpacks to [\d,]+ bytes"):
        decode(ZipImages(pack, ["a.png"]), 0, 32)
