"""What the figures of comparisons say, on numbers worked out by hand."""

import pytest

from face2exp_lib.comparison.summary import power_over_seeds
from face2exp_lib.figures.comparison import means_and_stds, power_curves, skewed_test


def test_curves_of_power_name_the_first_number_of_seeds_that_is_enough() -> None:
    figure = power_curves([0.0, 4.0], 2.0, [2, 3, 4, 5, 6])
    found, wanted = figure.frames[1].data
    assert list(found.x) == [2, 3, 4, 5, 6]
    assert found.y[3] == pytest.approx(100 * power_over_seeds(4.0, 2.0, 5), abs=0.1)
    assert list(wanted.y) == [80, 80]
    enough = next(x for x, y in zip(found.x, found.y, strict=True) if y >= 80)
    assert figure.frames[1].layout.title.text.startswith(f"{enough} seeds find it in 80 %")
    assert figure.frames[0].layout.title.text.startswith("6 seeds do not find it")
    assert list(figure.frames[0].data[0].y) == [5] * 5


def test_means_and_stds_of_each_table() -> None:
    figure = means_and_stds({"a": {"x": (60.0, 20.0)}, "b": {"x": (50.0, 5.0), "y": (40.0, 6.0)}})
    assert [[list(bars.y) for bars in frame.data] for frame in figure.frames] == [
        [[60], [20]],
        [[50, 40], [5, 6]],
    ]
    assert list(figure.frames[1].data[0].x) == ["x", "y"]


def test_a_skewed_test_moves_the_overall_accuracy_alone() -> None:
    """Shares 4 : 1 to the power 0, 1/2, 1 are 1 : 1, 2 : 1, 4 : 1."""
    figure = skewed_test(
        {"x": {"happy": 100.0, "fear": 10.0}, "y": {"happy": 60.0, "fear": 60.0}},
        [0, 0.5, 1],
        {"happy": 0.8, "fear": 0.2},
    )
    overall = [list(frame.data[0].x) for frame in figure.frames]
    assert overall == [[55, 60], [70, 60], [82, 60]]
    assert all(list(frame.data[1].x) == [55, 60] for frame in figure.frames)
    assert figure.frames[0].layout.title.text.endswith("best overall: y")
    assert figure.frames[2].layout.title.text == "happy is 80 % of the test; best overall: x"
