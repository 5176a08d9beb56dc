"""Each method has a picture, whose parts are where they belong."""

from xml.etree import ElementTree

import pytest

from face2exp_lib.figures.diagrams import BOX, DIAGRAMS, LEFTS, WIDTH, Diagram, Drawn, svg
from face2exp_lib.methods import METHODS

SVG = "{http://www.w3.org/2000/svg}"
LETTER = 6.1  # px of a mean letter at 12 px


def test_every_method_has_one() -> None:
    assert DIAGRAMS.keys() == METHODS.keys()


@pytest.mark.parametrize("name", METHODS)
def test_a_picture_is_whole_and_its_texts_fit(name: str) -> None:
    picture = ElementTree.fromstring(Drawn(name)._repr_html_())
    title = METHODS[name].title
    assert picture.attrib["aria-label"].startswith(f"{title}: ")
    for text in picture.iter(f"{SVG}text"):
        assert text.text
        assert LETTER * len(text.text) < BOX, text.text
    diagram = DIAGRAMS[name]
    rows = range(len(diagram.rows))
    assert all(a in rows and b in rows and a != b for a, b in diagram.links)
    assert all(diagram.rows[a][2] and diagram.rows[b][2] for a, b in diagram.links)
    assert all(abs(a - b) == 1 for a, b, _ in diagram.beside)


def test_a_small_one_by_hand() -> None:
    """Two rows of one network: one box in its column, two in the others, four arrows and a link."""
    rows = (("a", "n", "made"), ("b", "n", "*loss"))
    picture = ElementTree.fromstring(svg(Diagram(rows, links=((0, 1),)), "A & B"))
    boxes = list(picture.iter(f"{SVG}rect"))
    assert [int(box.attrib["x"]) for box in boxes] == [LEFTS[0]] * 2 + [LEFTS[1]] + [LEFTS[2]] * 2
    assert float(boxes[2].attrib["height"]) > 2 * float(boxes[0].attrib["height"])
    assert boxes[3].attrib["fill"] != boxes[4].attrib["fill"]  # a loss is orange
    paths = [p for p in picture.iter(f"{SVG}path") if "marker-end" in p.attrib]
    assert len(paths) == 5
    assert picture.attrib["viewBox"].split()[2] == str(WIDTH)
    assert picture.attrib["aria-label"] == "A & B: a through n: made; b through n: loss"
