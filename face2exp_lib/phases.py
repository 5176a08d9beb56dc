"""The phases of a run: warm start, Algorithm 1, fine-tune; or the supervised baseline alone.

A phase is a generator that takes one training step each time it is asked; the loop around the
phases is in `training.py`. Batches and views are functions of (seed, phase, step), so a phase can
begin at any of its steps and goes on as if it had never stopped.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.augmentation import draw_conventional, draw_extensive
from face2exp_lib.batches import Batch, DecodedFaces, StepFaces, step_batches
from face2exp_lib.config import RunConfig
from face2exp_lib.feedback import FeedbackHistory
from face2exp_lib.meta_step import MetaBatch, meta_step, supervised_step
from face2exp_lib.patches import draw_aug
from face2exp_lib.seeding import torch_generator
from face2exp_lib.views import apply_view

DRAW = {"conventional": draw_conventional, "extensive": draw_extensive}


@dataclass(frozen=True)
class Rate:
    """A network's learning rate in a phase: cosine from `eta` to 0, or fixed (paper 4.2)."""

    eta: float
    momentum: float = 0.0
    decays: bool = True

    def at(self, step: int, num_steps: int) -> float:
        """The rate of one step."""
        return (
            self.eta * 0.5 * (1 + math.cos(math.pi * step / num_steps)) if self.decays else self.eta
        )


@dataclass
class Phase:
    """One phase.

    Attributes:
        name: also names its random streams.
        num_steps: its length.
        config: of the run.
        networks: those it trains: `base`, `adaptation` or both.
        rates: of each of them.
        labelled: the FER faces it learns from.
        unlabelled: the FR faces; None for a supervised phase.
        optimisers: one a network, without history at the phase's start.
        history: of the feedback f, empty at the phase's start.
    """

    name: str
    num_steps: int
    config: RunConfig
    networks: dict[str, nn.Module]
    rates: dict[str, Rate]
    labelled: DecodedFaces
    unlabelled: StepFaces | None = None

    def __post_init__(self) -> None:
        self.optimisers = {
            name: SGD(
                network.parameters(),
                lr=self.rates[name].eta,
                momentum=self.rates[name].momentum,
                weight_decay=self.config.training.weight_decay,
            )
            for name, network in self.networks.items()
        }
        self.history = FeedbackHistory()
        self.device = next(next(iter(self.networks.values())).parameters()).device

    @property
    def image_passes(self) -> int:
        """Images that go forward through a network in one step; but where the feedback takes two
        forward passes (`finite_difference`) or a wider one (`jvp`), each of them backward, too."""
        n, m = self.config.training.batch_size_fer, self.config.training.batch_size_fr
        if self.unlabelled is None:
            return n * len(self.networks)
        moving = self.config.meta.consistency_target == "moving"
        looks = {"none": 0, "exact": 1, "jvp": 1, "finite_difference": 2}  # of A at x_FER
        # B on x_FR, A on x_FR, A on x_FER, B on x_FER, B on Aug(x_FR), and B on x_FR if it moves
        return (1 + looks[self.config.meta.feedback]) * n + (4 if moving else 3) * m

    def steps(self, start: int) -> Iterator[dict[str, Tensor]]:
        """Train from step `start` to the end; yields each step's losses."""
        for network in self.networks.values():
            network.train()
        training = self.config.training
        fer = self._batches(self.labelled, "fer", training.batch_size_fer, start)
        if self.unlabelled is None:
            for step in range(start, self.num_steps):
                self._set_rates(step)
                yield self._supervised(step, next(fer))
        else:
            fr = self._batches(self.unlabelled, "fr", training.batch_size_fr, start)
            for step in range(start, self.num_steps):
                self._set_rates(step)
                yield self._meta(step, next(fer), next(fr))

    def _supervised(self, step: int, fer: Batch) -> dict[str, Tensor]:
        x_fer = self._view(fer, self.config.training.view_fer, "fer", step)
        y_fer = fer.labels.to(self.device)
        losses: dict[str, Tensor] = {}
        for name, network in self.networks.items():
            loss_s = supervised_step(
                network, self.optimisers[name], x_fer, y_fer, self.config.compute
            )["loss_s"]
            losses["loss_s" if not losses else f"loss_s_{name}"] = loss_s
        return losses

    def _meta(self, step: int, fer: Batch, fr: Batch) -> dict[str, Tensor]:
        batch = MetaBatch(
            x_fer=self._view(fer, self.config.training.view_fer, "fer", step),
            y_fer=fer.labels.to(self.device),
            x_fr=self._view(fr, "conventional", "fr", step),
            x_fr_aug=self._view(fr, "aug", "fr_aug", step),
        )
        return meta_step(
            self.networks["base"],
            self.networks["adaptation"],
            self.optimisers["base"],
            self.optimisers["adaptation"],
            batch,
            self.config.meta.at(step),
            self.history,
            self.config.compute,
        )

    def _set_rates(self, step: int) -> None:
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = self.rates[name].at(step, self.num_steps)

    def _batches(self, faces: StepFaces, kind: str, batch_size: int, start: int) -> Iterator[Batch]:
        return step_batches(
            faces,
            batch_size,
            start=start,
            stop=self.num_steps,
            seed=self.config.seed,
            stream=f"{self.name}/{kind}",
            workers=self.config.data.num_workers,
        )

    def _view(self, faces: Batch, kind: str, purpose: str, step: int) -> Tensor:
        """Views of one of the kinds `conventional`, `extensive` and `aug`, the whole Aug(.)."""
        data = self.config.data
        generator = torch_generator(self.config.seed, f"{self.name}/{purpose}", step)
        crop_fraction = data.view_size / data.stored_size
        if kind == "aug":
            drawn = draw_aug(
                faces.landmarks,
                generator,
                self.config.aug,
                crop_fraction=crop_fraction,
                stored_size=data.stored_size,
            )
        else:
            drawn = DRAW[kind](len(faces.images), generator, crop_fraction=crop_fraction)
        return apply_view(faces.images.to(self.device), drawn.to(self.device), data.view_size)
