"""Live figures as a page gets them; what they compute is looked at in a browser (tests/book)."""

import json
import re

import pytest

from face2exp_lib.figures.live import LiveFigure, loss_surface, quiz, skewed_test


def data_of(figure: LiveFigure) -> dict[str, object]:
    found = re.search(r"const data = (.*);", figure.html)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def name_of(figure: LiveFigure) -> str:
    (name,) = re.findall(r'id="(live-\w+)"', figure.html)
    return str(name)


def test_a_figure_brings_its_script_its_data_and_its_words() -> None:
    figure = loss_surface([(3, 1), (1, 1)], [0, 1], (1, 2), 0, eta_a=0.4)
    html = figure._repr_html_()
    assert data_of(figure)["faces"] == [[3, 1], [1, 1]]
    assert "softplus" in html
    assert f'aria-label="{figure.alt.replace("&", "&amp;").replace(chr(39), "&#x27;")}"' in html
    assert "http" not in html  # needs no network
    assert repr(figure).startswith("<live figure loss_surface: A map")


def test_figures_of_one_page_have_their_own_names_and_keep_them() -> None:
    first, other, again = (
        name_of(loss_surface([(1, 1)], [0], (1, 2), 0, eta_a=eta)) for eta in (0.1, 0.2, 0.1)
    )
    assert first == again != other


def test_words_of_others_end_no_script() -> None:
    figure = LiveFigure("skewed_test", {"classes": ["</script><b>"]}, 'a "b" <c>')
    assert "</script><b>" not in figure.html
    assert data_of(figure)["classes"] == ["</script><b>"]
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in figure.html


def test_a_quiz_needs_its_right_answer() -> None:
    figure = quiz("Which?", {"this": "Yes.", "that": "No."}, right="this")
    answers = [["this", "Yes."], ["that", "No."]]
    assert data_of(figure) == {"question": "Which?", "answers": answers, "right": "this"}
    with pytest.raises(ValueError, match="'these' is none of the answers"):
        quiz("Which?", {"this": "Yes."}, right="these")


def test_classes_are_in_one_order() -> None:
    figure = skewed_test(
        {"one": {"happy": 1.0, "sad": 2.0}}, {"balanced": {"sad": 10, "happy": 20}}
    )
    assert data_of(figure) == {
        "classes": ["sad", "happy"],
        "networks": {"one": [2.0, 1.0]},
        "tests": {"balanced": [10, 20]},
    }


def test_networks_of_other_classes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="need the same classes"):
        skewed_test({"one": {"happy": 1.0}, "other": {"sad": 1.0}}, {"balanced": {"happy": 1}})
