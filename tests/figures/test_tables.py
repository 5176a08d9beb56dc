"""Tables of results, as pages and terminals show them."""

from xml.etree import ElementTree

import pytest

from face2exp_lib.figures.tables import Table

TABLE = Table(("arm", "class mean, %"), [("a < b", "70.0 ± 1.0"), ("c", "5.0")])


def test_text_is_aligned() -> None:
    assert repr(TABLE) == "arm    class mean, %\na < b     70.0 ± 1.0\nc                5.0"


def test_html_has_a_head_and_row_titles_and_escapes() -> None:
    table = ElementTree.fromstring(TABLE._repr_html_())
    assert [cell.text for cell in table.iterfind("thead/tr/th")] == ["arm", "class mean, %"]
    rows = [[cell.text for cell in row] for row in table.iterfind("tbody/tr")]
    assert rows == [["a < b", "70.0 ± 1.0"], ["c", "5.0"]]
    assert [row[0].tag for row in table.iterfind("tbody/tr")] == ["th", "th"]


def test_words_may_be_broken_and_numbers_may_not() -> None:
    words, number = "a case in words that is long enough", "+0.7 [-4.3, +5.7] over so many seeds"
    html = Table(("x", "y", "z"), [("a", words, number)])._repr_html_()
    assert f'<td class="words">{words}</td><td>{number}</td>' in html


def test_a_row_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match=r"table: 2 columns, and the row \('a',\)"):
        Table(("arm", "mean"), [("a",)])
