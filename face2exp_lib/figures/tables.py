"""Tables of results: HTML in a notebook or a page, aligned text elsewhere."""

from collections.abc import Sequence
from html import escape
from typing import Any

LONGEST = 30  # letters of a cell that stays on one line, if it is no number


class Table:
    """A table in a cell's output.

    Args:
        head: titles of the columns.
        rows: cells, as they shall be read; the first of each names the row.

    Raises:
        ValueError: if a row is shorter or longer than the head.
    """

    def __init__(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.head, self.rows = tuple(head), tuple(map(tuple, rows))
        for row in self.rows:
            if len(row) != len(self.head):
                raise ValueError(f"table: {len(self.head)} columns, and the row {row}")

    def __repr__(self) -> str:
        lines = (self.head, *self.rows)
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.head))]
        return "\n".join(
            "  ".join(
                [line[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
            ).rstrip()
            for line in lines
        )

    def _repr_html_(self) -> str:
        # `dataframe`: pages of a book and notebooks know how that looks.
        head = "".join(f"<th>{escape(title)}</th>" for title in self.head)
        body = "\n".join(
            f"<tr><th>{escape(first)}</th>" + "".join(map(_cell, cells)) + "</tr>"
            for first, *cells in self.rows
        )
        return (
            f'<table class="dataframe">\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table>"
        )


def _cell(text: str) -> str:
    # The pages' style keeps a cell on one line, but for words.
    words = len(text) > LONGEST and text[0].isalpha()
    kind = ' class="words"' if words else ""
    return f"<td{kind}>{escape(text)}</td>"


def arm_table(comparison: dict[str, Any], arms: Sequence[str] = ()) -> Table:
    """A few arms of a comparison: class mean and class std in percent, each with its deviation over
    seeds, and how far the class mean is from the reference's, with its interval.

    Args:
        comparison: of `compare_runs`.
        arms: their names; all, if none are given.
    """
    rows = []
    for name in arms or comparison["arms"]:
        arm = comparison["arms"][name]
        spread = [
            f"{arm[measure]['mean']:.1f}"
            + (" (one seed)" if arm[measure]["std"] is None else f" ± {arm[measure]['std']:.1f}")
            for measure in ("mean_class_accuracy", "std_class_accuracy")
        ]
        less = ""
        if "paired" in arm:
            paired = arm["paired"]["mean_class_accuracy"]
            interval = "(one seed, no interval)"
            if paired["interval"]:
                interval = "[{:+.1f}, {:+.1f}]".format(*paired["interval"])
            less = f"{paired['mean']:+.1f} {interval}"
        rows.append((name, *spread, less))
    return Table(("arm", "class mean, %", "class std, %", f"minus {comparison['reference']}"), rows)
