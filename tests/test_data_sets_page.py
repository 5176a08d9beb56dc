"""The page about data sets says what the adapters say."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "book" / "data_sets.py"


def test_the_page_is_in_step() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_check_would_notice(tmp_path: Path) -> None:
    script = tmp_path / "data_sets.py"
    script.write_text(SCRIPT.read_text())
    text = (SCRIPT.parent / "data_sets.md").read_text()
    (tmp_path / "data_sets.md").write_text(text.replace("717", "705"))
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "not in step" in done.stderr
