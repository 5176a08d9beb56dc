"""The rule that keeps numba's cache true: see `compile_loop`."""

import ast
from pathlib import Path

from face2exp_lib import rendering


def test_compiled_loops_use_nothing_from_other_files_of_the_package() -> None:
    seen = 0
    for path in Path(rendering.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("face2exp_lib")
            for alias in node.names
        }
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(decorator, ast.Name) and decorator.id == "compile_loop"
                for decorator in node.decorator_list
            ):
                seen += 1
                used = {
                    n.id for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name)
                }
                assert not used & imported, f"{path.name}: {node.name} uses {used & imported}"
    assert seen > 10
