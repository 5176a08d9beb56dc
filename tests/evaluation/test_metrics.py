"""The paper's measures by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from face2exp_lib.evaluation.metrics import accuracies, count_confusions, measures
from face2exp_lib.runtime.errors import Face2ExpError

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


def test_images_of_other_classes_are_in_no_cell() -> None:
    assert count_confusions(np.array([0, 7, 1]), np.array([0, 0, 0]), 2).tolist() == [
        [1, 0],
        [1, 0],
    ]
    assert count_confusions(np.array([7, 7]), np.array([0, 1]), 2).tolist() == [[0, 0], [0, 0]]


def test_counts_of_parts_add_up() -> None:
    true, predicted = np.array([0, 1, 2, 0, 1, 2, 2]), np.array([0, 2, 2, 1, 1, 0, 2])
    parts = count_confusions(true[:3], predicted[:3], 3) + count_confusions(
        true[3:], predicted[3:], 3
    )
    assert parts.tolist() == count_confusions(true, predicted, 3).tolist()


def test_a_class_without_images_has_no_accuracy_and_no_part_in_the_means() -> None:
    """a has 8 of 8, c 2 of 4, one of them taken for b, of which no image is there."""
    confusion = np.array([[8, 0, 0], [0, 0, 0], [1, 1, 2]])
    result = accuracies(confusion, NAMES)
    assert result["per_class_accuracy"] == {"a": 100, "c": 50}
    assert result["mean_class_accuracy"] == 75
    assert result["std_class_accuracy"] == 25
    assert result["overall_accuracy"] == pytest.approx(100 * 10 / 12)
    assert result["class_names"] == ["a", "b", "c"]
    # F1 of a is 2 x 8 / (8 + 9), of c 2 x 2 / (4 + 2)
    assert measures(confusion)["macro_f1"] == pytest.approx(100 * (16 / 17 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("shown", "message"), [([1], "show b: give images of two"), ([], "show no class: give")]
)
def test_fewer_than_two_classes_are_refused(shown: list[int], message: str) -> None:
    confusion = np.zeros((3, 3), dtype=np.int64)
    confusion[shown] = 1
    with pytest.raises(Face2ExpError, match=message):
        accuracies(confusion, NAMES)


@pytest.mark.parametrize("num_classes", [7, 8])
def test_measures_of_complete_sets_are_the_plain_formulas_to_the_bit(num_classes: int) -> None:
    many = np.random.default_rng(1).integers(1, 99, (50, num_classes, num_classes))
    found = measures(many)
    hits, images = np.diagonal(many, axis1=1, axis2=2), many.sum(2)
    per_class = 100 * hits / images
    assert (found["mean_class_accuracy"] == per_class.mean(1)).all()
    assert (found["std_class_accuracy"] == per_class.std(1)).all()
    assert (found["macro_f1"] == (100 * 2 * hits / (images + many.sum(1))).mean(1)).all()


def test_macro_f1_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    true = np.concatenate([np.arange(3), generator.integers(0, 3, 60)])
    predicted = generator.integers(0, 3, 63)
    found = measures(count_confusions(true, predicted, 3))["macro_f1"]
    assert found == pytest.approx(100 * f1_score(true, predicted, average="macro"))


def test_a_class_that_is_never_predicted_has_f1_of_zero() -> None:
    """F1 of a: 2 x 4 / (4 + 8); of b: 0."""
    assert measures(np.array([[4, 0], [4, 0]]))["macro_f1"] == pytest.approx(100 * 2 / 3 / 2)


@pytest.mark.parametrize("missing", [[], [1]])
def test_measures_of_many_confusions_at_once(missing: list[int]) -> None:
    many = np.random.default_rng(0).integers(1, 9, (2, 4, 3, 3))
    many[:, :, missing] = 0
    found = measures(many)
    for key, values in found.items():
        assert values.shape == (2, 4)
        assert values[1, 2] == pytest.approx(measures(many[1, 2])[key])
