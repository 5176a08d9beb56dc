"""Tars: the same bytes each time, and nothing believed of one from elsewhere."""

import io
import tarfile
from pathlib import Path

import pytest

from face2exp_lib.data.shards import tar as module
from face2exp_lib.data.shards.check import file_digest
from face2exp_lib.data.shards.tar import TarWriter, members, parse_header, told_size

FILES = {"a.jpg": b"x" * 700, "a.json": b"{}", "b.jpg": b"", "b.json": b"y" * 512}


def write(path: Path, files: dict[str, bytes]) -> str:
    with path.open("wb") as file:
        writer = TarWriter(file)
        places = {name: writer.add(name, content) for name, content in files.items()}
        digest = writer.close()
    stored = path.read_bytes()
    for name, place in places.items():
        assert stored[place : place + len(files[name])] == files[name]
        assert told_size(stored[place - 512 : place]) == len(files[name])
    assert writer.size == len(stored)
    return digest


def test_what_is_written_is_read_by_the_standard_library(tmp_path: Path) -> None:
    digest = write(tmp_path / "a.tar", FILES)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.getnames() == list(FILES)
        for info in archive:
            file = archive.extractfile(info)
            assert file is not None
            assert file.read() == FILES[info.name]
            assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")
    assert digest == file_digest(tmp_path / "a.tar")
    assert write(tmp_path / "b.tar", FILES) == digest
    assert write(tmp_path / "c.tar", {**FILES, "b.jpg": b"z"}) != digest


def test_the_standard_librarys_tar_is_the_same(tmp_path: Path) -> None:
    """Byte for byte: with its padding and its end."""
    write(tmp_path / "a.tar", FILES)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert (tmp_path / "a.tar").read_bytes() == buffer.getvalue()


def test_members(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", FILES)
    found = list(members(tmp_path / "a.tar"))
    assert [(member.name, member.size) for member in found] == [
        (name, len(content)) for name, content in FILES.items()
    ]
    assert {member.problem for member in found} == {""}


def hostile(path: Path, *infos: tarfile.TarInfo, pax: dict[str, str] | None = None) -> Path:
    form = tarfile.PAX_FORMAT if pax else tarfile.GNU_FORMAT
    with tarfile.open(path, "w", format=form) as archive:
        for info in infos:
            info.pax_headers = pax or {}
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.isreg() else None)
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    return info


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        (entry("/etc/a.jpg"), "leaves the tar"),
        (entry("../a.jpg"), "leaves the tar"),
        (entry("a/../../b.jpg"), "leaves the tar"),
        (entry("C:/a.jpg"), "leaves the tar"),
        (entry("a\\b.jpg"), "leaves the tar"),
        (entry("a\nb.jpg"), "leaves the tar"),
        (entry("a.jpg", tarfile.SYMTYPE), "no plain file"),
        (entry("a.jpg", tarfile.LNKTYPE), "no plain file"),
        (entry("a.jpg", tarfile.CHRTYPE), "no plain file"),
        (entry("a.jpg", tarfile.FIFOTYPE), "no plain file"),
        (entry("n" * 9000 + ".jpg"), "extended header"),
        (entry("../" + "n" * 120 + ".jpg"), "leaves the tar"),
    ],
)
def test_members_that_are_not_to_be_read(
    tmp_path: Path, info: tarfile.TarInfo, problem: str
) -> None:
    path = hostile(tmp_path / "a.tar", entry("fine.jpg", size=600), info, entry("fine.json"))
    first, odd, last = members(path)
    assert problem in odd.problem
    assert (first.problem, last.problem) == ("", "")
    assert [(path.parent / name).exists() for name in ("fine.jpg", "a.jpg")] == [False, False]


@pytest.mark.parametrize(
    "pax",
    [
        {"mtime": "1.5"},
        {"LIBARCHIVE.xattr.com.apple.quarantine": "MDA4Mw", "SCHILY.xattr.com.apple.q": "a\nb"},
    ],
)
def test_folders_and_dates_do_no_harm(tmp_path: Path, pax: dict[str, str]) -> None:
    """As WebDataset's own writer, `tar c .` and a Mac have them."""
    path = hostile(tmp_path / "a.tar", entry("./x", tarfile.DIRTYPE), entry("./x/a.jpg"), pax=pax)
    (member,) = members(path)
    assert (member.name, member.problem) == ("./x/a.jpg", "")


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_those_that_are_not_ascii(tmp_path: Path, form: int) -> None:
    """As Python's tarfile and GNU tar store them: each is its own member's alone."""
    names = ["n" * 120 + ".jpg", "a.jpg", "Jos\xe9/\u5f20.jpg", "m" * 300 + ".jpg", "b.jpg"]
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        for size, name in enumerate(names):
            archive.addfile(entry(name, size=size), io.BytesIO(bytes(size)))
    found = list(members(tmp_path / "a.tar"))
    assert [(member.name, member.size, member.problem) for member in found] == [
        (name, size, "") for size, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"13 path=a.jpg\n",
        b"99 path=a.jpg\n",
        b"x path=a.jpg\n",
        b"0 ",
        b"-1 a\n",
        b"14 path=a.jpg\nx",
        b"14 path=a.jpgx",
    ],
)
def test_records_that_are_none(tmp_path: Path, content: bytes) -> None:
    head = entry("h", tarfile.XHDTYPE, len(content)).tobuf(tarfile.USTAR_FORMAT)
    rest = entry("a.jpg").tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    (tmp_path / "a.tar").write_bytes(head + content.ljust(512, b"\0") + rest)
    (member,) = members(tmp_path / "a.tar")
    assert (member.name, member.problem[:22]) == ("a.jpg", "has an extended header")


@pytest.mark.parametrize(
    ("mode", "tool"), [("w:gz", "gunzip"), ("w:bz2", "bunzip2"), ("w:xz", "unxz")]
)
def test_a_compressed_tar_is_named_as_such(tmp_path: Path, mode: str, tool: str) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as archive:  # type: ignore[call-overload]
        archive.addfile(entry("a.jpg"))
    with pytest.raises(ValueError, match=rf"it is compressed, .*: {tool} it"):
        list(members(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("path=../x.jpg", "leaves the tar"),
        ("size=99999999999", "extended header"),
        ("GNU.sparse.realsize=1", "extended header"),
        ("hdrcharset=BINARY", "extended header"),
    ],
)
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_extended_headers_that_claim_something(
    tmp_path: Path, told: str, problem: str, kind: bytes
) -> None:
    record = f" {told}\n"
    record = f"{len(record) + 2}{record}"
    head = entry("h", kind, len(record)).tobuf(tarfile.USTAR_FORMAT)
    images = [entry(f"{name}.jpg").tobuf(tarfile.USTAR_FORMAT) for name in "ab"]
    (tmp_path / "a.tar").write_bytes(
        head + record.encode().ljust(512, b"\0") + b"".join(images) + bytes(1024)
    )
    first, second = members(tmp_path / "a.tar")
    assert ("extended header" if kind == tarfile.XGLTYPE else problem) in first.problem
    assert second.problem == ""


def test_oversize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tar", FILES)
    monkeypatch.setattr(module, "MAX_MEMBER_BYTES", 600)
    assert [bool(member.problem) for member in members(tmp_path / "a.tar")] == [
        True, False, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("length", [0, 100, 511, 512, 900, 1536, 2048, 3100])
def test_cut_off(tmp_path: Path, length: int) -> None:
    write(tmp_path / "a.tar", FILES)
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"cut off after|ends beyond the file"):
        list(members(tmp_path / "a.tar"))


def test_damaged_header(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", FILES)
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[1536 + 3] ^= 1
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match="no member begins at byte 1,536"):
        list(members(tmp_path / "a.tar"))
    with pytest.raises(ValueError, match="bad checksum"):
        parse_header(bytes(content[1536:2048]))


def test_negative_size(tmp_path: Path) -> None:
    """It would send a reader back and forth for ever."""
    info = entry("a.jpg")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = tarfile.itn(-1024, 12, tarfile.GNU_FORMAT)  # type: ignore[attr-defined]
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "a.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(ValueError, match="ends beyond the file"):
        list(members(tmp_path / "a.tar"))
