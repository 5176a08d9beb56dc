"""What is made from data and results is in step with them, and it is noticed where it is not."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from book.tools import exercises, generate, overview, scale
from tests.book.conftest import ROOT


def test_everything_is_in_step() -> None:
    assert [path.name for path in generate.out_of_step()] == []


@pytest.mark.parametrize("name", ["data_sets.md", "ledger.md", "overview.svg", "scale.md"])
def test_a_change_is_noticed_and_written_over(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (ROOT / "book" / name).read_text()
    path = tmp_path / name
    path.write_text(content.replace("7", "8"))
    monkeypatch.setattr(generate, "generated", lambda: {path: content})
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    assert generate.main() == 1
    assert capsys.readouterr().err == f"{name}: out of step\n"
    monkeypatch.setattr("sys.argv", ["generate"])
    assert generate.main() == 0
    assert path.read_text() == content


def test_a_chapter_with_another_exercise_is_out_of_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exercises, "with_exercises", lambda text: text.replace("**1.**", "**2.**"))
    names = {path.name for path in generate.out_of_step()}
    assert {"augment.md", "evaluate.md"} <= names
    assert "index.md" not in names


def test_costs_worked_out_by_hand() -> None:
    assert scale.hours(3600, 10) == 0.1
    assert [scale.machines(core_hours) for core_hours in (0.5, 32 * 48, 32 * 48 + 1)] == [1, 1, 2]


def test_the_picture_shows_a_face_of_each_class_and_says_so_in_words() -> None:
    picture = ElementTree.fromstring(overview.picture())
    names = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"neutral", "happy", "fear"} <= set(names)
    images = list(picture.iter("{http://www.w3.org/2000/svg}image"))
    assert len({image.get("href") for image in images}) == 7 + 14
    assert "feedback coefficient" in picture.get("aria-label", "")
