"""What all public functions have in common."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

API = Path(__file__).parents[1] / "book" / "api.md"
MODULES = re.findall(r"automodule:: ([\w.]+)", API.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MODULES)
def test_a_path_may_be_text(name: str) -> None:
    """Whoever writes scripts has both; `Path("x") / "y"` fails late and in Python's words."""
    module = import_module(name)
    for function in (value for value in vars(module).values() if inspect.isfunction(value)):
        if function.__module__ != name or function.__name__.startswith("_"):
            continue
        for parameter in inspect.signature(function).parameters.values():
            text = (
                str(parameter.annotation).replace("pathlib.", "").replace("<class 'Path'>", "Path")
            )
            assert "Path" not in text or "str" in text, f"{name}.{function.__name__}: {parameter}"


def test_text_works(tiny, squares_root: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from face2exp_lib.runs.evaluate import evaluate_run
    from face2exp_lib.runs.predict import predict_images
    from face2exp_lib.training.loop import train

    train(tiny("method=supervised"), f"{tmp_path}/run", f"{squares_root}")
    assert evaluate_run(f"{tmp_path}/run", "val", f"{squares_root}")[1]
    (told,) = predict_images(f"{tmp_path}/run", [f"{squares_root}/squares/test/sad/0.png"])
    assert set(told) == {"image", "label", "probabilities"}
