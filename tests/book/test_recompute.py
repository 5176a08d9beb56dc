"""The flag that makes stored results anew: each chapter still holds with its branch taken.

What takes minutes or hours is replaced by a copy of what it made when the results were stored.
"""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.book.conftest import ROOT
from tests.book.test_notebooks import NOTEBOOKS, needs_reader, read

FLAG = "RECOMPUTE = False"
FLAGGED = [path for path in NOTEBOOKS if FLAG in path.read_text(encoding="utf-8")]

STAND_INS = """\
import shutil
import subprocess

from face2exp_lib.runs import analyse as analysis

from face2exp_lib.comparison import compare

from face2exp_lib.training import loop as training
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.runtime.storage import read_json

RESULTS = shipped("results")


def run_comparison(comparison, out, data_root, workers=1):
    shutil.copytree(RESULTS / out.name, out)
    called.append(out.name)


def train(config, run_dir, data_root, *, resume=False):
    shutil.copytree(RESULTS / config.name, run_dir)
    called.append(config.name)


def run(command, *, cwd, check):
    assert check and (shipped("configs") / command[2].removeprefix("configs/")).is_file()
    called.append(command[2])


called = []
compare.run_comparison = run_comparison
training.train = train
analysis.analyse_run = lambda run_dir: read_json(RESULTS / run_dir.name / "analysis.json")
subprocess.run = run
"""


@pytest.mark.parametrize("path", FLAGGED, ids=lambda path: path.stem)
def test_a_chapter_holds_with_its_results_made_anew(
    path: Path, jupyter_env: dict[str, str], tmp_path: Path
) -> None:
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if not needs_reader(cell)]
    for cell in notebook.cells:
        cell.source = cell.source.replace(FLAG, "RECOMPUTE = True")
    told = nbformat.v4.new_code_cell("print(len(called), 'made anew')")
    notebook.cells = [nbformat.v4.new_code_cell(STAND_INS), *notebook.cells, told]
    (tmp_path / "book").mkdir()
    folder = {"metadata": {"path": str(tmp_path / "book")}}
    env = {**jupyter_env, "PYTHONPATH": str(ROOT)}
    NotebookClient(notebook, timeout=300, resources=folder).execute(env=env)
    printed = notebook.cells[-1].outputs[0].text
    assert int(printed.split()[0]) >= 1


def test_the_chapters_with_stored_results_have_the_flag() -> None:
    stems = {path.stem for path in FLAGGED}
    assert stems == {
        "see_the_biases",
        "two_networks",
        "scale_it",
        "evaluate",
        "take_apart",
    }
