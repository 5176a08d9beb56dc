"""The page about costs says what the benchmarks measured."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "book" / "scale.py"


def check(script: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)


def test_the_page_is_in_step() -> None:
    done = check(SCRIPT)
    assert done.returncode == 0, done.stderr


def test_the_check_would_notice(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    (tmp_path / "results" / "benchmarks").mkdir(parents=True)
    for name in ("scale.py", "scale.md"):
        (tmp_path / "book" / name).write_text((SCRIPT.parent / name).read_text())
    for name in ("shards", "landmarks", "input_pipeline"):
        source = ROOT / "results" / "benchmarks" / f"{name}.json"
        content = json.loads(source.read_text())
        if name == "shards":
            content["photos"]["sizes"]["256"]["tar_bytes"] *= 2
        (tmp_path / "results" / "benchmarks" / source.name).write_text(json.dumps(content))
    done = check(tmp_path / "book" / "scale.py")
    assert done.returncode == 1
    assert "not in step" in done.stderr


def test_figures_worked_out_by_hand() -> None:
    scale = runpy.run_path(str(SCRIPT))
    assert scale["hours"](3600, 10) == 0.1
    assert [scale["machines"](core_hours) for core_hours in (0.5, 32 * 48, 32 * 48 + 1)] == [
        1,
        1,
        2,
    ]
