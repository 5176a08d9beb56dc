"""Decks of slides, cut from pages."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bs4 import BeautifulSoup

from book import slides

PAGE = """\
<script>window.MathJax = {}</script><script src="../_static/other.js"></script>
<article><section>
<h1><span class="section-number">1. </span>A chapter<a class="headerlink">#</a></h1>
<p><strong>You will</strong> do.</p><p>Not a promise.</p>
<section><h2>One</h2><p>Said &amp; done.</p><div class="math">a</div>
<div class="cell"><div class="cell_input">code</div><figure id="f">F</figure></div>
<div class="output"><div class="live-figure" id="l"></div><script>live</script></div></section>
<section><h2>Exercises</h2><figure>no</figure></section>
<section><h2>Summary</h2><ul><li>It was so.</li></ul>
<p><a href="#f">F</a> <a href="other.html#x">x</a> <a href="../index.html">i</a>
<a href="https://example.org">o</a></p></section>
</section></article>
"""
LECTURE = {"name": "x", "title": "A & B", "pages": {"page": 20}}


def made() -> BeautifulSoup:
    text = slides.deck(LECTURE, [BeautifulSoup(PAGE, "html.parser")])
    return BeautifulSoup(text, "html.parser")


def test_a_chapter_is_a_column_of_what_it_promises_shows_and_sums_up() -> None:
    first, chapter = made().select(".slides > section")
    assert "A & B" in first.get_text()
    assert "20 minutes" in first.get_text()
    titles = [s.find(["h1", "h2"]) for s in chapter.find_all("section")]
    assert [t and t.get_text() for t in titles] == ["A chapter", "One", "One", "One", "Summary"]
    promise, formula, figure, live, summary = chapter.find_all("section")
    assert "You will do." in promise.get_text()
    assert "Not a promise" not in promise.get_text()
    assert formula.select_one(".math")
    assert figure.select_one("#f")
    assert "code" not in figure.get_text()
    assert live.select_one("script")  # without it the figure is dead
    for slide in (formula, figure, live):
        notes = slide.select_one("aside.notes")
        assert notes
        assert notes.get_text() == "Said & done."
    assert "It was so." in summary.get_text()


def test_links_lead_to_where_they_led_from_the_page() -> None:
    links = [link["href"] for link in made().select("section a")]
    pages = ["../book/page.html#f", "../book/other.html#x", "../index.html"]
    assert links == [*pages, "https://example.org"]


def test_a_deck_loads_what_its_pages_need_of_formulas_and_figures() -> None:
    assert "window.MathJax" in str(made())
    assert "other.js" not in str(made())


def test_a_page_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slides, "read_lectures", lambda: [LECTURE])
    warned: list[str] = []
    logger = SimpleNamespace(warning=lambda text, *args: warned.append(text % args))
    monkeypatch.setattr(slides.logging, "getLogger", lambda name: logger)
    app: Any = SimpleNamespace(builder=SimpleNamespace(name="html"), outdir=tmp_path)
    slides.write_decks(app, None)
    assert warned == ["lecture x: no page page"]
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "page.html").write_text(PAGE)
    slides.write_decks(app, None)
    assert (tmp_path / "lectures" / "x.html").is_file()
    assert (tmp_path / "_static" / "reveal" / "dist" / "reveal.js").is_file()


def test_minutes_of_a_lecture_are_a_lecture() -> None:
    for lecture in slides.read_lectures():
        assert sum(lecture["pages"].values()) == 90


def test_the_page_for_teachers_leads_to_every_deck(html: Path) -> None:
    page = BeautifulSoup((html / "book" / "teach.html").read_text(), "html.parser")
    links = [str(a["href"]) for a in page.select("article a[href]") if "lectures/" in str(a)]
    assert len(links) == len(slides.read_lectures())
    assert all((html / "book" / link).is_file() for link in links)
