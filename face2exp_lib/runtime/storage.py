"""Files that are either whole or absent."""

import errno
import json
import os
import re
import tempfile
from pathlib import Path
from typing import IO, Any

from face2exp_lib.runtime.errors import Face2ExpError

# What mkstemp makes of the prefix in `write_bytes`.
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        Face2ExpError: if the folder cannot be written or the disk is full; the old file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise Face2ExpError(
            f"{path}: cannot write ({error.strerror}): choose a folder that can be written"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            sync(file)
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would keep a shared run from being read
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            full = error.errno != errno.EISDIR
            way_out = "free some space and run again" if full else "it is a folder: name a file"
            raise Face2ExpError(f"{path}: cannot write ({error.strerror}): {way_out}") from error
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left below a folder that nobody else writes: parts of files under
    the temporary names of `write_bytes`."""
    for path in folder.rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def sync(file: IO[Any]) -> None:
    """Return when what was written is on the disk, and not only on its way there."""
    file.flush()
    os.fsync(file.fileno())


def write_text(path: Path, content: str) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """Read the object that a JSON file holds.

    Raises:
        Face2ExpError: if the file is missing, holds none, or one without some of `keys`.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("no object")
        for key in keys:
            if key not in content:
                raise ValueError(f"no '{key}'")
        return content
    except FileNotFoundError as error:
        raise Face2ExpError(f"{path}: no such file") from error
    except OSError as error:
        raise Face2ExpError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        problem = "damaged" if isinstance(error, UnicodeError | json.JSONDecodeError) else error
        problem = "nested too deeply" if isinstance(error, RecursionError) else problem
        raise Face2ExpError(
            f"{path}: not readable as JSON ({problem}): delete it and redo"
        ) from error


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The records of a JSON-lines file; a last line that was cut off by a crash is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records
