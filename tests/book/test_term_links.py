"""The first use of a term leads to the glossary, on every page and in running text alone."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from book.term_links import GLOSSARY, PAGES_WITHOUT, pattern, terms
from tests.book.test_pages import PAGES


def test_terms_are_read_from_the_glossary() -> None:
    page = "# G\n\n```{glossary}\nlong tail\n  Few.\n\nFER\n  Faces,\n  and so on.\n```\n\nMore.\n"
    assert terms(page) == ["long tail", "FER"]
    assert {"FER", "FR", "pseudo label", "class mean"} <= set(terms(GLOSSARY.read_text()))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Pseudo labels are names", ["Pseudo label"]),
        ("of FER and for fr", ["FER"]),
        ("FERPlus, long-FR and views", ["view"]),
        ("reviews, viewed", []),
    ],
)
def test_whole_words_are_found(text: str, found: list[str]) -> None:
    words = pattern(["pseudo label", "FER", "FR", "view"])
    assert [match[1] for match in words.finditer(text)] == found


@pytest.mark.parametrize("name", [page for page in PAGES if page[:-5] not in PAGES_WITHOUT])
def test_a_page_links_each_term_that_it_uses_once(name: str, html: Path) -> None:
    page = BeautifulSoup((html / name).read_text(), "html.parser")
    links = page.select("article a[href*='glossary.html#term-']")
    targets = [str(link["href"]).partition("#")[2] for link in links]
    assert len(targets) == len(set(targets))
    assert not page.select(":is(h1, h2, h3, table, figcaption) a[href*='#term-']")
    # None is used in a paragraph before its link.
    words = pattern(terms(GLOSSARY.read_text()))
    linked: set[str] = set()
    for paragraph in page.select("article p"):
        if paragraph.find_parent(["table", "figcaption"]) or paragraph.find_parent(
            class_=["cell_output", "topic", "bd-footer"]
        ):
            continue
        for link in paragraph.select("a[href*='#term-']"):
            match = words.fullmatch(link.get_text())
            assert match
            linked.add(match[1].lower())
        for part in paragraph.select("code, cite, .math, .pasted-text, a"):
            part.replace_with(" ; ")
        for match in words.finditer(paragraph.get_text()):
            assert match[1].lower() in linked, match[1]
