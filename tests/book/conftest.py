"""The book as built, and an environment in which Jupyter leaves the home folder alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def jupyter_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("jupyter")
    folders = {
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
    }
    return os.environ | {name: str(home / folder) for name, folder in folders.items()}


def build(source: Path, output: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Build a book as `make` does; its pages are in output/_build/html."""
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    strict = ["--all", "-n", "-W", "--keep-going"]
    return subprocess.run(
        [jupyter_book, "build", *strict, "--path-output", output, source],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory, jupyter_env: dict[str, str]) -> Path:
    """The strictly built pages: make's own while they are up to date, else fresh ones."""
    up_to_date = ["make", "-q", "_build/html/index.html"]
    if subprocess.run(up_to_date, cwd=ROOT, capture_output=True).returncode == 0:
        return ROOT / "_build" / "html"
    output = tmp_path_factory.mktemp("book")
    result = build(ROOT, output, jupyter_env)
    assert result.returncode == 0, result.stdout
    return output / "_build" / "html"
