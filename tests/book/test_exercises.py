"""Exercises: no stub is a solution, solutions are, and the chapters hold what the files hold."""

from pathlib import Path

import pytest

from book.tools import exercises
from tests.book.conftest import ROOT

FILES = sorted((ROOT / "book" / "exercises").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_stub_fails_and_the_solution_passes(path: Path) -> None:
    exercise = exercises.read(path)
    assert not exercises.passes(exercise.stub, exercise.check)
    assert exercises.passes(exercise.solution, exercise.check)


def test_no_exercise_is_at_fault() -> None:
    assert exercises.faults() == []


def test_each_chapter_has_two_to_four() -> None:
    counts = {
        path.stem: len(exercises.MARKED.findall(path.read_text()))
        for path in (ROOT / "book").glob("*.md")
    }
    assert {count for count in counts.values() if count} <= {2, 3, 4}
    assert sum(count > 0 for count in counts.values()) == 15


def test_solutions_are_apart_and_every_exercise_leads_to_its_own() -> None:
    page = exercises.solutions()
    assert (ROOT / "book" / "solutions.md").read_text() == page
    for path in FILES:
        exercise = exercises.read(path)
        assert page.count(f"(solution-{path.stem})=\n") == 1
        assert exercise.solution in page
        block = exercises.block(path.stem, 1, exercise)
        assert f"<solution-{path.stem}>" in block
        assert exercise.solution not in block


def test_the_check_would_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "BOOK", tmp_path)
    (tmp_path / "exercises").mkdir()
    cells = {"question": '"""Q?"""', "stub": "a = 1", "solution": "a = 2", "check": "assert a == 1"}
    text = "".join(f"# %% {name}\n{cell}\n" for name, cell in cells.items())
    (tmp_path / "exercises" / "x.py").write_text(text)
    chapter = tmp_path / "chapter.md"
    chapter.write_text("# C\n\n<!-- exercise x -->\n<!-- end -->\n")
    assert len(exercises.faults()) == 2  # stub passes, solution fails
    chapter.write_text(exercises.with_exercises(chapter.read_text()))
    assert "**1.** Q?" in chapter.read_text()
    assert exercises.with_exercises(chapter.read_text()) == chapter.read_text()
    (tmp_path / "exercises" / "x.py").write_text("a = 1\n")
    with pytest.raises(ValueError, match="its cells are"):
        exercises.faults()
