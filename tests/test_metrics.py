"""The paper's measures by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from face2exp_lib.errors import Face2ExpError
from face2exp_lib.metrics import accuracies, count_confusions, measures

NAMES = ("a", "b", "c")


def test_accuracies_by_hand() -> None:
    """Class accuracies 100, 50 and 0 %: mean 50; population variance (2500 + 0 + 2500) / 3."""
    confusion = np.array([[8, 0, 0], [1, 2, 1], [1, 1, 0]])
    result = accuracies(confusion, NAMES)
    assert result["overall_accuracy"] == pytest.approx(100 * 10 / 14)
    assert result["mean_class_accuracy"] == pytest.approx(50)
    assert result["std_class_accuracy"] == pytest.approx((5000 / 3) ** 0.5)
    assert result["std_class_accuracy"] != pytest.approx(50)  # the sample's
    assert result["per_class_accuracy"] == {"a": 100, "b": 50, "c": 0}
    assert result["confusion_matrix"] == [[8, 0, 0], [1, 2, 1], [1, 1, 0]]
    assert result["class_names"] == ["a", "b", "c"]


def test_a_collapsed_class_shows_in_the_mean_and_not_in_the_overall_accuracy() -> None:
    result = accuracies(np.array([[98, 0], [2, 0]]), NAMES[:2])
    assert result["overall_accuracy"] == pytest.approx(98)
    assert result["mean_class_accuracy"] == pytest.approx(50)
    assert result["std_class_accuracy"] == pytest.approx(50)


def test_rows_are_true_classes() -> None:
    counts = count_confusions(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert counts.dtype == np.int64


def test_counts_of_parts_add_up() -> None:
    true, predicted = np.array([0, 1, 2, 0, 1, 2, 2]), np.array([0, 2, 2, 1, 1, 0, 2])
    parts = count_confusions(true[:3], predicted[:3], 3) + count_confusions(
        true[3:], predicted[3:], 3
    )
    assert parts.tolist() == count_confusions(true, predicted, 3).tolist()


def test_empty_classes_are_named() -> None:
    with pytest.raises(Face2ExpError, match="no image of class a, c to evaluate"):
        accuracies(np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]]), NAMES)


def test_macro_f1_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    true = np.concatenate([np.arange(3), generator.integers(0, 3, 60)])
    predicted = generator.integers(0, 3, 63)
    found = measures(count_confusions(true, predicted, 3))["macro_f1"]
    assert found == pytest.approx(100 * f1_score(true, predicted, average="macro"))


def test_a_class_that_is_never_predicted_has_f1_of_zero() -> None:
    """F1 of a: 2 x 4 / (4 + 8); of b: 0."""
    assert measures(np.array([[4, 0], [4, 0]]))["macro_f1"] == pytest.approx(100 * 2 / 3 / 2)


def test_measures_of_many_confusions_at_once() -> None:
    many = np.random.default_rng(0).integers(1, 9, (2, 4, 3, 3))
    found = measures(many)
    for key, values in found.items():
        assert values.shape == (2, 4)
        assert values[1, 2] == pytest.approx(measures(many[1, 2])[key])
