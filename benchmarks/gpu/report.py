"""What the kit found, as plain markdown: python -m benchmarks.gpu.report FOLDER"""

import argparse
import sys
from pathlib import Path
from typing import Any

from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.storage import read_json, write_text

PARTS = ("checks", "steps", "pipeline", "studies")
STEP_COLUMNS = (
    ("ms", "milliseconds"),
    ("time to public order", "time_ratio"),
    ("images/s", "images_per_second"),
    ("peak MiB", "peak_mib"),
    ("memory to public order", "memory_ratio"),
    ("hours for 180,000 steps", "hours_for_180000_steps"),
)
PIPELINE_COLUMNS = (
    ("images/s read", "reading_images_per_second"),
    ("images/s of the step", "step_images_per_second"),
    ("busy", "busy_share"),
    ("more than 90 %", "busy_enough"),
)
STUDY_COLUMNS = ("mean_class_accuracy", "std_class_accuracy", "overall_accuracy")


def report(out: Path) -> str:
    """All that is in a folder; what failed or was skipped is named.

    Raises:
        Face2ExpError: if there is nothing.
    """
    found = {
        part: {path.stem: read_json(path, "piece") for path in sorted((out / part).glob("*.json"))}
        for part in PARTS
    }
    every = [result for results in found.values() for result in results.values()]
    if not every:
        raise Face2ExpError(f"{out}: holds no results: `python -m benchmarks.gpu` makes them")
    machine = every[0]["environment"]["machine"]
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    lines = [
        "# The GPU kit",
        "",
        f"{gpus}; {machine['processor']}, {machine['cores']} cores; torch "
        f"{every[0]['environment']['packages']['torch']}; commit "
        f"{every[0]['environment']['git_commit']}",
    ]
    if any(result["tiny"] or result["device"] != "cuda" for result in every):
        lines += ["", "**A dry run: not on a GPU, or at tiny sizes. No number here is a result.**"]
    for part, results in found.items():
        if results:
            lines += ["", f"## {part.capitalize()}", "", *TABLES[part](results)]
    return "\n".join(lines) + "\n"


def table(head: list[str], rows: list[list[Any]]) -> list[str]:
    """In markdown."""
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(str(cell) for cell in row)} |" for row in cells]


def _odd(result: dict[str, Any]) -> str | None:
    """Why a piece has no numbers."""
    for key in ("failed", "skipped"):
        if key in result:
            last = str(result[key]).strip().splitlines()[-1]
            return f"{key}: {last}".replace("|", "/")
    return None


def _checks(results: dict[str, dict[str, Any]]) -> list[str]:
    rows: list[list[Any]] = []
    for name, result in results.items():
        counts = result.get("counts", {})
        wrong = counts.get("failure", 0) + counts.get("error", 0)
        row = [name, counts.get("passed", 0), counts.get("skipped", 0), wrong]
        rows.append([*row, _odd(result) or ""])
    return table(["tests", "passed", "skipped", "failed", ""], rows)


def _numbers(results: dict[str, dict[str, Any]], columns: tuple[tuple[str, str], ...]) -> list[str]:
    rows = []
    for name, result in results.items():
        odd = _odd(result)
        values = [odd or ""] + [""] * (len(columns) - 1)
        rows.append([name, *(values if odd else [result[key] for _, key in columns])])
    return table(["", *(title for title, _ in columns)], rows)


def _steps(results: dict[str, dict[str, Any]]) -> list[str]:
    return _numbers(results, STEP_COLUMNS)


def _pipeline(results: dict[str, dict[str, Any]]) -> list[str]:
    return _numbers(results, PIPELINE_COLUMNS)


def _studies(results: dict[str, dict[str, Any]]) -> list[str]:
    rows: list[list[Any]] = []
    for name, result in results.items():
        if odd := _odd(result):
            rows.append([name, odd, *[""] * (len(STUDY_COLUMNS) + 1)])
            continue
        for budget, compared in result["compared"].items():
            for arm, found in compared["arms"].items():
                values = [round(found[key]["mean"], 2) for key in STUDY_COLUMNS]
                rows.append([name, arm, budget, *values])
    return table(["study", "arm", "budget", *STUDY_COLUMNS], rows)


TABLES = {"checks": _checks, "steps": _steps, "pipeline": _pipeline, "studies": _studies}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        text = report(folder)
    except Face2ExpError as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1
    write_text(folder / "report.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
