"""What the figures of comparisons say, on numbers worked out by hand."""

import pytest

from face2exp_lib.comparison.summary import power_over_seeds
from face2exp_lib.figures.comparison import means_and_stds, power_curves


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
