"""Part 1: the tests that are marked `gpu`, a group a piece."""

import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.gpu.piece import ROOT, Piece, Settings, last_lines, run

TESTS = "tests/test_devices.py"
# Group -> its tests, and the seconds that it is not begun without. By what a reader asks first.
GROUPS: dict[str, tuple[float, tuple[str, ...]]] = {
    "step": (60, ("test_a_step_is_that_of_algorithm_1", "test_ways_to_f_agree")),
    "views": (
        60,
        ("test_views_are_those_of_torch_on_the_cpu", "test_views_of_an_evaluation_are_the_same"),
    ),
    "precision": (60, ("test_low_precision_leaves_f_unscaled",)),
    "readings": (60, ("test_every_reading_of_the_step_is_that_of_the_cpu",)),
    "runs": (
        120,
        (
            "test_a_killed_run_goes_on_to_the_bit",
            "test_a_run_in_low_precision",
            "test_an_evaluation_is_that_of_the_cpu",
        ),
    ),
    "processes": (
        180,
        (
            "test_two_processes_are_one_batch",
            "test_synchronised_batch_norm_is_that_of_the_whole_batch",
            "test_one_process_by_nccl",
            "test_two_processes_by_nccl",
        ),
    ),
    "methods": (120, ("test_every_method_trains",)),
    "compile": (180, ("test_a_compiled_step_has_the_same_losses",)),
}
IN_A_DRY_RUN = ("step",)
OUTCOMES = ("failure", "error", "skipped")


def pieces(settings: Settings) -> list[Piece]:
    """A piece for each group; of a dry run, few."""
    names = IN_A_DRY_RUN if settings.tiny else GROUPS
    return [
        Piece("checks", name, 1 if settings.tiny else GROUPS[name][0], partial(check, name))
        for name in names
    ]


def check(name: str, settings: Settings) -> dict[str, Any]:
    """Outcome of each test of a group: passed, skipped with the reason, or what went wrong."""
    tests = [f"{TESTS}::{test}" for test in GROUPS[name][1]]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
        command += ["-W", "default"]  # another torch may warn of what is no fault here
        command += ["--device", settings.device, f"--junit-xml={report}", *tests]
        done = run(command, settings.left(), env=os.environ | {"PYTHONPATH": str(ROOT)})
        if not report.exists():
            return {"failed": last_lines(done.stdout)}
        outcomes = read_outcomes(report)
    counts = {
        what: sum(outcome.startswith(what) for outcome in outcomes.values())
        for what in ("passed", "skipped", "failure", "error")
    }
    found = {"tests": outcomes, "counts": counts}
    if done.returncode or not counts["passed"] + counts["skipped"]:
        found["failed"] = last_lines(done.stdout)
    return found


def read_outcomes(report: Path) -> dict[str, str]:
    """Test -> `passed`, or the kind of outcome and its message."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = "passed"
        for kind in OUTCOMES:
            if (node := case.find(kind)) is not None:
                outcome = f"{kind}: {node.get('message', '')}"
        found[case.get("name", "")] = outcome
    return found
