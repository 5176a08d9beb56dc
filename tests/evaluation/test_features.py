"""Features are what the last layer reads, and neighbours stay neighbours on the plane."""

from pathlib import Path

import numpy as np
import pytest
import torch

from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.formats.folders import read_class_folders
from face2exp_lib.evaluation.features import on_a_plane, penultimate_features
from face2exp_lib.networks import Backbone, build_network


@pytest.mark.parametrize(("backbone", "width"), [("small", 128), ("resnet18", 512)])
def test_last_layer_of_the_features_gives_the_probabilities(
    squares_root: Path, backbone: Backbone, width: int
) -> None:
    faces = DecodedFaces(
        read_class_folders(squares_root / "squares", "test", "names"), 40, in_memory=False
    )
    network = build_network(backbone, 7, pretrained=False, seed=0)
    features, probabilities = penultimate_features(network, faces, view_size=32, workers=0)
    assert features.shape == (21, width)
    with torch.no_grad():
        again = network.head(torch.from_numpy(features)).softmax(1)
    assert np.allclose(again.numpy(), probabilities, atol=1e-6)
    assert network.training  # as it was


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_clusters_stay_together() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(0, 0.1, (40, 6))
    features[20:] += 5
    points = on_a_plane(features)
    assert points.shape == (40, 2)
    centres = points[:20].mean(0), points[20:].mean(0)
    for own, other, half in ((0, 1, points[:20]), (1, 0, points[20:])):
        near = np.linalg.norm(half - centres[own], axis=1)
        assert (near < np.linalg.norm(half - centres[other], axis=1)).all()
    assert np.array_equal(points, on_a_plane(features))
