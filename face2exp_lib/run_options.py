"""Parts of a run's configuration that no method owns: data, network, schedule, telemetry."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from face2exp_lib.data.sources import STRICT, Source
from face2exp_lib.networks import Backbone

FLOAT32 = 1e38  # torch refuses a rate that its numbers cannot hold


@dataclass(frozen=True, config=STRICT)
class Data:
    """The sets of a run and how their images are stored and cropped.

    Attributes:
        labelled: D'_FER, the long-tailed labelled set; training and validation are cut from it.
        test: read once, by `face2exp evaluate --split test`.
        unlabelled: D_FR; its labels, if it has any, are never read.
        num_classes: 7, or 8 with contempt.
        validation: a set of its own, or None to cut one from `labelled`.
        validation_per_class: images of each class to cut; None with a set of its own.
        balanced: Smp draws the same number of each class; False keeps the labels unbalanced (the
            paper's RAF-DB runs).
        per_class: images of each class in the balanced draw; with neither this nor `percent` it
            takes the size of the smallest class.
        percent: size of the draw in percent of the images that training is left with; None takes
            all of them where `balanced` is False.
        ratios: of the classes in an unbalanced draw. `exact` keeps them, so that a run's rare
            classes do not depend on its seed; `random` draws from all images alike. The paper does
            not say which.
        draw: a table of image,label (and part) as `face2exp data draw` writes it; takes the place
            of the draws of training and, if it lists some, validation images.
        drop: a table, or a list of them, as `face2exp data audit --out` and `data inspect
            --skip-bad` write it: training leaves out its rows marked `yes`.
        check_unlabelled: leave exact copies of evaluation images out of D_FR. Reads all of its
            files once at the start (of shards their tables alone); turn it off for millions of
            files, and audit them instead.
        stored_size: side in px to which images are resized when read (paper: 256).
        view_size: side in px of the random crop (paper: 224).
        in_memory: keep decoded images, but those of a stream; for sets that fit.
        stream_window: shards whose images are mixed at a time where `unlabelled` is streamed, that
            is where its format is `shards`. The system reads as many again ahead: at 256 px 8 are
            1.5 GB of its page cache, and twice that with the next ones.
        num_workers: processes that decode; 0 decodes in the training process.
    """

    labelled: Source
    test: Source
    unlabelled: Source
    num_classes: Literal[7, 8] = 7
    validation: Source | None = None
    validation_per_class: int | None = Field(default=None, gt=0)
    balanced: bool = True
    per_class: int | None = Field(default=None, gt=0)
    percent: float | None = Field(default=None, gt=0, le=100)
    ratios: Literal["exact", "random"] = "exact"
    draw: str | None = None
    drop: str | tuple[str, ...] | None = None
    check_unlabelled: bool = True
    stored_size: int = Field(default=256, ge=32, le=1024)
    view_size: int = Field(default=224, ge=32, le=1024)
    in_memory: bool = False
    stream_window: int = Field(default=8, ge=1, le=1024)
    num_workers: int = Field(default=0, ge=0, le=256)

    @model_validator(mode="after")
    def _consistent(self) -> "Data":
        if self.view_size > self.stored_size:
            raise ValueError(f"view_size {self.view_size} is over stored_size {self.stored_size}")
        if (self.validation is None) == (self.validation_per_class is None):
            raise ValueError("give either validation or validation_per_class")
        if self.per_class is not None and not self.balanced:
            raise ValueError("per_class is a balanced draw: leave it out or set balanced to true")
        if self.per_class is not None and self.percent is not None:
            raise ValueError("give either per_class or percent")
        if self.ratios == "random" and (self.balanced or self.percent is None):
            raise ValueError("ratios are those of an unbalanced draw: set balanced and percent")
        return self


@dataclass(frozen=True, config=STRICT)
class Network:
    """Architecture of both networks.

    Attributes:
        backbone: resnet50 (paper), resnet18, or small for CPU work.
        pretrained: start from torchvision's ImageNet weights.
    """

    backbone: Backbone = "resnet50"
    pretrained: bool = False


@dataclass(frozen=True, config=STRICT)
class Training:
    """The schedule. Learning rates decay by a cosine to 0 within each phase but the fine-tune.

    Attributes:
        num_steps: T of Algorithm 1; for the supervised baseline, its number of updates.
        batch_size_fer, batch_size_fr: images of each kind in a step (paper: 32 in all or of
            each; it does not say).
        eta_b, eta_a: initial learning rates of B and A.
        momentum_b, momentum_a: of SGD; the paper names no optimiser. With 0 for A, theta_A'
            is line 7's.
        weight_decay: of both.
        batches_fer: `shuffled`, each labelled image once a pass, or `class_balanced`, every class
            alike in every batch however many images it has (for labels that are not balanced).
        view_fer: views of the labelled images; the paper has `conventional`.
        warm_start_steps: supervised updates of A and B, each from its own initial weights, before
            step 0. The paper shows an initial A trained on the long-tailed labels, of no length.
            Rivals that learn from unlabelled faces begin with it, too, see `plans`.
        warm_start_labels: `balanced` (D_FER) or `long_tailed` (D'_FER: costs all its labels).
        finetune_steps: updates of A on D_FER after step T; for Meta Pseudo Labels, of its student.
        eta_finetune: fixed learning rate of the fine-tune.
        eval_every_steps: validation, and a new best checkpoint if it is one.
        checkpoint_every_steps: state to resume from.
        keep_checkpoints: how many of these are kept, the latest, and one more until the step after
            the last has gone well; the best is kept in any case.
    """

    num_steps: int = Field(gt=0)
    batch_size_fer: int = Field(default=32, gt=1, le=2**16)
    batch_size_fr: int = Field(default=32, gt=1, le=2**16)
    eta_b: float = Field(default=1e-2, ge=0, le=FLOAT32)
    eta_a: float = Field(default=1e-3, ge=0, le=FLOAT32)
    momentum_b: float = Field(default=0.0, ge=0, lt=1)
    momentum_a: float = Field(default=0.0, ge=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0, le=FLOAT32)
    batches_fer: Literal["shuffled", "class_balanced"] = "shuffled"
    view_fer: Literal["conventional", "extensive"] = "conventional"
    warm_start_steps: int = Field(default=0, ge=0)
    warm_start_labels: Literal["balanced", "long_tailed"] = "balanced"
    finetune_steps: int = Field(default=0, ge=0)
    eta_finetune: float = Field(default=1e-5, ge=0, le=FLOAT32)
    eval_every_steps: int = Field(default=1000, gt=0)
    checkpoint_every_steps: int = Field(default=1000, gt=0)
    keep_checkpoints: int = Field(default=1, gt=0)


@dataclass(frozen=True, config=STRICT)
class TelemetryOptions:
    """What a run records beside its losses. None of it changes what is learnt, not by a bit.

    Attributes:
        pseudo_labels: a table `pseudo_labels/` with a row for each unlabelled image of each step:
            its pseudo label, how confident it was, what the network that learnt it took the image
            for. `face2exp analyse` reads it.
        image_feedback_every: in every so many steps, from the first, each unlabelled image's share
            f_i of f is measured and added to the table (method meta alone). Costs a pass over both
            batches, which a run's budget does not count. 0: never.
        distance_images: at each validation, how far apart each network's features of as many FER
            and FR images are (MMD^2). 0: not measured; nor where the FR faces are streamed.
        tensorboard: the numbers of `metrics.jsonl` as TensorBoard events, too
            (needs the extra `tensorboard`).
    """

    pseudo_labels: bool = True
    image_feedback_every: int = Field(default=0, ge=0)
    distance_images: int = Field(default=200, ge=0, le=10_000)
    tensorboard: bool = False
