"""Each chapter's text and notebook are one thing, and nbval really compares the outputs."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
import yaml

from book.tools import execute

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "book").rglob("*.ipynb"))
LONGEST_CELL = 30  # lines
# Where a notebook was executed: home and temporary folders of Unix, macOS and Windows.
MACHINE_PATH = re.compile(r"/home/\w|/root/|/Users/\w|/tmp/|/var/folders/|[A-Z]:\\\\")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells(notebook: Any) -> list[tuple[str, str, dict]]:
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def needs_reader(cell: Any) -> bool:
    """Whether a cell shows widgets: the book leaves it out, nbval still executes it."""
    return "skip-execution" in cell.metadata.get("tags", [])


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_text_and_notebook_hold_the_same_cells(path: Path) -> None:
    notebook = read(path)
    assert notebook.metadata.jupytext.formats == "ipynb,md:myst"
    assert cells(jupytext.read(path.with_suffix(".md"))) == cells(notebook), (
        f"{path.stem}: text and notebook differ: run `make notebooks`"
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_page_comes_from_the_notebook(path: Path) -> None:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    assert {"file": str(path.relative_to(ROOT))} in chapters


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_executed_from_top_to_bottom_without_error(path: Path) -> None:
    code = [
        cell for cell in read(path).cells if cell.cell_type == "code" and not needs_reader(cell)
    ]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(cell.outputs for cell in code), "nbval would have nothing to compare"
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_that_the_book_leaves_out_has_no_output_but_is_tested(path: Path) -> None:
    for cell in read(path).cells:
        if needs_reader(cell):
            assert cell.outputs == []
            assert "nbval-ignore-output" in cell.metadata.tags
            assert "nbval-skip" not in cell.metadata.tags


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_does_not_tell_when_or_where_it_was_executed(path: Path) -> None:
    notebook = read(path)
    assert set(notebook.metadata) <= {"jupytext", "kernelspec", "language_info"}
    assert "version" not in notebook.metadata.language_info
    for cell in notebook.cells:
        assert "execution" not in cell.metadata, "timestamps: write it with `make notebooks`"
        for output in cell.get("outputs", []):
            kinds = set(output.get("data", {}))
            assert not any("widget" in kind for kind in kinds), "widgets are dead in a page"
            # Plotly's other renderers store a figure as HTML, with plotly.js or its address.
            assert "Plotly.newPlot" not in output.get("data", {}).get("text/html", "")
    found = MACHINE_PATH.search(path.read_text())
    assert found is None, f"a path of some machine: {found and found.group()}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_shows_each_cell_whole(path: Path) -> None:
    """Short enough to be read beside its text; what is only imported is folded away, and so is a
    quiz, whose answer is in its code. What only arranges a table or figure may be."""
    for cell in read(path).cells:
        if cell.cell_type == "code":
            lines = cell.source.splitlines()
            assert len(lines) <= LONGEST_CELL, lines[0]
            statements = ast.parse(cell.source).body
            only_imports = all(isinstance(s, ast.Import | ast.ImportFrom) for s in statements)
            folded = only_imports or cell.source.startswith("live.quiz(")
            assert not folded or "hide-input" in cell.metadata.get("tags", [])


def first_printed_number() -> Any:
    """The notebook that prints a number to compare after the fewest cells, cut behind that one."""
    shortest = None
    for path in NOTEBOOKS:
        notebook = read(path)
        for count, cell in enumerate(notebook.cells, start=1):
            if "nbval-ignore-output" in cell.metadata.get("tags", []):
                continue
            if any(re.search(r"\d", output.get("text", "")) for output in cell.get("outputs", [])):
                if shortest is None or count < len(shortest.cells):
                    notebook.cells = notebook.cells[:count]
                    shortest = notebook
                break
    assert shortest is not None, "no chapter prints a number"
    return shortest


def nbval(notebook: Any, path: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", str(path)]
    return subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"],
        cwd=path.parent,
        env=env,
        capture_output=True,
        text=True,
    )


def test_a_corrupted_number_turns_nbval_red(tmp_path: Path, jupyter_env: dict[str, str]) -> None:
    notebook = first_printed_number()
    untouched = nbval(notebook, tmp_path / "untouched.ipynb", jupyter_env)
    assert untouched.returncode == 0, untouched.stdout

    (output,) = (out for out in notebook.cells[-1].outputs if re.search(r"\d", out.get("text", "")))
    output.text = re.sub(r"\d", lambda digit: str(9 - int(digit[0])), output.text, count=1)
    corrupted = nbval(notebook, tmp_path / "corrupted.ipynb", jupyter_env)
    assert corrupted.returncode == 1, corrupted.stdout
    assert "Cell outputs differ" in corrupted.stdout


NEGATED = """\
from face2exp_lib.methods import feedback

right = feedback.feedback_coefficient
feedback.feedback_coefficient = lambda *arguments: -right(*arguments)
"""


@pytest.mark.parametrize("chapter", ["derive_feedback", "code_feedback"])
def test_a_negated_f_turns_its_chapters_red(
    chapter: str, tmp_path: Path, jupyter_env: dict[str, str]
) -> None:
    """With the sign of f turned in the library, before a cell of the chapter runs."""
    profile = Path(jupyter_env["IPYTHONDIR"]) / "profile_default" / "startup"
    profile.mkdir(parents=True, exist_ok=True)
    startup = profile / "negated.py"
    startup.write_text(NEGATED)
    try:
        env = jupyter_env | {"PYTHONPATH": str(ROOT)}
        red = nbval(read(ROOT / "book" / f"{chapter}.ipynb"), tmp_path / "negated.ipynb", env)
    finally:
        startup.unlink()
    assert red.returncode == 1, red.stdout
    assert "AssertionError" in red.stdout


def install_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if "colab" in cell.metadata.get("tags", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_cell_installs_where_colab_can_fetch_the_book(path: Path) -> None:
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    address = config.get("repository", {}).get("url", "")
    notebook = read(path)
    with_address = execute.with_install_cell(notebook, "https://example.org/face2exp")
    code = [cell for cell in with_address.cells if cell.cell_type == "code"]
    assert code[0].metadata.tags == ["colab", "nbval-ignore-output", "remove-cell"]
    wanted = (
        '%pip install -q "face2exp-lib[book,landmarks,render] @ git+https://example.org/face2exp"'
    )
    assert wanted in code[0].source
    assert execute.with_install_cell(with_address, "").cells == notebook.cells or address
    assert len(install_cells(notebook)) == bool(address)
