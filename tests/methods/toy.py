"""Faces of two numbers on which those without labels decide, and any method's steps on such."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods import METHODS
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.method import Losses, Preparation, StepBatch, StepContext
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime import distributed as world

STEPS, MANY = 300, 2000


class Flat(FaceNetwork):
    """Without batch norm, on images of any size."""

    def __init__(self, inputs: int, outputs: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 16), nn.ReLU())
            self.fc = nn.Linear(16, outputs)

    def features(self, x: Tensor) -> Tensor:
        found: Tensor = self.body(x)
        return found


def taken(
    name: str,
    network: FaceNetwork,
    batches: Sequence[StepBatch],
    class_counts: Sequence[int],
    options: dict[str, Any],
    *,
    eta: float,
    momentum: float = 0.0,
) -> tuple[Preparation, list[Losses]]:
    """A method's steps as a phase takes them, at a rate that falls to 0; what it prepared, whose
    `networks["base"]` is deployed, and what the steps told."""
    method = METHODS[name]
    chosen = method.options(**options) if method.options else None
    labels = torch.arange(len(class_counts)).repeat_interleave(torch.tensor(class_counts))
    networks: dict[str, nn.Module] = {"base": network}
    number = len(batches[0].y_fer)
    run = Preparation(networks, dict(networks), {}, chosen, labels, None, number, seed=1)
    if method.prepare:
        method.prepare(run)
    rows = torch.arange(world.size() * number)[world.share(world.size() * number)]
    if method.coders:  # who says that each face is of the class after its label
        run.extra["annotations"] = (labels + 1) % len(class_counts)
    optimiser = SGD(run.trained["base"].parameters(), lr=eta, momentum=momentum)
    told = []
    for step, batch in enumerate(batches):
        progress = step / len(batches)
        optimiser.param_groups[0]["lr"] = eta * 0.5 * (1 + math.cos(math.pi * progress))
        given = StepContext(
            networks=run.trained,
            optimisers={"base": optimiser},
            batch=batch,
            options=chosen,
            compute=PLAIN,
            label_smoothing=0.0,
            step=step,
            progress=progress,
            points_fer=torch.zeros(number, 5, 2),
            indices_fer=rows,
            indices_fr=torch.arange(len(batch.x_fr)),
            class_counts=list(class_counts),
            generator=lambda _, step=step: torch.Generator().manual_seed(step),  # type: ignore[misc]
            history=FeedbackHistory(),
            extra=run.extra,
            by_image=False,
        )
        told.append(method.step(given))
    return run, told


def shared(batch: StepBatch) -> StepBatch:
    """This process's rows."""
    return StepBatch(**{name: x[world.share(len(x))] for name, x in asdict(batch).items()})


def people(labels: Tensor, generator: torch.Generator) -> Tensor:
    """(M, 2, 1, 1): how happy each looks, -1 or 1 and a little to and fro, and the light on it,
    which varies by twice as much as that and tells nothing."""
    number = len(labels)
    happy = 2 * labels - 1 + 0.3 * torch.randn(number, generator=generator)
    light = 2 * torch.randn(number, generator=generator)
    return torch.stack([happy, light], 1)[:, :, None, None]


def accuracy(name: str, seed: int, **options: Any) -> float:
    """Of a method on other faces, after it has learnt from four labels and 400 faces without.

    All happy ones of the four are in the light, so that they are known by it as well. The augmented
    view of a face has it in another light.
    """
    generator = torch.Generator().manual_seed(seed)
    x_fer = torch.tensor([[-1.0, -2], [-1, -1], [1, 1], [1, 2]])[:, :, None, None]
    pool = people(torch.randint(2, (400,), generator=generator), generator)

    def batch() -> StepBatch:
        x = pool[torch.randint(len(pool), (32,), generator=generator)]
        noise_fer, noise = (torch.randn(s, generator=generator) for s in (x_fer.shape, x.shape))
        augmented = x.clone()
        augmented[:, 1] += 2 * torch.randn(len(x), 1, 1, generator=generator)
        labels = torch.tensor([0, 0, 1, 1])
        return StepBatch(x_fer + 0.1 * noise_fer, labels, x + 0.1 * noise, augmented)

    batches = [batch() for _ in range(STEPS)]
    run, _ = taken(name, Flat(2, 2, seed), batches, [2, 2], options, eta=0.1, momentum=0.9)
    labels = torch.arange(MANY) % 2
    with torch.no_grad():
        found = run.networks["base"](people(labels, torch.Generator().manual_seed(99)))
    return (found.argmax(1) == labels).float().mean().item()
