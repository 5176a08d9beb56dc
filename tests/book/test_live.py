"""The cells that need a reader: every end of every control, as a kernel would run it."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.book.conftest import ROOT
from tests.book.test_notebooks import NOTEBOOKS, needs_reader, read

# The playground has sliders of its own, which its tests move, and the status is a table. What moves
# in the others needs no kernel: `test_sliders` moves it.
WITHOUT = {"playground", "status", "limits", "released_code", "take_apart"}
LESSONS = [path for path in NOTEBOOKS if path.stem not in WITHOUT]

# In place of a reader: the first control at all its ends while the others rest, then the next one.
# A cell whose function raises fails, which it does not when ipywidgets runs it.
READER = """\
import ipywidgets
from IPython.display import display


def interact(**controls):
    def turned(function):
        widgets = ipywidgets.interactive(function, **controls).kwargs_widgets
        resting = {widget._kwarg: widget.value for widget in widgets}
        assert widgets
        for widget in widgets:
            ends = getattr(widget, "options", None) or (widget.min, widget.max)
            for end in ends:
                shown = function(**{**resting, widget._kwarg: end})
                assert shown is not None
        print(len(widgets), "controls turned")
        return function

    return turned


ipywidgets.interact = interact
"""


def turned(notebook: Any, env: dict[str, str]) -> str:
    """Execute a notebook up to its last live cell, and tell what the live cells printed."""
    live = [index for index, cell in enumerate(notebook.cells) if needs_reader(cell)]
    for index in live:
        notebook.cells[index].metadata.tags.remove("skip-execution")
    notebook.cells = [nbformat.v4.new_code_cell(READER), *notebook.cells[: live[-1] + 1]]
    path = {"metadata": {"path": str(ROOT / "book")}}
    NotebookClient(notebook, timeout=300, resources=path).execute(env=env)
    outputs = [output for index in live for output in notebook.cells[index + 1].outputs]
    return "".join(output.get("text", "") for output in outputs)


def test_chapters_that_are_left_out_have_nothing_for_a_kernel() -> None:
    """Lest one gets a control that nothing turns."""
    for path in NOTEBOOKS:
        if path.stem in WITHOUT - {"playground"}:
            assert not any(map(needs_reader, read(path).cells)), path


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_chapter_has_controls_and_each_holds_at_its_ends(
    path: Path, jupyter_env: dict[str, str]
) -> None:
    assert "controls turned" in turned(read(path), jupyter_env)


def test_a_control_that_fails_at_an_end_is_noticed(jupyter_env: dict[str, str]) -> None:
    source = """\
from ipywidgets import interact


@interact(x=(1, 5))
def inverse(x=2):
    return 1 / (x - 5)
"""
    tags = {"tags": ["skip-execution", "nbval-ignore-output"]}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, metadata=tags)])
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        turned(notebook, jupyter_env)
