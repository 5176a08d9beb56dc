"""Intervals by hand, against scipy's bootstrap, and over persons whose images move together."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from face2exp_lib.evaluation.metrics import (
    _intervals,
    bootstrap_intervals,
    clustered_intervals,
    measures,
    wilson_intervals,
)

CONFUSION = np.array([[40, 5, 5], [10, 30, 10], [20, 5, 25]])


def test_wilson_by_hand() -> None:
    """Of 10 images 8: centre (0.8 + z^2/20) / (1 + z^2/10), z = 1.959964."""
    found = wilson_intervals(np.array([[8, 2], [0, 5]]), ("a", "b"))
    z2 = 1.959964**2
    centre = (0.8 + z2 / 20) / (1 + z2 / 10)
    half = 1.959964 / (1 + z2 / 10) * (0.8 * 0.2 / 10 + z2 / 400) ** 0.5
    assert found["a"] == pytest.approx([100 * (centre - half), 100 * (centre + half)], abs=1e-3)
    assert found["b"] == pytest.approx([100 * 5 / (5 + z2), 100], abs=1e-3)


def test_bootstrap_is_scipys_for_the_class_mean() -> None:
    """Each class drawn anew from its own images; scipy's percentile interval of the same."""
    found = bootstrap_intervals(CONFUSION, replicates=4000)
    right = [np.repeat([1, 0], [row[i], row.sum() - row[i]]) for i, row in enumerate(CONFUSION)]
    expected = bootstrap(
        right,
        lambda *classes, axis: 100 * np.mean([c.mean(axis) for c in classes], 0),
        n_resamples=4000,
        method="percentile",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    low, high = found["mean_class_accuracy"]
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.7)
    assert (found["unit"], found["num_units"], found["replicates"]) == ("image", 150, 4000)


def test_intervals_hold_their_estimates_and_repeat() -> None:
    found = bootstrap_intervals(CONFUSION)
    for measure, estimate in measures(CONFUSION).items():
        low, high = found[measure]
        assert low < estimate < high
    assert bootstrap_intervals(CONFUSION) == found
    assert bootstrap_intervals(CONFUSION, seed=1) != found


def test_the_spread_over_classes_is_corrected_for_what_drawing_adds() -> None:
    """Replicates of the standard deviation lie above the estimate; the interval is shifted."""
    few = np.array([[24, 6, 0], [3, 18, 9], [9, 6, 15]])
    generator = np.random.default_rng(0)
    drawn = np.stack([generator.multinomial(30, row / 30, 2000) for row in few], 1)
    uncorrected = np.quantile(measures(drawn)["std_class_accuracy"], [0.025, 0.975])
    low, high = bootstrap_intervals(few)["std_class_accuracy"]
    assert low < uncorrected[0]
    assert high < uncorrected[1]


def test_perfect_network_has_no_width() -> None:
    found = bootstrap_intervals(np.diag([10, 20, 30]))
    assert found["mean_class_accuracy"] == pytest.approx([100, 100])
    assert found["std_class_accuracy"] == pytest.approx([0, 0])


def people(num: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every person shows both classes `images` times; each is all right or all wrong."""
    identities = np.repeat(np.arange(num), 2 * images)
    labels = np.tile(np.repeat([0, 1], images), num)
    wrong = identities % 3 == 0
    return labels, np.where(wrong, 1 - labels, labels), identities


def test_images_of_a_person_that_move_together_widen_the_interval() -> None:
    """20 images of a person say no more than one: the width is that of 30 independent units."""
    labels, predicted, identities = people(30, 10)
    found = clustered_intervals(labels, predicted, identities, 2)
    assert found is not None
    assert (found["unit"], found["num_units"]) == ("identity", 30)
    low, high = found["overall_accuracy"]
    assert high - low == pytest.approx(100 * 2 * 1.96 * (2 / 9 / 30) ** 0.5, rel=0.15)
    by_image = bootstrap_intervals(np.array([[200, 100], [100, 200]]))["overall_accuracy"]
    assert high - low > 3 * (by_image[1] - by_image[0])


def test_persons_that_do_not_suffice() -> None:
    labels, predicted, identities = people(1, 10)
    assert clustered_intervals(labels, predicted, identities, 2) is None
    # One of ten persons alone shows class 1: it lacks in a third of the replicates.
    identities = np.repeat(np.arange(10), 4)
    labels = (identities == 0).astype(int)
    assert clustered_intervals(labels, labels, identities, 2) is None


def test_the_correction_by_hand() -> None:
    """Replicates of 0.1, 0.2, ... 100 %, of which Phi(1) = 84.13 % lie below the estimate: so it
    lies z0 = 1 above their middle. The level of one standard deviation asks for the percentiles
    at Phi(2 z0 - 1) = Phi(1) and Phi(2 z0 + 1) = Phi(3) = 99.865 %."""
    right = np.arange(1, 1001)

    def confusions(hits: np.ndarray) -> np.ndarray:
        wrong = 1000 - hits
        return np.stack([np.stack([hits, wrong], -1), np.stack([wrong, hits], -1)], -2)

    estimate = confusions(np.array(841))
    low, high = _intervals(estimate, confusions(right), level=0.6827)["overall_accuracy"]
    assert low == pytest.approx(84.1, abs=0.2)
    assert high == pytest.approx(99.87, abs=0.02)


def test_a_class_without_images_stays_without() -> None:
    found = wilson_intervals(np.array([[8, 2, 0], [0, 0, 0], [0, 1, 4]]), ("a", "b", "c"))
    assert list(found) == ["a", "c"]
    perfect = bootstrap_intervals(np.diag([10, 0, 30]))
    assert perfect["mean_class_accuracy"] == pytest.approx([100, 100])
    assert perfect["std_class_accuracy"] == pytest.approx([0, 0])
    confusion = CONFUSION.copy()
    confusion[1] = 0
    some = bootstrap_intervals(confusion)
    assert some["num_units"] == 100
    for measure, estimate in measures(confusion).items():
        low, high = some[measure]
        assert low < estimate < high


def test_persons_of_a_set_that_lacks_a_class() -> None:
    """With a third class that nobody shows, the intervals are those of the two."""
    labels, predicted, identities = people(30, 10)
    of_two = clustered_intervals(labels, predicted, identities, 2)
    assert of_two == clustered_intervals(labels, predicted, identities, 3)
    assert of_two is not None


def test_replicates_that_lose_a_class_are_left_out() -> None:
    """Class 1 is shown by 5 of 30 persons: (25 / 30)^30 = 0.4 % of the draws have none of them."""
    identities = np.repeat(np.arange(30), 2)
    labels = (identities < 5).astype(int)
    found = clustered_intervals(labels, labels, identities, 3)
    assert found is not None
    share = np.full(30, 1 / 30)
    times = np.random.default_rng(0).multinomial(30, share, 2000)
    kept = int((times[:, :5].sum(1) > 0).sum())
    assert found["replicates"] == kept < 2000
    assert found["mean_class_accuracy"] == [100, 100]
