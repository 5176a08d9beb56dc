"""The exercises of `book/exercises/` as they stand in the chapters, and their check.

A file is one exercise. Its cells, marked as Jupyter's percent format does, are the question (a
text), the stub that a reader completes, the solution, and the check, which both are held against:

    # %% question
    # %% stub
    # %% solution
    # %% check

In a chapter the line `<!-- exercise NAME -->` is where `NAME.py` goes; what follows up to
`<!-- end -->` is written by `book.tools.generate`, and so is the page of the solutions.
"""

import ast
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

BOOK = Path(__file__).parents[1]
CELLS = ("question", "stub", "solution", "check")
MARKED = re.compile(
    r"<!-- exercise (\w+) -->\n(?:.*?\n)??<!-- end -->\n", re.DOTALL
)
SOLUTIONS = """\
# Solutions

To the exercises of the chapters, for teachers and for whoever has tried. Each passes the check that
stands below its exercise; often another one does, too."""


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
    return (
        f"<!-- exercise {name} -->\n\n**{number}.** {exercise.question}\n\n{code}\n\n"
        f"{{ref}}`Solution <solution-{name}>`\n\n<!-- end -->\n"
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


def solutions() -> str:
    """The page of solutions, apart from the chapters, which only link to it."""
    toc = yaml.safe_load((BOOK.parent / "_toc.yml").read_text())
    parts = [SOLUTIONS]
    for entry in (
        chapter for part in toc["parts"] for chapter in part["chapters"]
    ):
        text = (BOOK.parent / entry["file"]).with_suffix(".md")
        # A page that is made by another tool may not be there yet.
        names = MARKED.findall(text.read_text()) if text.exists() else []
        if names:
            parts.append(f"## {{doc}}`{text.stem}`")
        for number, name in enumerate(names, 1):
            exercise = read(BOOK / "exercises" / f"{name}.py")
            parts.append(
                f"(solution-{name})=\n### {number}. {name.replace('_', ' ').capitalize()}\n\n"
                f"{exercise.question}\n\n```python\n{exercise.solution}\n```"
            )
    return "\n\n".join(parts) + "\n"


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
