"""Files that are whole or absent."""

import errno
import os
from pathlib import Path

import pytest

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, read_jsonl, write_bytes, write_json, write_text


def test_write_makes_folders_and_a_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.txt"
    write_text(path, "höhe")
    assert path.read_text(encoding="utf-8") == "höhe"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["b.txt"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "state"
    write_bytes(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"os.{failing}", full)
    with pytest.raises(Face2ExpError, match=r"state: cannot write \(No space left on device\)"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(Face2ExpError, match=r"out: cannot write .*: it is a folder: name a file"):
        write_bytes(tmp_path / "out", b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_interrupt_keeps_the_old_file_and_leaves_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write_bytes(path, b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_appears_only_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    write_bytes(path, b"old")
    seen = []
    replace = os.replace

    def watched(source: str, target: Path) -> None:
        seen.append((Path(source).read_bytes(), path.read_bytes()))
        replace(source, target)

    monkeypatch.setattr("os.replace", watched)
    write_bytes(path, b"new")
    assert seen == [(b"new", b"old")]
    assert path.read_bytes() == b"new"


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Face2ExpError, match=r"x\.json: cannot write .*choose a folder"):
        write_json(tmp_path / "file" / "x.json", {})


def test_json_comes_back_and_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"))
    assert read_json(path) == {"a": [1, 2.5, None]}


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"[" * 100_000])
def test_broken_json_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(Face2ExpError, match=r"x\.json: not readable as JSON .*: delete it"):
        read_json(path)


def test_json_that_cannot_be_read_is_told_without_pythons_words(tmp_path: Path) -> None:
    for content in (b"{", b"\xff", b"[" * 100_000):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(Face2ExpError, match=r"JSON \((damaged|nested too deeply)\): delete"):
            read_json(tmp_path / "x.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(Face2ExpError, match=r"folder\.json: cannot be read \([A-Z]\D+\)$"):
        read_json(tmp_path / "folder.json")


def test_missing_json_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"x\.json: no such file"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("tail", [b'{"step": 2, "lo', b"\xff\xfe\n", b"[2]\n", b"2\n"])
def test_jsonl_leaves_out_what_a_crash_cut_off(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "x.jsonl"
    assert read_jsonl(path) == []
    path.write_bytes(b'{"step": 0}\n{"step": 1}\n' + tail)
    assert read_jsonl(path) == [{"step": 0}, {"step": 1}]


@pytest.mark.parametrize(
    ("content", "problem"), [("[]", "no object"), ("null", "no object"), ('{"a": 1}', "no 'b'")]
)
def test_json_of_something_else_names_what_is_missing(
    tmp_path: Path, content: str, problem: str
) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(Face2ExpError, match=rf"x\.json: not readable as JSON \({problem}\)"):
        read_json(path, "a", "b")
