"""What a run reports of each step."""

import json
from pathlib import Path
from typing import Any

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl, write_text


class MetricsLog:
    """`metrics.jsonl`, one record a step; a resumed run drops what came after its checkpoint."""

    def __init__(self, path: Path, *, keep_before: int) -> None:
        kept = [r for r in read_jsonl(path) if r.get("step", keep_before) < keep_before]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
        self._path, self._file = path, path.open("a")

    def append(self, record: dict[str, Any]) -> None:
        """Add one record. Lines reach the disk at `flush`, before the checkpoint that follows."""
        self._file.write(json.dumps(record) + "\n")

    def flush(self) -> None:
        """Write what was added.

        Raises:
            Face2ExpError: if the disk is full.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise Face2ExpError(
                f"{self._path}: cannot write ({error.strerror}): free some space and --resume"
            ) from error

    def close(self) -> None:
        self._file.close()
