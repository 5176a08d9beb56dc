"""The ledger and the list of silences name things that are there, and their pages are in step."""

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

from book.tools import ledger
from face2exp_lib.config import load_config
from tests.book.conftest import ROOT

ROWS = ledger.rows()
SILENT = yaml.safe_load((ROOT / "book" / "silent.yaml").read_text())
TOC = (ROOT / "_toc.yml").read_text()


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_claim_has_a_row() -> None:
    wanted = [f"Eq. {n}" for n in range(1, 7)]
    wanted += [f"Algorithm 1, line {n}" for n in range(1, 20)]
    wanted += [f"Table {n}" for n in range(1, 7)] + [f"Fig. {n}" for n in range(1, 8)]
    assert [row["claim"] for row in ROWS] == [*wanted, "std of SCN"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["claim"])
def test_what_a_row_names_is_there(row: dict[str, Any]) -> None:
    module, _, name = row["symbol"].rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    path, _, test = row["test"].partition("::")
    assert (ROOT / path).is_file()
    assert not test or test in functions_in(ROOT / path)
    assert f"book/{row['page']}" in TOC
    assert row["state"] in ledger.STATES
    if "number" in row:
        assert ledger.number(row["number"])


def test_a_table_is_reproduced_by_its_numbers_alone() -> None:
    """None was run on the paper's data; whoever claims one must name the file with its number."""
    for row in ROWS:
        if row["claim"].startswith("Table"):
            assert row["state"] != "reproduced" or "number" in row


@pytest.mark.parametrize("entry", SILENT, ids=lambda entry: entry["asks"][:30])
def test_a_silence_names_a_key_and_its_ablation(entry: dict[str, Any]) -> None:
    config = load_config(Path("rendered_cpu.yaml"))
    for key in (entry["key"] or "").split(", "):
        value: Any = config
        for part in filter(None, key.split(".")):
            value = getattr(value, part)
    assert entry["arms"] or entry["not_ablated"]
    arms = yaml.safe_load((ROOT / "configs" / "compare_ablation.yaml").read_text())["arms"]
    assert {*entry["arms"], entry.get("against", "full")} <= set(arms)
