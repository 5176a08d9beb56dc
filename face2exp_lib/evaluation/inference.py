"""What a network makes of faces: of tensors, of a whole set, in the paper's measures."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.data.batches import DecodedFaces, ordered_batches
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.evaluation.metrics import accuracies, count_confusions
from face2exp_lib.runtime.errors import Face2ExpError

EVALUATION_BATCH = 256


@torch.no_grad()
def predict_logits(network: nn.Module, images: Tensor, view_size: int) -> Tensor:
    """Logits of the centre crops, with the running batch-norm statistics.

    Args:
        images: (N, 3, S, S) uint8 on the network's device.

    Returns:
        (N, K) float32.

    Raises:
        Face2ExpError: if one is not finite: the largest of NaNs would pass for a prediction.
    """
    was_training = network.training
    network.eval()
    logits = network(apply_view(images, centre_view(len(images)).to(images.device), view_size))
    network.train(was_training)
    if not torch.isfinite(logits).all():
        raise Face2ExpError(
            "the network's outputs are not finite, its weights have diverged: lower training.eta_a "
            "or eta_b (of a pre-training: eta), and --resume --changed goes on from the last "
            "checkpoint"
        )
    return logits


def predict_probabilities(
    network: nn.Module, images: Tensor, view_size: int, *, flip: bool = False
) -> Tensor:
    """Class probabilities of the centre crops; with `flip` the mean of each and its mirror image.

    Args:
        images: (N, 3, S, S) uint8 on the network's device.

    Returns:
        (N, K) float32 on the CPU, rows sum to 1.

    Raises:
        Face2ExpError: if an output is not finite.
    """
    probabilities = predict_logits(network, images, view_size).softmax(1)
    if flip:
        mirrored = predict_logits(network, images.flip(-1), view_size).softmax(1)
        probabilities = (probabilities + mirrored) / 2
    return probabilities.cpu()


def predict_faces(
    network: nn.Module,
    faces: DecodedFaces,
    *,
    view_size: int,
    workers: int,
    flip: bool = False,
    title: str = "evaluate",
) -> np.ndarray:
    """`predict_probabilities` of a whole set, in its order: (N, K) float32.

    `title` is that of the bar that tells how far it is.
    """
    device = next(network.parameters()).device
    rows = []
    with tqdm(total=len(faces), desc=title, unit="image", leave=False, delay=2) as bar:
        for batch in ordered_batches(faces, EVALUATION_BATCH, workers):
            rows.append(predict_probabilities(network, batch[0].to(device), view_size, flip=flip))
            bar.update(len(batch[0]))
    return torch.cat(rows).numpy()


def evaluate_network(
    network: nn.Module,
    faces: DecodedFaces,
    *,
    view_size: int,
    num_classes: int,
    workers: int,
    title: str = "evaluate",
) -> dict[str, Any]:
    """The paper's measures of one network on one labelled set, see `metrics.accuracies`."""
    predicted = predict_faces(
        network, faces, view_size=view_size, workers=workers, title=title
    ).argmax(1)
    confusion = count_confusions(faces.faces.known_labels(), predicted, num_classes)
    return accuracies(confusion, class_names(num_classes))
