"""The page `silent.md`: where the paper is silent, from `silent.yaml` and the stored ablation."""

import json
from pathlib import Path
from typing import Any

import yaml

from face2exp_lib.comparison.summary import paired_over_seeds

BOOK = Path(__file__).parents[1]
ABLATION = BOOK.parent / "results" / "compare_ablation" / "comparison.json"
HEAD = """\
# Where the paper is silent

Or says two things. Every point has our choice and, where it was tried on the first edition of the
rendered faces (1,400 labels of 12 people), what the other readings changed: class mean and class
std of the test part minus those of `full` in `configs/compare_ablation.yaml` or of the arm that is
named, with a 95 % interval over {seeds} seeds ({budget} each). Read the intervals, not the means.
"Released code" is what the authors published in 2022; {{doc}}`released_code` reads it.

"""


def changed(runs: dict[str, Any], arm: str, against: str) -> str:
    """What an arm did to both numbers, beside another one."""
    parts = []
    for measure, title in (
        ("mean_class_accuracy", "mean"),
        ("std_class_accuracy", "std"),
    ):
        values = [
            [run[measure] for run in runs[name]] for name in (arm, against)
        ]
        found = paired_over_seeds(*values)
        low, high = found["interval"]
        parts.append(f"{title} {found['mean']:+.1f} [{low:+.1f}, {high:+.1f}]")
    return f"`{arm}`: {', '.join(parts)}"


def point(entry: dict[str, Any], runs: dict[str, Any], reference: str) -> str:
    """One point of the list."""
    key = f"`{entry['key']}`" if entry["key"] else "No key."
    lines = [
        f"## {entry['asks']}",
        f"*{entry['place']}.* {entry['says']}",
        f"Released code\n: {entry['released']}",
        "Ours\n: " + f"{key} Default: {entry['default']}. {entry['why']}",
    ]
    if entry["others"]:
        lines.append(
            "Other readings\n: "
            + "; ".join(str(other) for other in entry["others"])
        )
    if entry["arms"]:
        against = entry.get("against", reference)
        told = [changed(runs, name, against) for name in entry["arms"]]
        beside = "" if against == reference else f" (less `{against}`)"
        lines.append("What it changed\n: " + "; ".join(told) + beside)
    else:
        lines.append("Not ablated\n: " + entry["not_ablated"])
    return "\n\n".join(lines) + "\n"


def page() -> str:
    """The page as MyST text."""
    entries = yaml.safe_load((BOOK / "silent.yaml").read_text())
    comparison = json.loads(ABLATION.read_text())
    settings = comparison["comparison"]
    runs = comparison["runs"]["updates"]
    head = HEAD.format(seeds=len(settings["seeds"]), budget="equal updates")
    return head + "\n".join(
        point(entry, runs, settings["reference"]) for entry in entries
    )
