"""How well a network tells persons apart: those it knows, and any two images by their cosine."""

from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.evaluation.features import penultimate_features
from face2exp_lib.networks import FaceNetwork


def evaluate_identities(
    network: FaceNetwork, faces: DecodedFaces, *, view_size: int, workers: int
) -> dict[str, Any]:
    """`identity_measures` of a network on a set whose labels are numbers of persons."""
    features, probabilities = penultimate_features(
        network, faces, view_size=view_size, workers=workers
    )
    return identity_measures(features, probabilities, faces.labels.numpy())


def identity_measures(
    features: np.ndarray, probabilities: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Args:
        features: (N, D).
        probabilities: (N, K).
        labels: (N,) numbers of persons.

    Returns:
        `identity_accuracy`, in percent, and `verification_auc`, in 0 .. 1: the share of pairs of
        images, one of the same person and one of two, in which the former's cosine is the larger;
        None if there is no such pair.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    auc = None
    if same.any() and not same.all():
        auc = float(roc_auc_score(same, (unit @ unit.T)[first, second]))
    return {
        "identity_accuracy": 100 * float((probabilities.argmax(1) == labels).mean()),
        "verification_auc": auc,
    }
