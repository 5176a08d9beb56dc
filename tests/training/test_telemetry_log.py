"""The log of a run, after a kill and on a full disk."""

from pathlib import Path

import pytest

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_jsonl
from face2exp_lib.training.telemetry import MetricsLog


def test_metrics_log_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"st')
    log = MetricsLog(path, keep_before=2)
    log.append({"step": 2, "new": True})
    log.close()
    assert read_jsonl(path) == [{"step": 0}, {"step": 1}, {"step": 2, "new": True}]


def test_metrics_log_survives_foreign_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0}\n{"other": 1}\n{"step": 1}\n')
    MetricsLog(path, keep_before=2).close()
    assert read_jsonl(path) == [{"step": 0}, {"step": 1}]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", keep_before=0)
    full = open("/dev/full", "a")  # noqa: SIM115
    log.close()
    log._file = full
    log.append({"step": 0})
    with pytest.raises(Face2ExpError, match=r"metrics\.jsonl: cannot write \(No space left"):
        log.flush()
    with pytest.raises(OSError, match="No space left"):
        full.close()
