"""The two biases, measured: what a network makes of long-tailed labels, and of unlabelled faces.

    python benchmarks/biases.py configs/rendered_cpu.yaml --plane
    python benchmarks/biases.py configs/fer2013_lfw_cpu.yaml --data-root DIR

A supervised network learns from all labels of a config as they were collected. Then: the accuracy
of each class of the validation part (Fig. 1a of the paper), the classes it names on validation and
on unlabelled faces (Fig. 1b), and how well the two kinds are told apart by its features. Writes
`results/biases/NAME.json`, and with --plane where the features lie on one (Fig. 4): of rendered
faces alone, since features of real people are not passed on.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from face2exp_lib.config import config_digest, data_root, load_config
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sampling import class_counts
from face2exp_lib.data.sets.facesets import FaceSet, drawn_faces
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_run_data
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.figures.features import plane
from face2exp_lib.runs.evaluate import evaluate_run
from face2exp_lib.runs.mismatch import measure_mismatch
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.provenance import environment
from face2exp_lib.runtime.storage import write_json, write_text
from face2exp_lib.training.loop import train

SETTINGS = [
    "method=supervised",
    "data.balanced=false",
    "data.per_class=null",
    "training.num_steps=3000",
    "training.eta_b=0.02",
    "training.warm_start_steps=0",
]
MOST_FACES = 4000
WHEN = ("before", "after")  # training


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--plane", action="store_true", help="write NAME-planes.json, too")
    arguments = parser.parse_args()
    root = data_root(arguments.data_root)
    config = load_config(arguments.config, SETTINGS)
    run_dir = Path("_build/biases") / config.name
    train(config, run_dir, root, resume=True)
    evaluation, _ = evaluate_run(run_dir, "val", root)
    _, network, _ = load_trained(run_dir)
    data, names = (
        read_run_data(config.data, config.seed, root),
        class_names(config.data.num_classes),
    )
    assert isinstance(data.unlabelled, FaceSet)
    named = {}
    for kind, faces in (("fer", data.validation), ("fr", data.unlabelled)):
        some = drawn_faces(faces, MOST_FACES, config.seed)
        predicted = predict_faces(
            network,
            DecodedFaces(some, config.data.stored_size, in_memory=False),
            view_size=config.data.view_size,
            workers=0,
        ).argmax(1)
        named[kind] = class_counts(predicted, names)
    mismatch, seen = measure_mismatch(run_dir, root)
    share = [np.array(list(counts.values())) / sum(counts.values()) for counts in named.values()]
    write_json(
        Path("results/biases") / f"{config.name}.json",
        {
            "settings": SETTINGS,
            "config_digest": config_digest(config),
            "collected": class_counts(data.long_tailed.known_labels(), names),
            "validation_accuracy": evaluation["per_class_accuracy"],
            "mean_class_accuracy": evaluation["mean_class_accuracy"],
            "std_class_accuracy": evaluation["std_class_accuracy"],
            "named": named,
            "total_variation": float(np.abs(share[0] - share[1]).sum() / 2),
            "mismatch": mismatch,
            "environment": environment(),
        },
    )
    if arguments.plane:
        planes = {when: plane(one) for when, one in zip(WHEN, seen, strict=True)}
        write_text(Path("results/biases") / f"{config.name}-planes.json", json.dumps(planes))


if __name__ == "__main__":
    main()
