"""Rewrite the book's notebooks from the texts they are paired with, and execute them.

The text (`book/<chapter>.md`) is what is edited; its code is formatted on the way. The notebook
beside it is what readers download and what the page is built from; it holds the outputs that nbval
compares. Nothing in it tells when or where it was executed, so a second execution with the same
results writes the same file.

    make notebooks                        all chapters
    make notebooks CHAPTERS=book/train.md one of them
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import yaml
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient

from face2exp_lib.runtime.storage import write_text

BOOK = Path(__file__).parents[1]
TIMEOUT_S = 600
INSTALL = """\
import importlib.util

if importlib.util.find_spec("face2exp_lib") is None:  # on Colab
    %pip install -q "face2exp-lib[book,landmarks,render] @ git+{address}\""""


def paired_texts() -> list[Path]:
    """The chapters that are code: texts with a jupytext header; the others are plain pages."""
    return [
        path
        for path in sorted(BOOK.glob("*.md"))
        if "\njupytext:" in path.read_text()[:20]
    ]


def format_code(text: Path) -> None:
    """Format the code cells of one text as the linter will want them in the notebook.

    Raises:
        subprocess.CalledProcessError: if a cell is not Python.
    """
    old = new = text.read_text()
    for cell in jupytext.read(text).cells:
        if cell.cell_type == "code":
            formatted = subprocess.run(
                [sys.executable, "-m", "ruff", "format", "-"],
                cwd=BOOK,
                input=cell.source,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
            new = new.replace(cell.source, formatted.removesuffix("\n"))
    if new != old:
        write_text(text, new)


def repository() -> str:
    """Where the book can be fetched from, or nothing."""
    config = yaml.safe_load((BOOK.parent / "_config.yml").read_text())
    return str(config.get("repository", {}).get("url", ""))


def with_install_cell(notebook: Any, address: str) -> Any:
    """The notebook with a first code cell that installs the package on Colab, if there is an
    address to install it from; without one if there is not."""
    cells = [
        cell
        for cell in notebook.cells
        if "colab" not in cell.metadata.get("tags", [])
    ]
    if address:
        source = INSTALL.format(address=address)
        tags = {"tags": ["colab", "nbval-ignore-output", "remove-cell"]}
        cell = nbformat.v4.new_code_cell(source, id="install", metadata=tags)
        first = next(
            i for i, cell in enumerate(cells) if cell.cell_type == "code"
        )
        cells.insert(first, cell)
    return nbformat.from_dict({**notebook, "cells": cells})


def write_notebook(text: Path) -> None:
    """Write the executed notebook of one text.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails; the notebook stays as it was.
    """
    path = text.with_suffix(".ipynb")
    notebook = jupytext.read(text)
    installing = with_install_cell(notebook, repository())
    if len(installing.cells) != len(notebook.cells):
        jupytext.write(installing, text)
        notebook = jupytext.read(text)
    if path.exists():
        # Takes over the ids of cells that stayed, which the text does not hold.
        notebook = combine_inputs_with_outputs(
            notebook, nbformat.read(path, as_version=4)
        )
    for cell in notebook.cells:
        if cell.cell_type == "code":  # one that is not executed has none
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=TIMEOUT_S,
        record_timing=False,
        resources={"metadata": {"path": str(text.parent)}},
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # progress bars tell the time
            cell.outputs = [
                out for out in cell.outputs if out.get("name") != "stderr"
            ]
    notebook.metadata.language_info.pop("version", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata.jupytext.pop(
        "text_representation", None
    )  # that of the text, with versions
    write_text(path, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    for chapter in [Path(name) for name in sys.argv[1:]] or paired_texts():
        print(f"executing {chapter}", flush=True)
        format_code(chapter)
        write_notebook(chapter)
