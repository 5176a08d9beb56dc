"""What a method is: a way to learn from a step's faces, what that costs, and what else it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import Passes
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.passes import Compute
from face2exp_lib.networks import FaceNetwork

Losses = dict[str, Tensor]  # 0-d losses, and what else a step tells


@dataclass(frozen=True)
class StepBatch:
    """Both mini-batches of a step (lines 3 and 4), augmented and normalised.

    Shapes: x_fer (N, 3, s, s); y_fer (N,) int64; x_fr and x_fr_aug = Aug(x_FR) (M, 3, s, s).
    """

    x_fer: Tensor
    y_fer: Tensor
    x_fr: Tensor
    x_fr_aug: Tensor


@dataclass(frozen=True)
class StepContext:
    """What a step may use; a phase of training fills it.

    Attributes:
        networks: of the phase, by name, in training mode if they are trained.
        optimisers: one for each network that is trained.
        batch: both mini-batches, or this process's rows where a run has several; of a phase without
            unlabelled faces, x_fr and x_fr_aug have no rows.
        options: the method's part of the config; None if it has no options.
        compute: precision and micro-batches of the passes.
        label_smoothing: share of each true label that L_s spreads over all classes.
        step: in the phase, from 0.
        progress: share of the phase done before the step, 0 .. 1.
        points_fer: (N, 5, 2) where the views of the labelled faces show their landmarks, x, y in
            0 .. 1; of faces without landmarks those of an average one.
        indices_fer, indices_fr: (N,) and (M,) int64, positions of the faces in their sets.
        class_counts: labelled images of each class in their whole set, K numbers.
        generator: of one purpose in this step, on the CPU.
        history: of the feedback, empty at the phase's start.
        extra: tensors of the method, which its steps may write; part of a checkpoint.
        by_image: each unlabelled image's share of the feedback is asked for.
    """

    networks: dict[str, nn.Module]
    optimisers: dict[str, SGD]
    batch: StepBatch
    options: Any
    compute: Compute
    label_smoothing: float
    step: int
    progress: float
    points_fer: Tensor
    indices_fer: Tensor
    indices_fr: Tensor
    class_counts: list[int]
    generator: Callable[[str], torch.Generator]
    history: FeedbackHistory
    extra: dict[str, Tensor]
    by_image: bool


@dataclass(frozen=True)
class FormContext:
    """What a method may make its network from.

    Attributes:
        network: of one of the backbones, with a last layer of its own.
        options: as of `StepContext`.
        stored_size, view_size: S and s, sides of the images and of the views that networks see, px.
        seed: of further weights.
    """

    network: FaceNetwork
    options: Any
    stored_size: int
    view_size: int
    seed: int


@dataclass
class Preparation:
    """What a method may add to before its first step.

    Attributes:
        networks: all that a checkpoint keeps, by name.
        trained: those that the steps are given.
        extra: as of `StepContext`.
        options: as of `StepContext`.
        labels: (number of labelled images,) int64.
        landmarks: (number of labelled images, 5, 2) px, NaN of faces whose points nobody found;
            None if the set has none.
        batch_size_fer: N.
        seed: of further weights.
    """

    networks: dict[str, nn.Module]
    trained: dict[str, nn.Module]
    extra: dict[str, Tensor]
    options: Any
    labels: Tensor
    landmarks: Tensor | None
    batch_size_fer: int
    seed: int


@dataclass(frozen=True)
class Rounds:
    """Of a method whose students follow each other, each from fresh weights, the last one its
    teacher.

    Attributes:
        number: of rounds, by the options; they share `training.num_steps`.
        choose: options, the teacher's (M, K) probabilities of every unlabelled image and a seed to
            the rows of the images that the round learns from.
    """

    number: Callable[[Any], int]
    choose: Callable[[Any, np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Coders:
    """Of a method whose network is first trained twice, on either half of the labelled set to label
    the other, `annotations` in its phase's `extra`, and then begins afresh.

    Attributes:
        share: of `training.num_steps` for each of the two, by the options.
    """

    share: Callable[[Any], float]


@dataclass(frozen=True)
class Method:
    """One way to learn; `METHODS` has them by their names.

    Attributes:
        name: `method` of a config, and the key of its options there.
        title: for people.
        step: updates the networks in place.
        cost: options, N and M to the passes of one step.
        options: a dataclass; None if there is nothing to choose.
        networks: by their names; the last is deployed. A teacher is `base`, B, and its student
            `adaptation`, A.
        unlabelled: it learns from unlabelled faces, and so has a warm start.
        finetunes: A learns from labels at the end.
        form: makes the network that is trained, kept and deployed of a backbone's; None for the
            backbone's own. What it adds lies under other names than `backbone.`, so that the
            weights of the backbone inside can go to other runs.
        without_landmarks: what a method with these options does where the labelled set has none, in
            words; empty if it asks for none.
        whole_batch: a step has to see all of its images, which several processes would share.
        image_feedback: it measures f_i.
        prepare: adds networks and tensors of its own.
        rounds: None if a run trains each network once.
        coders: None if nothing but the set labels its images.
    """

    name: str
    title: str
    step: Callable[[StepContext], Losses]
    cost: Callable[[Any, int, int], Passes]
    options: type[Any] | None = None
    networks: tuple[str, ...] = ("base",)
    unlabelled: bool = True
    finetunes: bool = False
    form: Callable[[FormContext], FaceNetwork] | None = None
    without_landmarks: Callable[[Any], str] = lambda options: ""
    whole_batch: bool = False
    image_feedback: bool = False
    prepare: Callable[[Preparation], None] | None = None
    rounds: Rounds | None = None
    coders: Coders | None = None
