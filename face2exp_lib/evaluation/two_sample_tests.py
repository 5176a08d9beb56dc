"""Are two samples of features of one distribution? A classifier's answer and a kernel's.

Both p values come from permutations of whole persons where persons are known: two images of one
face are no two draws. A person is exchanged with all images, so that each set keeps its clusters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from face2exp_lib.runtime.errors import Face2ExpError

PERMUTATIONS = 999
TOO_FEW = "too few persons to compare two sets: take more faces, of at least two persons in each"


@dataclass(frozen=True)
class TwoSamples:
    """Features of two sets, one below the other.

    Attributes:
        features: (N, D).
        second: (N,) bool, False for the first set.
        groups: (N,) int64, the same for the images of a person; never shared between the sets.
    """

    features: np.ndarray
    second: np.ndarray
    groups: np.ndarray


def two_samples(
    first: np.ndarray,
    second: np.ndarray,
    first_groups: np.ndarray | None = None,
    second_groups: np.ndarray | None = None,
) -> TwoSamples:
    """Put two sets together.

    Args:
        first, second: (N, D) and (M, D) features.
        first_groups, second_groups: (N,) and (M,) names of persons, None where unknown: each image
            then counts as a person. Equal names in the two sets are different persons.
    """
    numbers, start = [], 0
    for features, groups in ((first, first_groups), (second, second_groups)):
        names = np.arange(len(features)) if groups is None else groups
        unique, number = np.unique(names, return_inverse=True)
        numbers.append(start + number)
        start += len(unique)
    return TwoSamples(
        np.concatenate([first, second]).astype(np.float64),
        np.repeat([False, True], [len(first), len(second)]),
        np.concatenate(numbers),
    )


def classifier_test(
    samples: TwoSamples, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> dict[str, Any]:
    """Classifier two-sample test (Lopez-Paz & Oquab, ICLR 2017) by a logistic regression.

    Two halves that share no person: the regression learns from each to tell the sets apart and is
    measured on the other. A held-out half's scores are fixed, so that permuting which set its
    persons belong to is exact; the two p values are put together by Bonferroni.

    Returns:
        `accuracy` (0..1, the mean over both sets, so 0.5 is chance whatever their sizes), `auc`,
        both as means over the halves, `p` and `permutations`.

    Raises:
        Face2ExpError: if a set has too few persons for two halves.
    """
    _must_have_persons(samples)
    generator = np.random.default_rng(seed)
    halves = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
    accuracies, aucs, p_values = [], [], []
    for learnt, held in halves.split(samples.features, samples.second, samples.groups):
        if len(np.unique(samples.second[learnt])) < 2 or len(np.unique(samples.second[held])) < 2:
            raise Face2ExpError(TOO_FEW)
        regression = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        regression.fit(samples.features[learnt], samples.second[learnt])
        scores = regression.decision_function(samples.features[held])
        truth = samples.second[held]
        permuted = _permuted(truth, samples.groups[held], generator, permutations)
        ranks = rankdata(scores)
        auc = float(_auc(ranks, truth[None])[0])
        aucs.append(auc)
        p_values.append(_p_value(auc, _auc(ranks, permuted)))
        accuracies.append(balanced_accuracy_score(truth, scores > 0))
    return {
        "accuracy": float(np.mean(accuracies)),
        "auc": float(np.mean(aucs)),
        "p": min(1.0, 2 * min(p_values)),
        "permutations": permutations,
    }


def mean_discrepancy(
    samples: TwoSamples, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> dict[str, Any]:
    """Maximum mean discrepancy (Gretton et al., JMLR 2012): unbiased, RBF, median heuristic.

    The kernel exp(-d^2 / (2 sigma^2)) takes as sigma the median distance of all pairs, so that the
    figure does not depend on the features' scale.

    Returns:
        `mmd2` (near 0, and as often below as above, for equal distributions), `sigma`, `p`,
        `permutations`.

    Raises:
        Face2ExpError: if a set has fewer than two persons, or most features are equal.
    """
    _must_have_persons(samples)
    generator = np.random.default_rng(seed)
    distances = euclidean_distances(samples.features)
    sigma = float(np.median(distances[np.triu_indices_from(distances, 1)]))
    if sigma == 0:
        raise Face2ExpError("most features are equal: the network tells no images apart")
    kernel = np.exp(-(distances**2) / (2 * sigma**2))
    np.fill_diagonal(kernel, 0)
    permuted = _permuted(samples.second, samples.groups, generator, permutations)
    mmd2 = float(_mmd2(kernel, samples.second[None])[0])
    p = _p_value(mmd2, _mmd2(kernel, permuted))
    return {"mmd2": mmd2, "sigma": sigma, "p": p, "permutations": permutations}


def _must_have_persons(samples: TwoSamples) -> None:
    for is_second in (False, True):
        if len(np.unique(samples.groups[samples.second == is_second])) < 2:
            raise Face2ExpError(TOO_FEW)


def _permuted(
    second: np.ndarray, groups: np.ndarray, generator: np.random.Generator, permutations: int
) -> np.ndarray:
    """(P, N) bool: which images are of the second set after whole groups changed places."""
    _, first_row, number = np.unique(groups, return_index=True, return_inverse=True)
    of_group = np.tile(second[first_row], (permutations, 1))
    return generator.permuted(of_group, axis=1)[:, number]


def _auc(ranks: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of (N,) ranks for each (P, N) labelling, by Mann and Whitney."""
    n = second.sum(1)
    m = second.shape[1] - n
    return (second @ ranks - n * (n + 1) / 2) / (n * m)


def _mmd2(kernel: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Unbiased MMD^2 for each (P, N) labelling.

    Args:
        kernel: (N, N) with a diagonal of 0.
    """
    z = second.astype(np.float64)
    n = z.sum(1)
    m = z.shape[1] - n
    within = ((z @ kernel) * z).sum(1)
    across = z @ kernel.sum(1) - within
    others = kernel.sum() - within - 2 * across
    return within / (n * (n - 1)) + others / (m * (m - 1)) - 2 * across / (n * m)


def _p_value(found: float, permuted: np.ndarray) -> float:
    return float((1 + (permuted >= found).sum()) / (1 + len(permuted)))
