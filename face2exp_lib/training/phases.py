"""One phase of a run: its batches, views, rates, and a method's step over them.

A phase is a generator that takes one training step each time it is asked; the loop around the
phases is in `loop.py`, and which phases and steps make up a method is in `plans.py`. Batches
and views are functions of (seed, phase, step), so a phase can begin at any of its steps and goes on
as if it had never stopped.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.augmentation.apply import apply_view
from face2exp_lib.augmentation.draw import View, draw_conventional, draw_extensive
from face2exp_lib.augmentation.patches import draw_aug, move_points
from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import Batch, ChosenFaces, DecodedFaces, StepFaces, step_batches
from face2exp_lib.methods.cost import Passes
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.method import Losses, StepBatch, StepContext
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.seeding import torch_generator

NO_PASSES = Passes(0, 0)
DRAW = {"conventional": draw_conventional, "extensive": draw_extensive}


@dataclass(frozen=True)
class Rate:
    """A network's learning rate in a phase: cosine from `eta` to 0, or fixed (paper 4.2).

    Attributes:
        eta, momentum: of SGD.
        decays: by the cosine.
        rise_steps: over so many first steps of a phase it rises in a line to what it would be.
        last: share of `eta` that the cosine ends at.
    """

    eta: float
    momentum: float = 0.0
    decays: bool = True
    rise_steps: int = 0
    last: float = 0.0

    def at(self, step: int, num_steps: int) -> float:
        """The rate of one step."""
        if not self.decays:
            return self.eta
        decayed = 0.5 * (1 + math.cos(math.pi * step / num_steps))
        risen = min(1.0, (step + 1) / (self.rise_steps + 1))
        return self.eta * risen * (self.last + (1 - self.last) * decayed)


@dataclass
class Phase:
    """One phase.

    Attributes:
        name: also names its random streams.
        num_steps: its length.
        config: of the run.
        networks: those it trains: `base`, `adaptation` or both.
        rates: of each of them.
        take_step: the method's step: updates the networks in place.
        options: of the method.
        passes: what a step costs.
        labelled: the FER faces it learns from.
        unlabelled: the FR faces; None for a supervised phase.
        opening: done once before the first step, not when a phase is resumed.
        opening_passes: what that costs.
        extra: tensors that steps or the opening write, part of a checkpoint.
        optimisers: one a network, without history at the phase's start.
        history: of the feedback f, empty at the phase's start.
    """

    name: str
    num_steps: int
    config: RunConfig
    networks: dict[str, nn.Module]
    rates: dict[str, Rate]
    take_step: Callable[[StepContext], Losses]
    options: Any
    passes: Passes
    labelled: DecodedFaces
    unlabelled: StepFaces | None = None
    opening: "Callable[[Phase], None] | None" = None
    opening_passes: Passes = NO_PASSES

    def __post_init__(self) -> None:
        self.optimisers = {
            name: SGD(
                self.networks[name].parameters(),
                lr=rate.eta,
                momentum=rate.momentum,
                weight_decay=self.config.training.weight_decay,
            )
            for name, rate in self.rates.items()
        }
        self.history = FeedbackHistory()
        self.extra: dict[str, Tensor] = {}
        num_classes = self.config.data.num_classes
        self.class_counts = torch.bincount(self.labelled.labels, minlength=num_classes).tolist()
        self.device = next(next(iter(self.networks.values())).parameters()).device

    @property
    def all_passes(self) -> Passes:
        """Of the whole phase."""
        return self.passes * self.num_steps + self.opening_passes

    def generator(self, purpose: str, *, step: int) -> torch.Generator:
        """Of one purpose in one step, on the CPU."""
        return torch_generator(self.config.seed, f"{self.name}/{purpose}", step)

    def steps(self, start: int) -> Iterator[tuple[StepContext, Losses]]:
        """Train from step `start` to the end; yields what each step is given and tells."""
        if start == self.num_steps:
            return
        for name in self.rates:
            self.networks[name].train()
        if start == 0 and self.opening:
            self.opening(self)
        training = self.config.training
        fer = self._batches(self.labelled, "fer", training.batch_size_fer, start)
        fr: Iterator[Batch | None] = repeat(None)
        if self.unlabelled is not None:
            faces = self.unlabelled
            if "rows" in self.extra:  # those that the opening chose
                assert isinstance(faces, DecodedFaces)
                faces = ChosenFaces(faces, self.extra["rows"].tolist())
            fr = self._batches(faces, "fr", training.batch_size_fr, start)
        for step in range(start, self.num_steps):
            self._set_rates(step)
            given = self._context(step, next(fer), next(fr))
            yield given, self.take_step(given)

    def state_dict(self) -> dict[str, Any]:
        """What it has beside its networks' weights; the random streams need no state."""
        return {
            "optimisers": {name: opt.state_dict() for name, opt in self.optimisers.items()},
            "feedback_history": self.history.state_dict(),
            "extra": self.extra,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
            for group in optimiser.param_groups:  # those of the config, which may have changed
                group["momentum"] = self.rates[name].momentum
                group["weight_decay"] = self.config.training.weight_decay
        self.history.load_state_dict(state["feedback_history"])
        self.extra = dict(state["extra"])

    def _context(self, step: int, fer: Batch, fr: Batch | None) -> StepContext:
        data = self.config.data
        drawn = self._drawn(fer, self.config.training.view_fer, "fer", step)
        x_fer = self._seen(fer, drawn)
        points_fer = move_points(
            fer.landmarks / data.stored_size, drawn, data.view_size / data.stored_size
        )
        no_faces = x_fer[:0]
        batch = StepBatch(
            x_fer=x_fer,
            y_fer=fer.labels.to(self.device),
            x_fr=no_faces if fr is None else self._view(fr, "conventional", "fr", step),
            x_fr_aug=no_faces if fr is None else self._view(fr, "aug", "fr_aug", step),
        )
        every = self.config.telemetry.image_feedback_every
        return StepContext(
            networks=self.networks,
            optimisers=self.optimisers,
            batch=batch,
            options=self.options,
            compute=self.config.compute,
            label_smoothing=self.config.training.label_smoothing,
            step=step,
            progress=step / self.num_steps,
            points_fer=points_fer.to(self.device),
            indices_fer=fer.indices,
            indices_fr=fer.indices[:0] if fr is None else fr.indices,
            class_counts=self.class_counts,
            generator=partial(self.generator, step=step),
            history=self.history,
            extra=self.extra,
            by_image=every > 0 and step % every == 0,
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
            balanced=kind == "fer" and self.config.training.batches_fer == "class_balanced",
        )

    def _view(self, faces: Batch, kind: str, purpose: str, step: int) -> Tensor:
        """Views of one of the kinds `conventional`, `extensive` and `aug`, the whole Aug(.)."""
        return self._seen(faces, self._drawn(faces, kind, purpose, step))

    def _drawn(self, faces: Batch, kind: str, purpose: str, step: int) -> View:
        data = self.config.data
        generator = self.generator(purpose, step=step)
        crop_fraction = data.view_size / data.stored_size
        # For the whole batch, however many processes share it, and of that the rows at hand.
        total = world.size() * len(faces.images)
        mine = world.share(total)
        if kind == "aug":
            landmarks = faces.landmarks.new_zeros(total, *faces.landmarks.shape[1:])
            landmarks[mine] = faces.landmarks
            drawn = draw_aug(
                landmarks,
                generator,
                self.config.aug,
                crop_fraction=crop_fraction,
                stored_size=data.stored_size,
            )
        else:
            drawn = DRAW[kind](total, generator, crop_fraction=crop_fraction)
        return drawn.rows(mine)

    def _seen(self, faces: Batch, drawn: View) -> Tensor:
        images = faces.images.to(self.device)
        return apply_view(images, drawn.to(self.device), self.config.data.view_size)
