"""How far apart a network sees FER and FR faces, before and after training (paper 1, Fig. 1).

The figures compare whole distributions: other people, other cameras, and other shares of the
expressions all count. Nearer is not better by itself: a network that maps all faces to one point
has no mismatch at all. Read them beside the accuracies.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.data.sets.facesets import FaceSet, drawn_faces
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import read_labelled_data, read_run_data
from face2exp_lib.evaluation.features import penultimate_features
from face2exp_lib.evaluation.two_sample_tests import (
    TwoSamples,
    classifier_test,
    mean_discrepancy,
    two_samples,
)
from face2exp_lib.methods.passes import threads
from face2exp_lib.networks import FaceNetwork, choose_device
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.plans import deployed_network, initial_form

MOST_FACES = 1000  # of each set


@dataclass(frozen=True)
class Seen:
    """The faces of both sets as one network sees them.

    Attributes:
        network: what it is called.
        samples: features of N FER faces and, below them, of M FR faces.
        classes: N + M class names: true for FER faces, predicted for FR faces.
    """

    network: str
    samples: TwoSamples
    classes: list[str]


def measure_mismatch(
    run_dir: Path | str,
    data_root: Path | str | None,
    *,
    before: Path | str | None = None,
    fer: Literal["validation", "labelled", "long_tailed"] = "validation",
    most_faces: int = MOST_FACES,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Seen]]:
    """Tests of FER against FR features of a run's best checkpoint and of a network before it.

    Args:
        before: a run whose best checkpoint is `before`, such as a supervised one; None takes the
            initial weights of the run's own network.
        fer: the set of FER faces. The test part is none of them: it is read by `evaluate` alone.
            By default that of validation, on whose labels no network was trained.
        most_faces: of each set, drawn by `seed`.

    Returns:
        The figures, ready for JSON, and what they were worked out from, before and after.

    Raises:
        Face2ExpError: if a run is broken or data are missing, or the networks name other classes.
    """
    run_dir, root = Path(run_dir), Path(data_root) if data_root else None
    config, trained, state = load_trained(run_dir)
    if before is None:
        networks = [("initial weights", _initial(config))]
    else:
        before = Path(before)
        before_config, earlier, _ = load_trained(before)
        if before_config.data.num_classes != config.data.num_classes:
            raise Face2ExpError(
                f"{before} has {before_config.data.num_classes} classes and {run_dir} "
                f"{config.data.num_classes}: compare runs of the same"
            )
        networks = [(f"{before.name}, best checkpoint", earlier)]
    networks.append((f"{run_dir.name}, best checkpoint", trained))
    sets = [drawn_faces(faces, most_faces, seed) for faces in _read_sets(config, root, fer)]
    seen = [_seen(config, name, network, sets) for name, network in networks]
    before_result, after_result = (
        {
            "network": one.network,
            "classifier_two_sample_test": classifier_test(one.samples, seed=seed),
            "maximum_mean_discrepancy": mean_discrepancy(one.samples, seed=seed),
        }
        for one in seen
    )
    return {
        "checkpoint_step": state["step"],
        "fer": {"set": sets[0].name, "num_images": len(sets[0]), "persons": _persons(sets[0])},
        "fr": {"set": sets[1].name, "num_images": len(sets[1]), "persons": _persons(sets[1])},
        "seed": seed,
        "before": before_result,
        "after": after_result,
    }, seen


def _read_sets(config: RunConfig, data_root: Path | None, fer: str) -> tuple[FaceSet, FaceSet]:
    """The FER and the FR faces."""
    if config.data.unlabelled is None:
        raise Face2ExpError(
            "the run's config has no data.unlabelled: there are no FR faces to compare with"
        )
    if config.data.unlabelled.format == "shards":
        # Training streams them. Here they are a list, as some are drawn from all of it.
        labelled = read_labelled_data(config.data, config.seed, data_root)
        return getattr(labelled, fer), config.data.unlabelled.read(data_root)
    data = read_run_data(config.data, config.seed, data_root)
    assert data.unlabelled is not None
    assert data.unlabelled.listed is not None
    return getattr(data, fer), data.unlabelled.listed


def _initial(config: RunConfig) -> FaceNetwork:
    """The run's network as training builds it."""
    network = initial_form(config, deployed_network(config))
    return network.to(choose_device(config.device))


def _seen(config: RunConfig, name: str, network: FaceNetwork, sets: list[FaceSet]) -> Seen:
    names = class_names(config.data.num_classes)
    features, classes = [], []
    for number, faces in enumerate(sets):
        with threads(config.compute, config.network.backbone, next(network.parameters()).device):
            found, probabilities = penultimate_features(
                network,
                DecodedFaces(faces, config.data.stored_size, in_memory=False),
                view_size=config.data.view_size,
                workers=config.data.num_workers,
            )
        features.append(found)
        codes = faces.known_labels() if number == 0 else probabilities.argmax(1)
        classes += [names[code] for code in codes]
    samples = two_samples(*features, *(faces.identities for faces in sets))
    return Seen(name, samples, classes)


def _persons(faces: FaceSet) -> int | None:
    return None if faces.identities is None else len(np.unique(faces.identities))
