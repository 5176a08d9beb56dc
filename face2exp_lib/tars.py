"""Tars as WebDataset reads them: written the same each time, looked through without trust.

Nothing of a tar is ever extracted to a path. The standard library's reader follows what extended
headers claim (another size, a sparse file, a name of any length), so headers are walked here one
by one, with its parser for each.
"""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

BLOCK = 512  # bytes; headers and contents begin at multiples of it
RECORD = 20 * BLOCK  # a tar's length is a multiple of it
SIZE_FIELD = slice(124, 136)  # of a header: octal digits
MAX_MEMBER_BYTES = 2**26  # as of an image in a zip
PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
EXTENDED = (  # headers that say something of the member after them
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
HARMLESS_KEYS = {b"", b"mtime", b"atime", b"ctime", b"uid", b"gid", b"uname", b"gname", b"comment"}
SAFE_NAME = re.compile(r"(?:[^/\\\0-\x1f\x7f:]+/)*[^/\\\0-\x1f\x7f:]+")


class Member(NamedTuple):
    """What a header says of one member.

    Attributes:
        name: with `/` between its parts.
        offset, size: of its content, in bytes.
        problem: why it is not to be read; empty if it is a file like any other.
    """

    name: str
    offset: int
    size: int
    problem: str = ""


class TarWriter:
    """Writes a USTAR without dates and owners: the same contents give the same bytes.

    Attributes:
        size: bytes written so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.size = file, hashlib.blake2b(digest_size=16), 0

    def add(self, name: str, content: bytes) -> int:
        """Add a file; gives back where its content begins, in bytes."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        start = self.size
        self._write(content)
        self._write(bytes(-len(content) % BLOCK))
        return start

    def close(self) -> str:
        """Write the end; gives back the digest of the whole, as `file_digest`."""
        self._write(bytes(2 * BLOCK))
        self._write(bytes(-self.size % RECORD))
        return self._hash.hexdigest()

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)
        self.size += len(content)


def parse_header(block: bytes) -> tarfile.TarInfo:
    """What a header of 512 bytes says.

    Raises:
        ValueError: if it is none.
    """
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ValueError(str(error)) from error


def told_size(block: bytes) -> int | None:
    """How long the content is that a header announces, or None; quicker than the whole header."""
    try:
        return int(block[SIZE_FIELD].strip(b"\0 "), 8)
    except ValueError:
        return None


def members(path: Path) -> Iterator[Member]:
    """Every file in a tar, in order; folders are passed over.

    Raises:
        ValueError: if the tar is damaged, or cut off before its end.
        OSError: if it cannot be read.
    """
    total = path.stat().st_size
    position, extended = 0, ""
    with path.open("rb") as file:
        while True:
            file.seek(position)
            block = file.read(BLOCK)
            if len(block) < BLOCK:
                raise ValueError(f"cut off after {total:,} bytes")
            if not any(block):
                return
            try:
                info = parse_header(block)
            except ValueError as error:
                raise ValueError(f"no member begins at byte {position:,} ({error})") from error
            start = position + BLOCK
            if not 0 <= info.size <= total - start:
                raise ValueError(f"the member at byte {position:,} ends beyond the file")
            position = start + info.size + -info.size % BLOCK
            if info.type in EXTENDED:
                extended = extended or _extension(info, file.read(min(info.size, BLOCK)))
                continue
            if not info.isdir():
                problem = extended or _problem(info)
                yield Member(info.name, start, info.size if info.isreg() else 0, problem)
            extended = ""


def _problem(info: tarfile.TarInfo) -> str:
    if info.type not in PLAIN:
        return "is no plain file"
    if not SAFE_NAME.fullmatch(info.name) or ".." in info.name.split("/"):
        return "the name leaves the tar, or has characters that no file should"
    if info.size > MAX_MEMBER_BYTES:
        return f"holds more than {MAX_MEMBER_BYTES:,} bytes"
    return ""


def _extension(info: tarfile.TarInfo, content: bytes) -> str:
    """What is wrong with a header that extends the next one: dates and owners do no harm."""
    if info.type == tarfile.XHDTYPE and info.size <= BLOCK:
        keys = {line.partition(b"=")[0].split(b" ")[-1] for line in content.split(b"\n")}
        if keys <= HARMLESS_KEYS:
            return ""
    return "has an extended header: write the tar as plain USTAR"
