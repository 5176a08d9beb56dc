"""Measures of identities by hand."""

import numpy as np
import pytest

from face2exp_lib.evaluation.identities import identity_measures


def test_measures_by_hand() -> None:
    """Three of four are named. Cosines of the two pairs of one person: 1 and 0; of the other four
    0.8, 0.6, 0.8, 0.6: of the eight comparisons four are won."""
    features = np.array([[2, 0], [1, 0], [0.8, 0.6], [3, -4]])
    labels = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9]])
    found = identity_measures(features, probabilities, labels)
    assert found["identity_accuracy"] == 75
    assert found["verification_auc"] == pytest.approx(4 / 8)


@pytest.mark.parametrize("labels", [[0, 1, 2], [1, 1, 1]])
def test_pairs_of_one_kind_tell_nothing(labels: list[int]) -> None:
    found = identity_measures(np.eye(3), np.eye(3), np.array(labels))
    assert found["verification_auc"] is None


def test_features_of_length_nought() -> None:
    found = identity_measures(np.zeros((4, 2)), np.eye(4), np.array([0, 0, 1, 1]))
    assert found["verification_auc"] == 0.5
