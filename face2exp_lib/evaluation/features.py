"""What a network sees before its last layer, and a plane on which one can look at it."""

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor, nn

from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.evaluation.inference import predict_faces

MOST_PERPLEXITY = 30.0


def penultimate_features(
    network: nn.Module, faces: DecodedFaces, *, view_size: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the last layer for the centre crops of a whole set, in its order.

    Args:
        network: of `build_network`; its last layer is `fc`.

    Returns:
        (N, D) float32 features and (N, K) float32 class probabilities.
    """
    rows: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor]) -> None:
        rows.append(inputs[0].detach().cpu())

    hook = network.get_submodule("fc").register_forward_pre_hook(keep)
    try:
        probabilities = predict_faces(
            network, faces, view_size=view_size, workers=workers, title="features"
        )
    finally:
        hook.remove()
    return torch.cat(rows).numpy(), probabilities


def on_a_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """t-SNE (van der Maaten & Hinton 2008): neighbours stay neighbours, distances between
    clusters and their sizes mean nothing.

    Args:
        features: (N, D), N > 3.

    Returns:
        (N, 2) float32.
    """
    perplexity = min(MOST_PERPLEXITY, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return tsne.fit_transform(features.astype(np.float32))
