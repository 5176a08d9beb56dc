"""InsightFace's packs `train.rec` + `train.idx`: MXNet's RecordIO, read without MXNet.

A record is the magic number, a word of which the upper 3 bits say whether it is whole (0) or the
first (1), a middle (2) or the last (3) piece, and the lower 29 how many bytes follow; these are
padded to a multiple of 4. A record cut into pieces had the magic number between them. Its content
is a header (flag, label, id, id2), `flag` further labels, and the encoded image. Record 0 has a
flag, and its first label is the number after the last image; records of identities follow.
"""

import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, overload

import numpy as np
from PIL import Image
from tqdm import tqdm

from face2exp_lib.data.formats.format import Format
from face2exp_lib.data.formats.paths import must_exist, set_name, set_origin
from face2exp_lib.data.formats.tables import BadRows
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.imagefiles import is_left_behind, open_image
from face2exp_lib.data.sets.images import MAX_MEMBER_BYTES
from face2exp_lib.data.sets.labels import Codes
from face2exp_lib.runtime.errors import Face2ExpError

MAGIC = 0xCED7230A
WORDS = struct.Struct("<II")
LENGTH_BITS = 29
HEADER = struct.Struct("<IfQQ")  # flag, label, id, id2
WHOLE, FIRST, MIDDLE, LAST = range(4)
HEAD_BYTES = WORDS.size + HEADER.size + 4  # with the first of further labels
CHUNK = 8192  # records whose heads are looked at together
IDX_CHARS = 2**24  # of the index, read at a time


class RecordImages:
    """Images in a record file, each read when it is asked for.

    Args:
        path: the `.rec` file.
        offsets: (N,) int64, where each image's record begins.
        keys: (N,) int64, its number in the index.
    """

    holds_files = True

    def __init__(self, path: Path, offsets: np.ndarray, keys: np.ndarray) -> None:
        self.path, self.offsets, self.keys = path, offsets, keys
        self.ids: Sequence[str] = Numbers(keys)

    def read(self, index: int) -> bytes:
        # Opened anew: workers never share a position in the file, and decoding takes far longer.
        with self.path.open("rb") as file:
            record = read_record(file, int(self.offsets[index]))
        flag = HEADER.unpack_from(record)[0]
        start = HEADER.size + 4 * flag
        if start >= len(record):
            raise ValueError("the record holds no image")
        return record[start:]

    def open(self, index: int) -> Image.Image:
        return open_image(io.BytesIO(self.read(index)))

    def take(self, rows: np.ndarray) -> "RecordImages":
        return RecordImages(self.path, self.offsets[rows], self.keys[rows])


class Numbers(Sequence[str]):
    """Numbers as ids, made when asked for: five million strings would take 0.5 GB."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return Numbers(self.numbers[index])
        return str(self.numbers[index])


def read_record(file: BinaryIO, offset: int) -> bytes:
    """The content of one record.

    Raises:
        ValueError: if no whole record begins there.
    """
    file.seek(offset)
    pieces: list[bytes] = []
    total = 0
    while True:
        head = file.read(WORDS.size)
        if len(head) < WORDS.size:
            raise ValueError("the file ends within a record")
        magic, word = WORDS.unpack(head)
        kind, length = word >> LENGTH_BITS, word & (2**LENGTH_BITS - 1)
        if magic != MAGIC:
            raise ValueError("no record begins there")
        if kind not in ((MIDDLE, LAST) if pieces else (WHOLE, FIRST)):
            raise ValueError("a piece of a record is missing")
        total += length
        if total > MAX_MEMBER_BYTES:
            raise ValueError(f"the record holds {total:,} bytes or more")
        piece = file.read(length)
        if len(piece) < length:
            raise ValueError("the file ends within a record")
        pieces.append(piece)
        if kind in (WHOLE, LAST):
            break
        file.seek(-length % 4, os.SEEK_CUR)
    record = struct.pack("<I", MAGIC).join(pieces)
    if len(record) < HEADER.size:
        raise ValueError("the record is shorter than its header")
    return record


def read_recordio(root: Path, part: str, codes: Codes | None, skip_bad: bool = False) -> FaceSet:
    """`<part>.rec` with `<part>.idx`; without a part, `train`."""
    del codes
    stem = part or "train"
    path, index = root / f"{stem}.rec", root / f"{stem}.idx"
    for file in (path, index):
        must_exist(file, "a pack is train.rec with train.idx")
    bad = BadRows(skip_bad)
    keys, offsets = _read_index(index)
    keys, offsets = _images_only(path, keys, offsets, bad)
    identities = np.zeros(len(keys), dtype=np.int64)
    kept = np.zeros(len(keys), dtype=bool)
    repeated = np.ones(len(keys), dtype=bool)
    repeated[np.unique(offsets, return_index=True)[1]] = False
    bar = tqdm(total=len(keys), desc=f"records of {root.name}", leave=False, delay=2)
    for start in range(0, len(keys), CHUNK):
        chunk = slice(start, start + CHUNK)
        labels, sound = _heads(path, offsets[chunk])
        kept[chunk], identities[chunk] = sound & ~repeated[chunk], labels
        for position in np.flatnonzero(~kept[chunk]) + start:
            reason = "the index names its record twice" if repeated[position] else "no sound record"
            detail = f": image {keys[position]} at byte {offsets[position]:,}"
            bad.add(f"{keys[position]}", f"{path}", reason, detail, "fetch the pack again")
        bar.update(len(labels))
    bar.close()
    bad.must_leave(int(kept.sum()), path, "no sound record")
    return FaceSet(
        set_name(root, stem),
        RecordImages(path, offsets[kept], keys[kept]),
        np.arange(kept.sum()),
        identities=identities[kept],
        skipped=tuple(bad.skipped),
        origin=set_origin(path),
    )


def _read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Keys and offsets, (N,) int64 each, in the order of the keys. Lines are `key<tab>offset`."""
    blocks, rest = [], b""
    try:
        with path.open("rb") as file:
            while block := file.read(IDX_CHARS):
                # A number may be cut by the block's end: keep what follows the last whole line.
                whole, _, rest = (rest + block).rpartition(b"\n")
                if not whole and len(rest) >= IDX_CHARS:
                    raise ValueError("a line without an end")
                blocks.append(_numbers(whole))
        blocks.append(_numbers(rest))
        numbers = np.concatenate(blocks)
        keys, order = np.unique(numbers[:, 0], return_index=True)
        if len(keys) < len(numbers):
            raise ValueError("a key stands there twice")
        return keys, numbers[order, 1]
    except (OSError, ValueError, OverflowError) as error:
        raise Face2ExpError(
            f"{path}: not readable as an index ({' '.join(str(error).split())[:120]}): "
            "fetch it again"
        ) from error


def _numbers(text: bytes) -> np.ndarray:
    """(N, 2) int64 of lines with two numbers each."""
    lines = text.split(b"\n")
    values = [value for line in lines for value in line.split()]
    if any(len(value) > 18 for value in values):
        raise ValueError("a number too long")
    if any(len(line.split()) not in (0, 2) for line in lines):
        raise ValueError("a line without two numbers")
    numbers = np.array([int(value) for value in values], dtype=np.int64).reshape(-1, 2)
    if (numbers < 0).any():
        raise ValueError("a number below 0")
    return numbers


def _images_only(
    path: Path, keys: np.ndarray, offsets: np.ndarray, bad: BadRows
) -> tuple[np.ndarray, np.ndarray]:
    """Without record 0 and the records of identities, if the pack has them.

    Record 0 holds two numbers and no image. One with an image is an image, however many labels it
    has: taken for a head, its labels would cut the pack off.
    """
    if len(keys) == 0:
        raise Face2ExpError(f"{path}: its index is empty: fetch the pack again")
    try:
        with path.open("rb") as file:
            record = read_record(file, int(offsets[0]))
        flag = HEADER.unpack_from(record)[0]
        if flag == 0 or len(record) > HEADER.size + 4 * flag:
            return keys, offsets  # every record is an image
        if len(record) < HEADER.size + 4 * flag:
            raise ValueError("it ends within its labels")
        numbers = np.frombuffer(record, "<f4", flag, HEADER.size).astype(np.float64)
        if not (numbers[0] > 1 and (numbers < 2**31).all() and (numbers % 1 == 0).all()):
            raise ValueError(f"the number after the last image is {numbers[0]:g}")
    except (OSError, ValueError) as error:
        told = (error.strerror or "").lower() if isinstance(error, OSError) else error
        raise Face2ExpError(f"{path}: its first record is broken ({told}): fetch it again") from (
            error
        )
    end, last = int(numbers[0]), int(numbers[-1])
    images = (keys >= 1) & (keys < end)
    beyond = int((keys >= max(last, end)).sum())
    if beyond:
        raise Face2ExpError(
            f"{path}: its index has {beyond} records more than the {last} that its first record "
            "counts: it is of another pack, or was put together: fetch it again"
        )
    if images.sum() < end - 1:
        reason = "the index lacks images that the first record counts"
        detail = f": {end - 1 - images.sum()} of {end - 1}"
        bad.add("(not in the index)", f"{path}", reason, detail, "fetch the pack again")
    return keys[images], offsets[images]


def _heads(path: Path, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Identity of each record, and whether it looks sound: begins and ends within the file."""
    size = path.stat().st_size
    inside = offsets <= size - HEAD_BYTES
    labels = np.zeros(len(offsets), dtype=np.int64)
    sound = np.zeros(len(offsets), dtype=bool)
    if not inside.any():
        return labels, sound
    # Mapped anew for each chunk, so that the pages that were looked at are let go.
    content = np.memmap(path, dtype=np.uint8, mode="r")
    heads = content[offsets[inside][:, None] + np.arange(HEAD_BYTES)]
    words = np.ascontiguousarray(heads).view("<u4")
    kind, length = words[:, 1] >> LENGTH_BITS, words[:, 1] & (2**LENGTH_BITS - 1)
    flag = words[:, 2]
    label = np.where(flag > 0, words[:, 8], words[:, 3]).view("<f4").astype(np.float64)
    sound[inside] = (
        (words[:, 0] == MAGIC)
        & ((kind == WHOLE) | (kind == FIRST))
        & (offsets[inside] + WORDS.size + length <= size)
        & (length > HEADER.size + 4.0 * flag)
        & (np.abs(label) < 2**31)  # NaN is not smaller either
        & (label % 1 == 0)  # the number of a person
    )
    labels[inside] = np.where(sound[inside], label, 0).astype(np.int64)
    return labels, sound


def recognise(path: Path) -> list[str]:
    """Every `.rec` file with its `.idx`."""
    if not path.is_dir():
        return []
    return [
        record.stem
        for record in sorted(path.glob("*.rec"))
        if record.with_suffix(".idx").exists() and not is_left_behind(record.name)
    ]


RECORDIO = Format(
    name="recordio",
    title="InsightFace packs (RecordIO)",
    read=read_recordio,
    recognise=recognise,
    layout="""\
train.rec       images, one record each, and records of the identities
train.idx       lines `key<tab>offset`""",
    example="{format: recordio, path: faces_webface_112x112}",
    codes="",
    state="That of the set inside. MS1M packs hold MS-Celeb-1M, which its publisher withdrew: do "
    "not build on it. VGGFace2 and CASIA-WebFace: for research. WebFace: gated, for research, not "
    "to be passed on.",
    notes="Images are cropped and aligned to 112 x 112 px. They are read by their place in the "
    "file; MXNet is not needed. The identity is the record's label, or the first of several.",
)
