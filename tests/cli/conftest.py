"""A run and data that a test may damage, and commands without the errors' last stop."""

import argparse
import shutil
from pathlib import Path

import pytest

from face2exp_lib.cli.runs import add_model_commands
from tests.cli.commands import Capture, Typed


@pytest.fixture
def run(finished_runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_runs["meta"], tmp_path / "run"))


@pytest.fixture
def data(squares_root: Path, tmp_path: Path) -> Path:
    """A data root to be damaged."""
    return Path(shutil.copytree(squares_root, tmp_path / "data"))


@pytest.fixture
def typed(capsys: Capture) -> Typed:
    """Runs one command, gives back what it printed."""

    def call(*words: object) -> str:
        parser = argparse.ArgumentParser()
        add_model_commands(parser.add_subparsers(required=True))
        options = parser.parse_args([str(word) for word in words])
        options.run(options)
        return capsys.readouterr().out

    return call
