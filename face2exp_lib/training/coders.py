"""Phases before a method's own, in which its network learns to label what it was not taught."""

from functools import partial

import numpy as np
import torch
from torch import nn

from face2exp_lib.data.batches import DecodedFaces
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Coders
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.runtime.seeding import numpy_generator
from face2exp_lib.training.phases import Phase, Rate
from face2exp_lib.training.starts import initial_network


def coded_phases(
    main: Phase, coders: Coders, network: nn.Module, rate: Rate, seed: int
) -> list[Phase]:
    """Two coders and the method: each coder learns one half of the labelled set, and labels the
    other when the next phase opens; that begins with fresh weights.

    Args:
        main: the method's phase, which gives up the coders' share of its steps.
        coders: their share.
        network: that all three train.
        rate: of the coders.
        seed: of the network's first weights, which the method's phase begins with, too.

    Raises:
        Face2ExpError: if a coder's share is no step.
    """
    config, labelled = main.config, main.labelled
    training, data = config.training, config.data
    steps = int(coders.share(main.options) * training.num_steps)
    if steps == 0:
        raise Face2ExpError(
            f"method {main.name}: each coder has a share of training.num_steps "
            f"{training.num_steps}, which is no step: give more"
        )
    main.num_steps = training.num_steps - 2 * steps
    half = numpy_generator(config.seed, "coders").permutation(len(labelled)) % 2
    rows = [np.flatnonzero(half == number) for number in (0, 1)]
    parts = [
        DecodedFaces(labelled.faces.subset(part), data.stored_size, in_memory=data.in_memory)
        for part in rows
    ]
    first, second = (
        Phase(
            f"coder_{number}",
            steps,
            config,
            {"base": network},
            {"base": rate},
            SUPERVISED.step,
            None,
            learning(training.batch_size_fer),
            part,
        )
        for number, part in enumerate(parts, 1)
    )
    for phase, before, other, start in ((second, first, 1, seed + 1), (main, second, 0, seed)):
        phase.opening = partial(
            let_label,
            before=before,
            network=network,
            rows=rows[other],
            faces=parts[other],
            seed=start,
        )
        phase.opening_passes = looking(len(parts[other]))
    return [first, second, main]


def let_label(
    phase: Phase,
    before: Phase,
    network: nn.Module,
    rows: np.ndarray,
    faces: DecodedFaces,
    seed: int,
) -> None:
    """The coder of the phase before labels the faces that it did not learn, and gives way to a
    network of fresh weights.

    Args:
        phase: that opens; its `annotations` get those of the phase before and these.
        before: of the coder.
        network: the coder.
        rows: positions of the faces in the labelled set.
        faces: that are labelled.
        seed: of the fresh weights.
    """
    config, number = phase.config, len(rows) + len(before.labelled)
    probabilities = predict_faces(
        network,
        faces,
        view_size=config.data.view_size,
        workers=config.data.num_workers,
        title=f"label for {phase.name}",
    )
    said = before.extra.get("annotations", torch.full((number,), -1)).clone()
    said[torch.from_numpy(rows)] = torch.from_numpy(probabilities.argmax(1))
    phase.extra["annotations"] = said
    fresh = initial_network(config.network, config.data.num_classes, seed)
    network.load_state_dict(fresh.state_dict())
