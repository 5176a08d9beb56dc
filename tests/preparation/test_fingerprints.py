"""Digests of bytes and pixels, perceptual hashes, and the search for near ones."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import FileImages
from face2exp_lib.preparation import fingerprints
from face2exp_lib.preparation.fingerprints import BITS, near_pairs, read_pictures
from face2exp_lib.runtime.errors import Face2ExpError


def blobs(seed: int) -> Image.Image:
    """A picture with large structures, as faces have."""
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    return Image.fromarray(noise).resize((96, 96), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def face_set(folder: Path, files: dict[str, bytes]) -> FaceSet:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return FaceSet(folder.name, FileImages(folder, list(files)), np.arange(len(files)))


def test_what_makes_two_images_the_same(tmp_path: Path) -> None:
    png = encoded(blobs(0), format="PNG")
    turned = Image.Exif()
    turned[0x0112] = 3  # orientation: upside down
    upside_down = blobs(0).rotate(180)
    files = {
        "a.png": png,
        "same bytes.png": png,
        "same pixels.png": encoded(blobs(0), format="PNG", compress_level=1),
        "upright again.png": encoded(upside_down, format="PNG", exif=turned),
        "jpeg.jpg": encoded(blobs(0), format="JPEG", quality=60),
        "small.jpg": encoded(blobs(0).resize((48, 48)), format="JPEG", quality=90),
        "grey.png": encoded(blobs(0).convert("L"), format="PNG"),
        "another.png": encoded(blobs(1), format="PNG"),
    }
    pictures = read_pictures([face_set(tmp_path / "set", files)])
    assert pictures.ids == list(files)
    assert pictures.stored.tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert pictures.pixels.tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    distances = (pictures.hashes != pictures.hashes[0]).sum(1)
    assert distances[:4].tolist() == [0, 0, 0, 0]
    assert distances[4:7].max() <= 24
    assert 100 < distances[7] < 156


def test_same_bytes_in_another_shape_are_another_picture(tmp_path: Path) -> None:
    flat = Image.fromarray(np.zeros((4, 9, 3), np.uint8))
    files = {
        "a.png": encoded(flat, format="PNG"),
        "b.png": encoded(flat.resize((9, 4)), format="PNG"),
    }
    files["c.png"] = encoded(flat.resize((6, 6)), format="PNG")
    assert len(set(read_pictures([face_set(tmp_path / "s", files)]).pixels)) == 2


def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    png = encoded(blobs(0), format="PNG")
    first = face_set(tmp_path / "first", {"cut.png": png[:100], "empty.png": b"", "a.png": png})
    second = face_set(tmp_path / "second", {"b.png": png})
    (tmp_path / "second" / "b.png").unlink()
    pictures = read_pictures([first, second])
    assert (pictures.ids, pictures.set_of.tolist(), len(pictures.hashes)) == (["a.png"], [0], 1)
    assert [message.split(":")[0] for message in pictures.unreadable] == [
        "cut.png",
        "empty.png",
        "b.png",
    ]


def test_nothing_to_read(tmp_path: Path) -> None:
    pictures = read_pictures([face_set(tmp_path / "s", {"empty.png": b""})])
    assert pictures.hashes.shape == (0, BITS)
    assert [len(column) for column in near_pairs(pictures.hashes, 40)] == [0, 0, 0]


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
def test_near_pairs_are_those_of_a_plain_search(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(fingerprints, "BLOCK", block)
    generator = np.random.default_rng(0)
    hashes = generator.random((60, BITS)) < 0.5
    for copy, flips in ((10, 0), (20, 1), (30, 40), (40, 41), (59, 12)):
        hashes[copy] = hashes[copy // 2]
        hashes[copy, generator.choice(BITS, flips, replace=False)] ^= True
    expected = [
        (i, j, int((hashes[i] != hashes[j]).sum()))
        for i in range(60)
        for j in range(i + 1, 60)
        if (hashes[i] != hashes[j]).sum() <= 40
    ]
    found = zip(*(column.tolist() for column in near_pairs(hashes, 40)), strict=True)
    assert sorted(found) == expected
    assert [distance for _, _, distance in expected].count(40) >= 1
    assert len(near_pairs(hashes, 41)[0]) > len(expected)
    assert len(near_pairs(hashes, -1)[0]) == 0
    assert len(near_pairs(hashes, BITS)[0]) == 60 * 59 / 2


def test_too_many_near_pairs_end_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_PAIRS", 100)
    with pytest.raises(Face2ExpError, match="more than 100 near copies within 5 of 256 bits: ask"):
        near_pairs(np.zeros((20, BITS), bool), 5)
