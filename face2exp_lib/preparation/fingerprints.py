"""What tells copies of images: digests of bytes and pixels, and perceptual hashes.

Two images are exact copies if their stored bytes are the same, copies in pixels if they decode to
the same ones, and near copies if the 256 bits of their perceptual hashes (ImageHash's `phash`)
differ in few places. Two pictures that have nothing in common differ in about 128.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import imagehash
import numpy as np
from tqdm import tqdm

from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.images import decode_whole
from face2exp_lib.runtime.errors import Face2ExpError

HASH_SIDE = 16
BITS = HASH_SIDE**2
BLOCK = 4096  # images compared with as many others at once: 64 MB
MAX_PAIRS = 5_000_000


@dataclass(frozen=True)
class Pictures:
    """The images of all sets that can be decoded, one after the other.

    Attributes:
        ids: one for each of N images.
        set_of: (N,) index of its set.
        labels: (N,) `Expression` codes, -1 for none.
        stored, pixels: (N,) the same number for the same bytes; for the same pixels.
        hashes: (N, BITS) bool.
        unreadable: messages for the others.
    """

    ids: list[str]
    set_of: np.ndarray
    labels: np.ndarray
    stored: np.ndarray
    pixels: np.ndarray
    hashes: np.ndarray
    unreadable: list[str]


def read_pictures(sets: Sequence[FaceSet]) -> Pictures:
    """Decode and hash every image; one that cannot be read is counted and left out."""
    ids, set_of, labels, hashes, unreadable = [], [], [], [], []
    stored: dict[bytes, int] = {}
    pixels: dict[tuple[tuple[int, int], bytes], int] = {}
    stored_codes, pixel_codes = [], []
    for index, faces in enumerate(sets):
        known = [-1] * len(faces) if faces.labels is None else faces.labels.tolist()
        bar = tqdm(faces.rows.tolist(), desc=f"hash {faces.name}", leave=False, delay=2)
        for row, label in zip(bar, known, strict=True):
            try:
                image = decode_whole(faces.images, row)
            except Face2ExpError as error:
                unreadable.append(str(error))
                continue
            content = _digest(faces.images.read(row))
            picture = image.size, _digest(image.tobytes())
            stored_codes.append(stored.setdefault(content, len(stored)))
            pixel_codes.append(pixels.setdefault(picture, len(pixels)))
            hashes.append(imagehash.phash(image, hash_size=HASH_SIDE).hash.ravel())
            ids.append(faces.images.ids[row])
            set_of.append(index)
            labels.append(label)
    return Pictures(
        ids,
        np.array(set_of, np.int64),
        np.array(labels, np.int64),
        np.array(stored_codes, np.int64),
        np.array(pixel_codes, np.int64),
        np.array(hashes, bool).reshape(-1, BITS),
        unreadable,
    )


def near_pairs(hashes: np.ndarray, max_distance: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of hashes that differ in at most `max_distance` bits.

    Compared in blocks by a product of matrices: of two vectors of -1 and 1 it is the number of
    bits less twice the distance, exact in float32.

    Args:
        hashes: (N, bits) bool.

    Returns:
        Smaller index, larger index, distance of each pair.

    Raises:
        Face2ExpError: if there are more than `MAX_PAIRS`.
    """
    num_bits = hashes.shape[1]
    found, total = [], 0
    bar = tqdm(total=len(hashes), desc="compare", leave=False, delay=2)
    for start in range(0, len(hashes), BLOCK):
        rows = hashes[start : start + BLOCK] * np.float32(2) - np.float32(1)
        for other in range(start, len(hashes), BLOCK):
            columns = hashes[other : other + BLOCK] * np.float32(2) - np.float32(1)
            product = rows @ columns.T
            i, j = np.nonzero(product >= num_bits - 2 * max_distance)
            once = i + start < j + other
            i, j = i[once], j[once]
            found.append((i + start, j + other, (num_bits - product[i, j]).astype(np.int64) // 2))
            total += len(i)
            if total > MAX_PAIRS:
                raise Face2ExpError(
                    f"more than {MAX_PAIRS:,} near copies within {max_distance} of {num_bits} bits:"
                    " ask for a smaller --distance"
                )
        bar.update(len(rows))
    bar.close()
    if not found:
        nothing = np.empty(0, np.int64)
        return nothing, nothing, nothing
    left, right, distance = (np.concatenate(column) for column in zip(*found, strict=True))
    return left, right, distance


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
