"""The bibliography can be read, and has what the chapters cite."""

import re

from pybtex.database import parse_file

from tests.book.conftest import ROOT


def test_every_citation_has_an_entry_of_its_own() -> None:
    entries = parse_file(ROOT / "book" / "references.bib").entries
    cited = {
        key.strip()
        for page in (ROOT / "book").glob("*.md")
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", page.read_text())
        for key in keys.split(",")
    }
    assert len(cited) > 20
    assert cited <= set(entries)
