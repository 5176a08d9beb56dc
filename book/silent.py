"""Write `book/silent.md`, where the paper is silent, from `silent.yaml` and the stored ablation.

python book/silent.py [--check]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml

BOOK = Path(__file__).parent
PAGE = BOOK / "silent.md"
ABLATION = BOOK.parent / "results" / "compare_ablation" / "comparison.json"
HEAD = """\
# Where the paper is silent

Or says two things. Every point has our choice and, where it could be tried at the size of the
embedded faces, what the other readings changed: class mean and class std of the test part less
those of `configs/rendered_cpu.yaml`, with a 95 % interval over {seeds} seeds ({budget} each). Read
the intervals, not the means.

"""


def changed(arm: dict[str, Any]) -> str:
    """What an arm did to both numbers, beside the default."""
    parts = []
    for measure, title in (
        ("mean_class_accuracy", "mean"),
        ("std_class_accuracy", "std"),
    ):
        found = arm["paired"][measure]
        text = f"{title} {found['mean']:+.1f}"
        if found["interval"] is not None:
            low, high = found["interval"]
            text += f" [{low:+.1f}, {high:+.1f}]"
        parts.append(text)
    return ", ".join(parts)


def point(entry: dict[str, Any], arms: dict[str, Any]) -> str:
    """One point of the list."""
    key = f"`{entry['key']}`" if entry["key"] else "No key."
    lines = [
        f"## {entry['place']}",
        entry["says"],
        "Ours\n: " + f"{key} Default: {entry['default']}. {entry['why']}",
    ]
    if entry["others"]:
        lines.append(
            "Other readings\n: "
            + "; ".join(str(other) for other in entry["others"])
        )
    if entry["arms"]:
        told = [f"`{name}`: {changed(arms[name])}" for name in entry["arms"]]
        lines.append("What it changed\n: " + "; ".join(told))
    else:
        lines.append("Not ablated\n: " + entry["not_ablated"])
    return "\n\n".join(lines) + "\n"


def page() -> str:
    """The page as MyST text."""
    entries = yaml.safe_load((BOOK / "silent.yaml").read_text())
    comparison = json.loads(ABLATION.read_text())
    arms = comparison["compared"]["updates"]["arms"]
    seeds = len(comparison["comparison"]["seeds"])
    head = HEAD.format(seeds=seeds, budget="equal updates")
    return head + "\n".join(point(entry, arms) for entry in entries)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--check", action="store_true")
    if parser.parse_args().check:
        if PAGE.read_text() != page():
            print(
                f"{PAGE.name} is out of step: run python book/silent.py",
                file=sys.stderr,
            )
            return 1
        return 0
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
