"""The exercises of `book/exercises/` as they stand in the chapters, and their check.

A file is one exercise. Its cells, marked as Jupyter's percent format does, are the question (a
text), the stub that a reader completes, the solution, and the check, which both are held against:

    # %% question
    # %% stub
    # %% solution
    # %% check

In a chapter the line `<!-- exercise NAME -->` is where `NAME.py` goes; what follows up to
`<!-- end -->` is written by `book.tools.generate`.
"""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

BOOK = Path(__file__).parents[1]
CELLS = ("question", "stub", "solution", "check")
MARKED = re.compile(
    r"<!-- exercise (\w+) -->\n(?:.*?\n)??<!-- end -->\n", re.DOTALL
)


class Exercise(NamedTuple):
    """The cells of one file."""

    question: str
    stub: str
    solution: str
    check: str


def read(path: Path) -> Exercise:
    """An exercise.

    Raises:
        ValueError: if its cells are not those four.
    """
    parts = re.split(r"^# %% (\w+)\n", path.read_text(), flags=re.MULTILINE)
    if tuple(parts[1::2]) != CELLS:
        raise ValueError(
            f"{path}: its cells are {parts[1::2]}, and should be {list(CELLS)}"
        )
    question, *code = (part.strip() for part in parts[2::2])
    return Exercise(ast.literal_eval(question).strip(), *code)


def passes(answer: str, check: str) -> bool:
    """Whether an answer stands up to its check; one that raises does not."""
    names: dict[str, Any] = {}
    try:
        exec(answer + "\n" + check, names)
    except Exception:
        return False
    return True


def block(name: str, number: int, exercise: Exercise) -> str:
    """An exercise as it stands in its chapter."""
    code = f"```python\n{exercise.stub}\n\n\n{exercise.check}\n```"
    solution = (
        f"````{{dropdown}} Solution\n```python\n{exercise.solution}\n```\n````"
    )
    return (
        f"<!-- exercise {name} -->\n\n**{number}.** {exercise.question}\n\n{code}\n\n{solution}\n\n"
        "<!-- end -->\n"
    )


def with_exercises(text: str) -> str:
    """A chapter's text with its exercises, numbered in their order."""
    numbers = iter(range(1, 100))

    def written(match: re.Match[str]) -> str:
        name = match[1]
        return block(
            name, next(numbers), read(BOOK / "exercises" / f"{name}.py")
        )

    return MARKED.sub(written, text)


def faults() -> list[str]:
    """What is wrong: a stub that passes, a solution that does not, an exercise in no chapter."""
    used = {
        match[1]
        for chapter in BOOK.glob("*.md")
        for match in MARKED.finditer(chapter.read_text())
    }
    found = []
    for path in sorted((BOOK / "exercises").glob("*.py")):
        exercise = read(path)
        if passes(exercise.stub, exercise.check):
            found.append(f"{path.name}: its stub passes the check")
        if not passes(exercise.solution, exercise.check):
            found.append(f"{path.name}: its solution fails the check")
        if path.stem not in used:
            found.append(f"{path.name}: in no chapter")
    return found
