"""What two live figures begin with, computed from a finished run and stored: the face of the first
page, and the faces that readers name in B's place.

    python -m book.tools.stored_figures _build/runs/meta results/first_page

`python -m book.tools.generate` then writes the first page's figure from it.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from face2exp_lib import load_trained
from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import centre_view
from face2exp_lib.config import RunConfig, dump_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_run_data
from face2exp_lib.evaluation.inference import (
    predict_probabilities,
)
from face2exp_lib.figures.live import smile
from face2exp_lib.figures.style import picture_source
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.rendering.playground import SEED, STRANGER
from face2exp_lib.rendering.posing import load_person
from face2exp_lib.rendering.studio import expression_faces
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.resources import shipped
from face2exp_lib.runtime.storage import read_json, write_json

STRENGTHS = [round(0.1 * i, 1) for i in range(13)]
DRAWN = 128  # px, of a face whose middle three quarters are shown
NUM_FACES = 20


def smile_states(config: RunConfig, network: FaceNetwork) -> dict[str, Any]:
    """One stranger in every expression and strength, and what the network says, in percent."""
    names = list(class_names(config.data.num_classes))
    expressions = [
        "happy",
        *(n for n in names if n not in ("neutral", "happy")),
    ]
    edge, side = DRAWN // 8, DRAWN * 3 // 4
    percent, columns = [], []
    person = load_person(SEED, STRANGER)
    for strength in STRENGTHS:
        (large,) = expression_faces(expressions, [person], strength, DRAWN)
        (small,) = expression_faces(
            expressions, [person], strength, config.data.stored_size
        )
        images = torch.from_numpy(small).permute(0, 3, 1, 2)
        read = predict_probabilities(network, images, config.data.view_size)
        percent.append(np.round(100 * read.numpy(), 1))
        columns.append(
            large[:, edge : edge + side, edge : edge + side].reshape(
                -1, side, 3
            )
        )
    return {
        "classes": names,
        "expressions": expressions,
        "strengths": STRENGTHS,
        "sheet": picture_source(np.concatenate(columns, axis=1)),
        "side": side,
        "percent": np.stack(percent, axis=1).tolist(),
    }


def name_products(
    network: FaceNetwork,
    images: torch.Tensor,
    x_fer: torch.Tensor,
    y_fer: torch.Tensor,
    view_size: int,
    num_classes: int,
) -> list[list[float]]:
    """The dot product of the network's gradient from each face with each name and its gradient
    from labelled faces; f is eta_A times their mean over the faces, to first order.

    Args:
        images: (M, 3, S, S) uint8, to be named.
        x_fer, y_fer: (N, 3, S, S) uint8 and (N,) int64, labelled.

    Returns:
        M rows of `num_classes`.
    """
    parameters = list(network.eval().parameters())

    def gradient(x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        views = apply_view(x, centre_view(len(x)), view_size)
        loss = F.cross_entropy(network(views), labels)
        grads = torch.autograd.grad(loss, parameters)
        return torch.cat([grad.flatten() for grad in grads])

    grad_s = gradient(x_fer, y_fer)
    return [
        [
            float(grad_s @ gradient(image[None], torch.tensor([name])))
            for name in range(num_classes)
        ]
        for image in images
    ]


def faces_to_name(
    config: RunConfig, network: FaceNetwork, data_root: Path | None
) -> dict[str, Any]:
    """Unlabelled faces, their true classes, and how much each name of each face would help.

    The labelled gradient is that of the validation part: the network knows its training labels by
    heart, and a loss near 0 has no gradient to speak of.
    """
    names = list(class_names(config.data.num_classes))
    data = read_run_data(config.data, config.seed, data_root)
    size, view = config.data.stored_size, config.data.view_size
    assert isinstance(data.unlabelled, FaceSet)
    unlabelled = DecodedFaces(data.unlabelled, size, in_memory=False)
    with (shipped("data") / "rendered" / "fr_truth.csv").open() as file:
        truth_of = {
            row["image"]: row["expression"] for row in csv.DictReader(file)
        }
    ids = unlabelled.ids_at(range(len(unlabelled)))
    # Ids begin with the part that the image is in.
    known = {
        row: truth_of[one.rpartition("/")[2]] for row, one in enumerate(ids)
    }
    seven = [row for row, name in known.items() if name in names]
    chosen = np.random.default_rng(0).choice(seven, NUM_FACES, replace=False)
    images = unlabelled.__getitems__(chosen.tolist()).images
    validation = DecodedFaces(data.validation, size, in_memory=False)
    labelled = validation.__getitems__(list(range(len(validation))))
    products = name_products(
        network, images, labelled.images, labelled.labels, view, len(names)
    )
    return {
        "classes": names,
        "faces": [
            picture_source(image.permute(1, 2, 0).numpy()) for image in images
        ],
        "products": [
            [float(f"{value:.4g}") for value in row] for row in products
        ],
        "truth": [names.index(known[row]) for row in chosen.tolist()],
        "network": predict_probabilities(network, images, view)
        .argmax(1)
        .tolist(),
        "eta_a": config.training.eta_a,
    }


def first_page() -> str:
    """The first page's figure and what `make book`'s network reached, as HTML."""
    results = shipped("results")
    figure = read_json(results / "first_page" / "smile.json")["figure"]
    compared = read_json(results / "compare_main" / "comparison.json")
    arm = compared["compared"]["compute"]["arms"]["meta"]
    mean = arm["mean_class_accuracy"]
    told = (
        "Drag the slider. The network that reads this face has never met it. It learnt from 100 "
        "labels of each expression and from faces without labels, in minutes on one processor "
        f"core, and names {mean['mean']:.0f} of 100 new faces as they were meant; chance is 14."
    )
    live = smile(**figure, active=STRENGTHS.index(1.0))
    return f"<p>{told}</p>\n{live.html}\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-root", type=Path)
    args = parser.parse_args()
    config, network, state = load_trained(args.run_dir)
    made_by = {
        "config": dump_config(config),
        "step": state["step"],
        "environment": environment(),
    }
    found = {
        "smile": smile_states(config, network),
        "you_are_b": faces_to_name(config, network, args.data_root),
    }
    for name, figure in found.items():
        write_json(args.out / f"{name}.json", {"figure": figure} | made_by)


if __name__ == "__main__":
    main()
