"""What a network sees before its last layer, and a plane on which one can look at it."""

import numpy as np
import torch
from sklearn.manifold import TSNE
from torch import Tensor, nn

from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.networks import FaceNetwork

MOST_PERPLEXITY = 30.0


def penultimate_features(
    network: FaceNetwork, faces: DecodedFaces, *, view_size: int, workers: int
) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of the last layer for the centre crops of a whole set, in its order.

    Returns:
        (N, D) float32 features and (N, K) float32 class probabilities.
    """
    noted = _Noted(network)
    probabilities = predict_faces(
        noted, faces, view_size=view_size, workers=workers, title="features"
    )
    return torch.cat(noted.rows).numpy(), probabilities


class _Noted(nn.Module):
    """A network that keeps the features of all images that pass."""

    def __init__(self, network: FaceNetwork) -> None:
        super().__init__()
        self.network = network
        self.rows: list[Tensor] = []
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        features = self.network.features(x)
        self.rows.append(features.detach().cpu())
        logits: Tensor = self.network.head(features)
        return logits


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
