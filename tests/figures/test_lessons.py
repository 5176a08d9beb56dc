"""What moves when a figure of the chapters is moved, by hand."""

import pytest
import torch

from face2exp_lib.figures import lessons as lesson_figures
from face2exp_lib.figures.lessons import (
    bars_of_states,
    class_bars,
    cost_of_balance,
    grouped_bars,
    measured_ways,
    pictures,
    shares_by_set,
    signs_along,
    turned_gradients,
)
from face2exp_lib.figures.style import CLASS_COLOURS, GREY, ORANGE
from face2exp_lib.methods import feedback


def test_shares_of_each_set_and_what_they_amount_to() -> None:
    """90, 10 and 0: shares 90 and 10 %; e to the entropy of (1/2, 1/2) is 2."""
    figure = shares_by_set({"a": {"happy": 90, "sad": 10}, "b": {"happy": 5, "sad": 5}})
    assert list(figure.data[0].y) == [90, 10]
    assert list(figure.frames[1].data[0].y) == [50, 50]
    assert "smallest 9.0" in figure.layout.title.text
    assert "as unsure as 2.0 equal classes" in figure.frames[1].layout.title.text
    assert figure.layout.sliders[0].currentvalue.prefix == "set: "


def test_balance_ends_at_the_rarest_class() -> None:
    """Of 100 labels, 10 of them sad, 10 % are 5 of each class; 50 % would be 25."""
    figure = cost_of_balance({"happy": 90, "sad": 10}, [10, 50])
    assert [list(bars.y) for bars in figure.frames[0].data] == [[90, 10], [9, 1], [5, 5]]
    assert [list(bars.y) for bars in figure.frames[1].data][2] == [10, 10]
    title = figure.frames[1].layout.title.text
    assert title == "Smp keeps 20 of 100 labels, 10 of each class; it wants 25, the rarest has 10"


def test_turned_gradients_flip_f_and_the_step_of_b() -> None:
    figure = turned_gradients([0, 90, 180], 0.1)
    titles = [frame.layout.title.text for frame in figure.frames]
    assert titles[0] == "f = +0.1000: B is made surer of its labels"
    assert titles[1] == "f = 0: no feedback"
    assert titles[2] == "f = -0.1000: B is made less sure of its labels"
    steps = [frame.data[2].x[1] for frame in figure.frames]
    assert steps == pytest.approx([-1, 0, 1], abs=1e-6)


def test_the_turned_gradients_are_the_librarys_f(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lesson_figures, "feedback_coefficient", lambda *a: -feedback.feedback_coefficient(*a)
    )
    assert turned_gradients([0], 0.1).frames[0].layout.title.text.startswith("f = -0.1000")


def test_ways_beside_the_right_one() -> None:
    figure = measured_ways({"a": {"exact": 1.0, "wrong": -2.0}}, prefix="", unit="f")
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y)) == (["exact", "wrong"], [1, -2])
    assert list(bars.text) == ["+1", "-2"]
    assert figure.layout.yaxis.range == pytest.approx((-2.4, 2.4))


def test_bars_of_all_states_have_one_scale() -> None:
    figure = bars_of_states(
        {"a": {"x": 1.0, "y": 10.0}, "b": {"x": 2.0, "y": 5.0}}, prefix="", unit="h"
    )
    assert [list(frame.data[0].y) for frame in figure.frames] == [[1, 10], [2, 5]]
    assert figure.layout.yaxis.range == pytest.approx((0, 11))


def test_a_way_that_is_far_off_leaves_the_picture_and_says_its_value() -> None:
    figure = measured_ways(
        {"a": {"right": 0.1, "scaled": 102.4}, "at rest": {"right": 0.0, "scaled": 0.0}},
        prefix="",
        unit="f",
    )
    assert figure.layout.yaxis.range == pytest.approx((-0.12, 0.12))
    assert list(figure.data[0].text) == ["+0.1", "+102"]
    assert figure.frames[1].layout.yaxis.range == pytest.approx((-1.2, 1.2))


def test_bars_of_the_classes_in_their_colours() -> None:
    figure = class_bars({"happy": 3, "fear": 1.5}, title="t", unit="images")
    (bars,) = figure.data
    assert (list(bars.x), list(bars.y)) == (["happy", "fear"], [3, 1.5])
    assert list(bars.marker.color) == [CLASS_COLOURS["happy"], CLASS_COLOURS["fear"]]
    assert (figure.layout.title.text, figure.layout.yaxis.title.text) == ("t", "images")


def test_pictures_of_each_state() -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    figure = pictures({"a": images, "b": images}, prefix="")
    assert [frame.name for frame in figure.frames] == ["a", "b"]
    assert figure.data[0].source.startswith("data:image/webp;base64,")


def test_a_wrong_sign_is_shaded_where_it_is_wrong() -> None:
    """The loss falls up to 3 and rises at 4. One way turns at 2, too early; one never does."""
    figure = signs_along(
        [1.0, 2.0, 3.0, 4.0],
        {"fall": [1.0, 2.0, 1.0, -1.0]},
        {"early": [0.5, -1.0, -2.0, -3.0], "never": [1.0, 2.0, 3.0, 4.0]},
    )
    assert [curve.name for curve in figure.data] == ["fall", "early", "never"]
    assert list(figure.data[1].y) == [0.5, -1, -2, -3]
    bands = [(shape.x0, shape.x1, shape.fillcolor) for shape in figure.layout.shapes]
    assert bands == [(1.5, 3.5, ORANGE), (3.5, 4.0, GREY)]


def test_a_sign_that_is_right_or_zero_is_not_shaded() -> None:
    figure = signs_along([0.0, 1.0], {"fall": [0.0, -1.0]}, {"right": [0.0, -2.0]})
    assert len(figure.layout.shapes) == 0


def test_grouped_bars_have_a_colour_a_way_and_rates_as_names() -> None:
    figure = grouped_bars(
        {"a": {"0.1": 25.04, "1": 50}, "b": {"0.1": 0, "1": 10}}, groups="eta_A", unit="%"
    )
    assert [list(bars.y) for bars in figure.data] == [[25, 50], [0, 10]]
    assert [bars.marker.color for bars in figure.data] == [ORANGE, GREY]
    assert figure.layout.xaxis.type == "category"  # "0.1" and "1" would be numbers on an axis
    assert figure.layout.xaxis.title.text == "eta_A"
