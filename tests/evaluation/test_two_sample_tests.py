"""Equal and shifted Gaussians, and persons that pass for a difference where they are unknown."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from face2exp_lib.evaluation import two_sample_tests as module
from face2exp_lib.evaluation.two_sample_tests import classifier_test, mean_discrepancy, two_samples
from face2exp_lib.runtime.errors import Face2ExpError


def gaussians(shift: float, seed: int, num: int = 100) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(0, 1, (num, 5)), generator.normal(shift, 1, (num, 5))


def test_shifted_gaussians_are_told_apart() -> None:
    """A shift of 1 in each of 5 dimensions: the best classifier is right in Phi(sqrt(5) / 2)."""
    samples = two_samples(*gaussians(1.0, 0, 400))
    found = classifier_test(samples, permutations=199)
    assert found["accuracy"] == pytest.approx(0.868, abs=0.03)
    assert found["auc"] == pytest.approx(0.943, abs=0.02)  # Phi(sqrt(5 / 2))
    assert found["p"] == pytest.approx(2 / 200)
    discrepancy = mean_discrepancy(samples, permutations=199)
    assert discrepancy["mmd2"] > 0.1
    assert discrepancy["p"] == pytest.approx(1 / 200)


def test_equal_gaussians_are_rejected_as_often_as_the_level_says() -> None:
    p_values = [
        (classifier_test(s, permutations=99)["p"], mean_discrepancy(s, permutations=99)["p"])
        for s in (two_samples(*gaussians(0.0, seed, 40)) for seed in range(60))
    ]
    # 60 trials at 0.1: more than 13 have a chance of 0.4 %
    assert (np.array(p_values) <= 0.1).sum(0).max() <= 13
    assert np.median(p_values, 0).min() > 0.3


def clustered(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Both sets draw 12 persons of one population; a person's 10 images are nearly alike."""
    generator = np.random.default_rng(seed)
    persons = generator.normal(0, 1, (24, 5)).repeat(10, 0)
    images = persons + generator.normal(0, 0.1, persons.shape)
    groups = np.arange(24).repeat(10)
    return images[:120], images[120:], groups[:120], groups[120:]


def test_other_people_are_no_difference_where_people_are_known() -> None:
    known: list[list[float]] = []
    unknown: list[list[float]] = []
    for seed in range(20):
        first, second, first_groups, second_groups = clustered(seed)
        for of_person, p_values in ((True, known), (False, unknown)):
            groups = (first_groups, second_groups) if of_person else (None, None)
            samples = two_samples(first, second, *groups)
            p_values.append(
                [
                    classifier_test(samples, permutations=99)["p"],
                    mean_discrepancy(samples, permutations=99)["p"],
                ]
            )
    assert (np.array(known) <= 0.05).sum(0).max() <= 4
    assert (np.array(unknown) <= 0.05).sum(0).min() >= 18


def test_unbiased_mmd_by_hand() -> None:
    """Points 0, 2 and 1, 5 on a line: the distances 1 1 2 3 4 5 have the median 2.5."""
    samples = two_samples(np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]]))
    found = mean_discrepancy(samples, permutations=9)
    assert found["sigma"] == 2.5
    k = {d: np.exp(-(d**2) / 12.5) for d in (1, 2, 3, 4, 5)}
    # within: k(2), k(4); across: 0-1, 0-5, 2-1, 2-5
    assert found["mmd2"] == pytest.approx(k[2] + k[4] - 2 * (k[1] + k[5] + k[1] + k[3]) / 4)


def test_scale_of_the_features_does_not_matter() -> None:
    first, second = gaussians(0.5, 1)
    plain, scaled = (
        mean_discrepancy(two_samples(c * first, c * second), permutations=9) for c in (1, 100)
    )
    assert scaled["mmd2"] == pytest.approx(plain["mmd2"])
    assert scaled["sigma"] == pytest.approx(100 * plain["sigma"])


def test_area_under_the_curve_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    scores, second = generator.normal(size=30).round(1), generator.random((4, 30)) < 0.4
    ranks = module.rankdata(scores)
    expected = [roc_auc_score(truth, scores) for truth in second]
    assert module._auc(ranks, second) == pytest.approx(expected)


def test_persons_stay_together_and_are_never_shared() -> None:
    samples = two_samples(np.zeros((3, 1)), np.ones((2, 1)), np.array(["x", "y", "x"]), None)
    assert samples.groups.tolist() == [0, 1, 0, 2, 3]
    permuted = module._permuted(samples.second, samples.groups, np.random.default_rng(0), 50)
    assert (permuted[:, 0] == permuted[:, 2]).all()
    assert permuted[:, 0].any()
    assert {tuple(sorted(row[[0, 1, 3, 4]])) for row in permuted} == {(False, False, True, True)}


def test_too_few_persons() -> None:
    first, second = gaussians(0.0, 0)
    lonely = two_samples(first, second, np.zeros(100), None)
    with pytest.raises(Face2ExpError, match="too few persons to compare two sets"):
        classifier_test(lonely)
    with pytest.raises(Face2ExpError, match="too few persons to compare two sets"):
        mean_discrepancy(lonely)


def test_network_that_sees_one_point() -> None:
    with pytest.raises(Face2ExpError, match="most features are equal"):
        mean_discrepancy(two_samples(np.zeros((5, 2)), np.zeros((5, 2))))
