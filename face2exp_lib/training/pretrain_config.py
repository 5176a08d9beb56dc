"""The configuration of a pre-training on identities."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.config import (
    FLOAT32,
    RUN_CONFIG,
    Network,
    RunConfig,
    TelemetryOptions,
    Training,
    checked,
    is_pretraining,
    read_yaml,
)
from face2exp_lib.data.sources import STRICT, Data, Source
from face2exp_lib.methods.passes import Compute


@dataclass(frozen=True, config=STRICT)
class IdentityData:
    """The faces and how their images are stored and cropped.

    Attributes:
        faces: a set that says whose faces it holds; expression labels, if it has any, are not read.
        held_out: share of each person's images, at least one, that validation is made of.
        most_held_out: images that a validation looks at, all those of persons drawn at random.
        drop: as `data.drop` of a run.
        stored_size, view_size, in_memory, num_workers: as of a run. Take those of the runs that
            shall begin with the weights.
    """

    faces: Source
    held_out: float = Field(default=0.2, ge=0, lt=1)
    most_held_out: int = Field(default=2000, gt=1, le=20_000)
    drop: str | tuple[str, ...] | None = None
    stored_size: int = Field(default=256, ge=32, le=1024)
    view_size: int = Field(default=224, ge=32, le=1024)
    in_memory: bool = False
    num_workers: int = Field(default=0, ge=0, le=256)

    @model_validator(mode="after")
    def _consistent(self) -> "IdentityData":
        if self.view_size > self.stored_size:
            raise ValueError(f"view_size {self.view_size} is over stored_size {self.stored_size}")
        return self


@dataclass(frozen=True, config=STRICT)
class Schedule:
    """Supervised steps; the learning rate decays by a cosine to 0.

    Attributes:
        num_steps: of them.
        batch_size: images in each.
        eta, momentum, weight_decay: of SGD.
        view: of the images, `conventional` or `extensive`.
        scale: what the cosine between an image's features and a person's weights is multiplied by
            to be a logit, as NormFace has it (Wang et al.: NormFace, ACM Multimedia 2017). It has
            to grow with the number of persons: with 16 and 1,000 of them the most probable one may
            reach 99.99 %.
        ema: as `training.ema` of a run.
        eval_every_steps, checkpoint_every_steps, keep_checkpoints: as of a run.
    """

    num_steps: int = Field(gt=0)
    batch_size: int = Field(default=64, gt=1, le=2**16)
    eta: float = Field(default=0.1, ge=0, le=FLOAT32)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0, le=FLOAT32)
    view: Literal["conventional", "extensive"] = "conventional"
    scale: float = Field(default=16.0, gt=0, le=FLOAT32)
    ema: float = Field(default=0.0, ge=0, lt=1)
    eval_every_steps: int = Field(default=1000, gt=0)
    checkpoint_every_steps: int = Field(default=1000, gt=0)
    keep_checkpoints: int = Field(default=1, gt=0)


@dataclass(frozen=True, config=STRICT)
class PretrainConfig:
    """Everything that decides what a pre-training makes, beside images, versions and machine.

    Attributes:
        name: the default run directory is runs/<name>-seed<seed>.
        data: the faces.
        training: the schedule.
        network: architecture, and what it begins from itself.
        compute: as of a run.
        seed: of weights, draws, batches and views.
        device: as of a run.
    """

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")]  # part of a folder's name
    data: IdentityData
    training: Schedule
    network: Network = Field(default_factory=Network)
    compute: Compute = Field(default_factory=Compute)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"

    def as_run(self) -> RunConfig:
        """The same as a supervised run's, which is what a phase reads. No set is read by it."""
        data, training = self.data, self.training
        return RunConfig(
            name=self.name,
            data=Data(
                labelled=data.faces,
                test=data.faces,
                unlabelled=data.faces,
                validation_per_class=1,
                stored_size=data.stored_size,
                view_size=data.view_size,
                in_memory=data.in_memory,
                num_workers=data.num_workers,
            ),
            training=Training(
                num_steps=training.num_steps,
                batch_size_fer=training.batch_size,
                batch_size_fr=training.batch_size,
                eta_b=training.eta,
                momentum_b=training.momentum,
                weight_decay=training.weight_decay,
                view_fer=training.view,
                ema=training.ema,
                eval_every_steps=training.eval_every_steps,
                checkpoint_every_steps=training.checkpoint_every_steps,
                keep_checkpoints=training.keep_checkpoints,
            ),
            network=self.network,
            compute=self.compute,
            telemetry=TelemetryOptions(pseudo_labels=False, distance_images=0),
            method="supervised",
            seed=self.seed,
            device=self.device,
        )


PRETRAIN_CONFIG = TypeAdapter(PretrainConfig)


def load_pretrain_config(path: Path | str, changes: list[str] | None = None) -> PretrainConfig:
    """As `load_config`, of a pre-training.

    Raises:
        Face2ExpError: naming the file or the key at fault.
    """
    path, content = read_yaml(path, changes)
    return checked(path, content, PRETRAIN_CONFIG)


def load_either_config(path: Path | str) -> RunConfig | PretrainConfig:
    """The configuration of a run or of a pre-training, whichever it is.

    Raises:
        Face2ExpError: naming the file or the key at fault.
    """
    path, content = read_yaml(path, None)
    if is_pretraining(content):
        return checked(path, content, PRETRAIN_CONFIG)
    return checked(path, content, RUN_CONFIG)
