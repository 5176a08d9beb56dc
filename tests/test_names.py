"""The names that the package itself offers, and the map that its docstring is."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import face2exp_lib

SOURCE = Path(inspect.getfile(face2exp_lib))


@pytest.mark.parametrize("name", face2exp_lib.__all__)
def test_a_name_is_that_of_its_module(name: str) -> None:
    home = import_module(f"face2exp_lib.{face2exp_lib._HOME[name]}")
    assert getattr(face2exp_lib, name) is vars(home)[name]
    assert vars(home)[name].__module__ == home.__name__
    assert name in dir(face2exp_lib)


def test_type_checkers_find_them_where_python_does() -> None:
    block = next(node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    told = {
        alias.asname: (node.module or "").removeprefix("face2exp_lib.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == face2exp_lib._HOME


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="module 'face2exp_lib' has no attribute 'fly'"):
        _ = face2exp_lib.fly  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="fly"):
        from face2exp_lib import fly  # type: ignore[attr-defined]  # noqa: F401


def test_an_error_can_be_caught_without_torch() -> None:
    program = """
import sys
from face2exp_lib import Face2ExpError
assert "train" in dir(sys.modules["face2exp_lib"])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=SOURCE.parents[1])
