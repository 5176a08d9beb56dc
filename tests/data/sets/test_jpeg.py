"""Plain JPEGs: Pillow's pixels to the bit, and its judgement of what is broken."""

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from face2exp_lib.data.sets import jpeg
from face2exp_lib.data.sets.images import PixelImages, decode, decode_whole
from face2exp_lib.data.sets.jpeg import decode_plain
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator

KINDS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "quality 30": {"quality": 30},
    "full colour": {"subsampling": 0},
    "half colour": {"subsampling": 1},
    "progressive": {"progressive": True},
    "restart markers": {"restart_marker_rows": 1},
    "RGB inside": {"keep_rgb": True},
}


def picture(width: int = 83, height: int = 61) -> Image.Image:
    """Coloured blobs and a little noise."""
    generator = numpy_generator(0, "picture")
    coarse = torch.from_numpy(generator.integers(0, 256, (1, 3, 6, 6))).float()
    smooth = F.interpolate(coarse, (height, width), mode="bicubic")[0].permute(1, 2, 0).numpy()
    noisy = smooth + generator.normal(0, 6, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


class Bytes(PixelImages):
    """One image held as the bytes of its file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.ids = content, ["a.jpg"]

    def open(self, index: int) -> Image.Image:
        return Image.open(io.BytesIO(self.content), formats=("JPEG",))


def fast(content: bytes) -> np.ndarray | None:
    with Bytes(content).open(0) as image:
        return decode_plain(image)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [*((kind, "RGB") for kind in KINDS), ("as it comes", "L"), ("progressive", "L")],
)
def test_pixels_are_pillows(kind: str, mode: str) -> None:
    content = encoded(picture().convert(mode), **KINDS[kind])
    pixels = fast(content)
    assert pixels is not None
    with Bytes(content).open(0) as image:
        assert np.array_equal(pixels, np.array(image.convert("RGB")))


def test_other_images_are_left_to_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = Image.open(io.BytesIO(encoded(picture())))
    loaded.load()
    assert fast(encoded(picture().convert("CMYK"))) is None
    assert fast(encoded(picture(), exif=exif)) is None
    assert decode_plain(loaded) is None
    assert decode_plain(picture()) is None
    monkeypatch.setattr(jpeg, "LARGEST", 83 * 61)
    assert fast(encoded(picture(), quality=50)) is not None
    monkeypatch.setattr(jpeg, "LARGEST", 83 * 61 - 1)
    assert fast(encoded(picture(), quality=50)) is None


def test_what_was_left_to_pillow_still_is_read() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture(), exif=exif)
    expected = decode_whole(Bytes(content), 0).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(decode(Bytes(content), 0, 32).permute(1, 2, 0), np.array(expected))


def test_damage_is_judged_as_pillow_does() -> None:
    """Cut off or with one byte changed: the same pixels or, from both, an error."""
    generator = numpy_generator(0, "damage")
    content = encoded(picture())
    damaged = [content[: generator.integers(1, len(content))] for _ in range(60)]
    damaged += [content[:-cut] for cut in range(1, 9)]
    for _ in range(120):
        changed = bytearray(content)
        changed[generator.integers(2, len(content))] ^= int(generator.integers(1, 256))
        damaged.append(bytes(changed))
    accepted = 0
    for number, file in enumerate(damaged):
        try:
            expected = np.array(decode_whole(Bytes(file), 0))
        except Face2ExpError:
            with pytest.raises(Face2ExpError, match=r"^a\.jpg: not a readable image"):
                decode(Bytes(file), 0, 40)
            continue
        accepted += 1
        pixels = fast(file)
        assert pixels is None or np.array_equal(pixels, expected), number
    assert 10 < accepted < len(damaged)
