"""Live figures as a page gets them; what they compute is looked at in a browser (tests/book)."""

import json
import re

import numpy as np
import pytest

from face2exp_lib.figures.live import (
    LiveFigure,
    collapse,
    fixed_faces,
    loss_surface,
    quiz,
    skewed_test,
    smile,
    you_are_b,
)


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


def test_a_collapse_needs_a_colour_for_every_class() -> None:
    figure = collapse(["a", "b"], ["#000000", "#ffffff"], per_class=5, seed=3)
    assert np.array(data_of(figure)["points"]).shape == (2, 5, 2)
    assert data_of(figure) == data_of(
        collapse(["a", "b"], ["#000000", "#ffffff"], per_class=5, seed=3)
    )
    with pytest.raises(ValueError, match="1 colours for 2 classes"):
        collapse(["a", "b"], ["#000000"])


def test_a_smile_needs_a_reading_of_every_picture() -> None:
    figure = smile(["a", "b"], ["happy"], [0.0, 1.0], "data:,", 8, [[[1, 99], [50, 50]]], active=1)
    assert data_of(figure)["percent"] == [[[1, 99], [50, 50]]]
    with pytest.raises(ValueError, match=r"shape \(1, 1, 2\) instead of \(1, 2, 2\)"):
        smile(["a", "b"], ["happy"], [0.0, 1.0], "data:,", 8, [[[1, 99]]], active=1)


def test_names_in_the_place_of_b_need_a_product_each() -> None:
    figure = you_are_b(["a", "b"], ["data:,"], [[0.5, -1.0]], [1], [0], eta_a=0.1)
    assert data_of(figure)["products"] == [[0.5, -1.0]]
    with pytest.raises(ValueError, match="need 1 faces, 2 classes"):
        you_are_b(["a", "b"], ["data:,"], [[0.5]], [1], [0], eta_a=0.1)


def test_fixed_faces_tell_the_likeliest_class() -> None:
    states = [(5, [[20.0, 80.4]]), (10, [[99.6, 0.4]])]
    figure = fixed_faces(["a", "b"], ["data:,"], [0], {"meta": states})
    assert data_of(figure)["runs"] == {
        "meta": [
            {"step": 5, "best": [1], "percent": [80]},
            {"step": 10, "best": [0], "percent": [100]},
        ]
    }
    with pytest.raises(ValueError, match=r"meta, step 5: \(1, 2\) instead of \(2, 2\)"):
        fixed_faces(["a", "b"], ["data:,"] * 2, [0, 1], {"meta": states})
    with pytest.raises(ValueError, match="different numbers of states"):
        fixed_faces(["a", "b"], ["data:,"], [0], {"meta": states, "other": states[:1]})
