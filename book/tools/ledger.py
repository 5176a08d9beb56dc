"""The page `ledger.md`: the paper's claims one by one, from `ledger.yaml` and the results."""

import json
from pathlib import Path
from typing import Any

import yaml

BOOK = Path(__file__).parents[1]
STATES = {
    "reproduced": "reproduced here",
    "built": "rivals built, comparison not run yet",
    "runs": "runs, not reproduced here",
    "differs": "differs",
}
HEAD = """\
# Claim ledger

Every equation, line of Algorithm 1, table and figure of the paper: where it is in the code, which
test holds it, which page speaks of it, and its state. *Reproduced here* means that the code does
what the line says, and a test shows it; of a table it would mean its numbers. {counts}

| Claim | The paper | State | Where it is, and the test that holds it |
|---|---|---|---|
"""


def rows() -> list[dict[str, Any]]:
    """The claims."""
    found: list[dict[str, Any]] = yaml.safe_load(
        (BOOK / "ledger.yaml").read_text()
    )
    return found


def number(where: dict[str, Any]) -> str:
    """A number of a results file."""
    value: Any = json.loads((BOOK.parent / where["file"]).read_text())
    for key in where["path"]:
        value = value[key]
    return f"{where['format'].format(value)} (`{where['file']}`)"


def line(row: dict[str, Any]) -> str:
    """A claim as a row of the table."""
    state = f"**{STATES[row['state']]}**" + (
        f": {row['note']}" if row["note"] else ""
    )
    if "number" in row:
        state = f"{state.removesuffix('.')}: {number(row['number'])}"
    path, _, name = row["test"].partition("::")
    told = name.removeprefix("test_").replace("_", " ") or "all"
    where = f"`{row['symbol'].removeprefix('face2exp_lib.')}`"
    where += f"<br>{told} (`{path.removeprefix('tests/')}`)<br>{{doc}}`{row['page']}`"
    cells = [row["claim"], row["says"], state, where]
    return "| " + " | ".join(cells) + " |\n"


def page() -> str:
    """The page as MyST text."""
    found = rows()
    told = [
        f"{sum(row['state'] == key for row in found)} {text}"
        for key, text in STATES.items()
    ]
    return HEAD.format(counts=f"Of {len(found)}: {', '.join(told)}.") + "".join(
        map(line, found)
    )
