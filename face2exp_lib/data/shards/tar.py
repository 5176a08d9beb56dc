"""Tars as WebDataset reads them: written the same each time, looked through without trust.

Nothing of a tar is ever extracted to a path. The standard library's reader follows what extended
headers claim (another size, a sparse file), so headers are walked here one by one, with its parser
for each. Of an extended header a longer name is believed, and checked as any other.
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
# Dates, owners and what macOS keeps beside a file; none says where its content lies.
HARMLESS_KEY = re.compile(
    rb"[amc]time|[ug]id|[ug]name|comment|(?:LIBARCHIVE|SCHILY)\.(?:xattr\..*|creationtime|acl\..*"
    rb"|fflags|dev|ino|nlink)",
    re.DOTALL,
)
MAX_EXTENSION_BYTES = 2**13  # of an extended header: a path is half as long at most
COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}
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
        ValueError: if the tar is damaged, compressed, or cut off before its end.
        OSError: if it cannot be read.
    """
    total = path.stat().st_size
    position, extended, name = 0, "", ""
    with path.open("rb") as file:
        while True:
            file.seek(position)
            block = file.read(BLOCK)
            packed = [tool for magic, tool in COMPRESSED.items() if block.startswith(magic)]
            if position == 0 and packed:
                raise ValueError(
                    f"it is compressed, and no image in it has a place: {packed[0]} it"
                )
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
                content = file.read(min(info.size, MAX_EXTENSION_BYTES))
                problem, longer = _extension(info, content)
                extended, name = extended or problem, longer or name
                continue
            info.name = name or info.name
            if not info.isdir():
                problem = extended or _problem(info)
                yield Member(info.name, start, info.size if info.isreg() else 0, problem)
            extended = name = ""


def _problem(info: tarfile.TarInfo) -> str:
    if info.type not in PLAIN:
        return "is no plain file"
    if not SAFE_NAME.fullmatch(info.name) or ".." in info.name.split("/"):
        return "the name leaves the tar, or has characters that no file should"
    if info.size > MAX_MEMBER_BYTES:
        return f"holds more than {MAX_MEMBER_BYTES:,} bytes"
    return ""


def _extension(info: tarfile.TarInfo, content: bytes) -> tuple[str, str]:
    """What is wrong with a header that extends the next one, and the longer name that it tells.

    Dates and owners do no harm.
    """
    if info.size <= len(content):
        if info.type == tarfile.GNUTYPE_LONGNAME:
            return "", content.rstrip(b"\0").decode("utf-8", "surrogateescape")
        try:
            told = dict(_records(content))
        except ValueError:
            told = {b"?": b""}
        longer = told.pop(b"path", b"") if info.type == tarfile.XHDTYPE else b""
        known = info.type in (tarfile.XHDTYPE, tarfile.XGLTYPE)
        if known and all(HARMLESS_KEY.fullmatch(key) for key in told):
            return "", longer.decode("utf-8", "surrogateescape")
    return "has an extended header: write the tar as plain USTAR", ""


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of each `LENGTH KEY=VALUE` line.

    Raises:
        ValueError: if there is another one.
    """
    while content:
        length, _, rest = content.partition(b" ")
        end = int(length) - len(length) - 1 if length.isdigit() else 0
        if not 0 < end <= len(rest) or rest[end - 1 : end] != b"\n":
            raise ValueError("no record")
        key, _, value = rest[: end - 1].partition(b"=")
        yield key, value
        content = rest[end:]
