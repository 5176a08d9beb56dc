"""Every method on one page: its networks, which of them is deployed, and its phases.

======================================  ================  ===============================
method                                  trained           phases
======================================  ================  ===============================
supervised, class_balanced, scn         one network       labels alone
cake, dmue, ran, gacnn, ldl_alsg        one network       labels alone
ipa2lt                                  one network       two coders on halves; the
                                                          method on their labels, too
pseudo_label, uda, fixmatch             one network       warm start, the method
freematch, remixmatch, ada_cm           one network       warm start, the method
mean_teacher                            student           its teacher's warm start; method
noisy_student                           teacher, student  teacher's warm start; rounds
meta_pseudo_labels                      teacher, student  warm start of both; method;
                                                          fine-tune of the student
meta                                    B, A              warm start of both; Algorithm 1;
                                                          fine-tune of A
======================================  ================  ===============================

What a method is made of is in its record (`methods.METHODS`). Its teacher is `base` and its student
`adaptation`, Meta-Face2Exp's names. The warm start is the same supervised steps for all that have
it, so that methods which learn from unlabelled faces begin at the same network. It is
Meta-Face2Exp's; the rivals' papers begin at fresh weights, which `training.warm_start_steps: 0`
does, but for Noisy Student, whose first teacher it is.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces, StepFaces
from face2exp_lib.data.sets.facesets import FaceSet
from face2exp_lib.data.splits import RunData
from face2exp_lib.data.stream import unlabelled_faces
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.methods import METHODS
from face2exp_lib.methods.cost import learning, looking
from face2exp_lib.methods.method import Method, Preparation, Rounds
from face2exp_lib.methods.supervised import SUPERVISED
from face2exp_lib.networks import FaceNetwork, must_take, synchronised
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.coders import coded_phases
from face2exp_lib.training.phases import Phase, Rate
from face2exp_lib.training.starts import in_form, initial_network

APART = 1_000_003  # of the seeds of two networks' weights (paper 3.1: weights of their own)


@dataclass
class Plan:
    """A run before it begins.

    Attributes:
        networks: all that a checkpoint keeps, by name.
        deployed: the name of the one that evaluation and prediction use.
        phases: in their order.
        averages: of the weights of those that name classes, by name; none without `training.ema`.
    """

    networks: dict[str, nn.Module]
    deployed: str
    phases: list[Phase]
    averages: dict[str, FaceNetwork] = field(default_factory=dict)

    @property
    def classifiers(self) -> dict[str, FaceNetwork]:
        """The networks that name classes."""
        return {name: net for name, net in self.networks.items() if isinstance(net, FaceNetwork)}

    @property
    def validated(self) -> dict[str, FaceNetwork]:
        """What stands for them outside of training: their averages, if there are some."""
        return self.averages or self.classifiers


def initial_seed(config: RunConfig, network: str) -> int:
    """Of a network's first weights; `network` is `base` or `adaptation`."""
    return config.seed + APART * (network == "adaptation")


def initial_form(config: RunConfig, network: str) -> FaceNetwork:
    """A network of the run, `base` or `adaptation`, as its training begins with it."""
    seed = initial_seed(config, network)
    return in_form(config, initial_network(config.network, config.data.num_classes, seed), seed)


def deployed_network(config: RunConfig) -> str:
    """The network that evaluation and prediction use."""
    return METHODS[config.method].networks[-1]


def learns_from_all(config: RunConfig) -> bool:
    """Whether a run's warm start takes all labels of D'_FER, and not only those of D_FER."""
    training = config.training
    return (
        METHODS[config.method].unlabelled
        and training.warm_start_steps > 0
        and training.warm_start_labels == "long_tailed"
    )


def label_budget(plan: Plan, data: RunData) -> dict[str, int]:
    """Labels that a run costs: those its phases learn from, those of validation, and together."""
    train = max(len(phase.labelled) for phase in plan.phases)  # D_FER is a part of D'_FER
    validation = len(data.validation)
    return {"train": train, "validation": validation, "total": train + validation}


def plan_run(config: RunConfig, data: RunData, device: torch.device) -> Plan:
    """Networks and phases of a run's method.

    Raises:
        Face2ExpError: if the method cannot be run on these data or with this config.
    """
    method = METHODS[config.method]
    networks: dict[str, nn.Module] = {
        name: initial_form(config, name).to(device) for name in method.networks
    }
    must_take(networks["base"], config.network.backbone, config.data.view_size)
    if config.compute.batch_norm == "sync" and world.size() > 1:
        networks = {name: synchronised(network) for name, network in networks.items()}
    labelled = DecodedFaces(data.labelled, config.data.stored_size, in_memory=config.data.in_memory)
    plan = Plan(networks, deployed_network(config), [])
    if config.training.ema:
        plan.averages = deepcopy(plan.classifiers)
    unlabelled = None
    if method.unlabelled:
        assert data.unlabelled is not None  # by RunConfig
        unlabelled = unlabelled_faces(data.unlabelled, config.data)
    if unlabelled is not None and config.training.warm_start_steps:
        plan.phases.append(_warm_start(config, data, dict(networks), labelled))
    if method.rounds and unlabelled is not None:
        plan.phases += _rounds(config, method.rounds, networks, labelled, unlabelled)
    elif method.coders:
        main = _main(config, method, networks, labelled, unlabelled)
        seed = initial_seed(config, "base")
        plan.phases += coded_phases(main, method.coders, networks["base"], _rate_b(config), seed)
    else:
        plan.phases.append(_main(config, method, networks, labelled, unlabelled))
    if method.finetunes and config.training.finetune_steps:
        plan.phases.append(_finetune(config, networks, labelled))
    return plan


def _rate_b(config: RunConfig) -> Rate:
    return _rate(config, config.training.eta_b, config.training.momentum_b)


def _rate(config: RunConfig, eta: float, momentum: float) -> Rate:
    """One that decays, as the config has it for all of them."""
    training = config.training
    return Rate(eta, momentum, rise_steps=training.eta_rise_steps, last=training.eta_last)


def _options(config: RunConfig) -> object:
    """Of the run's method; None if it has none."""
    return getattr(config, config.method, None)


def _warm_start(
    config: RunConfig, data: RunData, networks: dict[str, nn.Module], labelled: DecodedFaces
) -> Phase:
    """B and A, each from its own weights; where students begin afresh, the teacher alone."""
    training = config.training
    if training.warm_start_labels == "long_tailed":
        size = config.data.stored_size
        labelled = DecodedFaces(data.long_tailed, size, in_memory=config.data.in_memory)
    if METHODS[config.method].rounds:
        networks = {"base": networks["base"]}
    return Phase(
        "warm_start",
        training.warm_start_steps,
        config,
        networks,
        {name: _rate_b(config) for name in networks},
        SUPERVISED.step,
        None,
        learning(training.batch_size_fer * len(networks)),
        labelled,
    )


def _main(
    config: RunConfig,
    method: Method,
    networks: dict[str, nn.Module],
    labelled: DecodedFaces,
    unlabelled: StepFaces | None,
) -> Phase:
    training, options = config.training, _options(config)
    rates = {"base": _rate_b(config)}
    if "adaptation" in networks:
        rates["adaptation"] = _rate(config, training.eta_a, training.momentum_a)
    run = Preparation(
        networks,
        dict(networks),
        {},
        options,
        labelled.labels,
        _found_landmarks(labelled.faces),
        training.batch_size_fer,
        config.seed + 2 * APART,
    )
    if method.prepare:
        method.prepare(run)
    phase = Phase(
        method.name,
        training.num_steps,
        config,
        run.trained,
        rates,
        method.step,
        options,
        method.cost(options, training.batch_size_fer, training.batch_size_fr),
        labelled,
        unlabelled,
    )
    phase.extra |= run.extra
    return phase


def _found_landmarks(faces: FaceSet) -> Tensor | None:
    if faces.landmarks is None:
        return None
    points = torch.from_numpy(faces.landmarks.astype(np.float32))
    if faces.canonical is not None:
        points[torch.from_numpy(faces.canonical)] = torch.nan
    return points


def _finetune(config: RunConfig, networks: dict[str, nn.Module], labelled: DecodedFaces) -> Phase:
    """The network that saw no label so far, at a fixed rate (paper 4.2)."""
    return Phase(
        "finetune",
        config.training.finetune_steps,
        config,
        {"adaptation": networks["adaptation"]},
        {"adaptation": Rate(config.training.eta_finetune, decays=False)},
        SUPERVISED.step,
        None,
        learning(config.training.batch_size_fer),
        labelled,
    )


def _rounds(
    config: RunConfig,
    rounds: Rounds,
    networks: dict[str, nn.Module],
    labelled: DecodedFaces,
    unlabelled: StepFaces,
) -> list[Phase]:
    training, method, options = config.training, METHODS[config.method], _options(config)
    number_of = rounds.number(options)
    if not training.warm_start_steps:
        raise Face2ExpError(
            f"method {method.name}: its first teacher is what training.warm_start_steps train, and "
            "they are 0: give some"
        )
    if not isinstance(unlabelled, DecodedFaces):
        raise Face2ExpError(
            f"method {method.name}: its teacher looks at every unlabelled image before a round, "
            "which a stream of shards does not offer: name the images as a list"
        )
    if training.num_steps < number_of:
        raise Face2ExpError(
            f"{method.name}.rounds {number_of} share training.num_steps {training.num_steps}: "
            "give each a step"
        )
    ends = [training.num_steps * number // number_of for number in range(number_of + 1)]
    return [
        Phase(
            f"round_{number}",
            ends[number] - ends[number - 1],
            config,
            networks,
            {"adaptation": _rate_b(config)},
            method.step,
            options,
            method.cost(options, training.batch_size_fer, training.batch_size_fr),
            labelled,
            unlabelled,
            opening=partial(open_round, rounds=rounds, number=number, all_faces=unlabelled),
            opening_passes=looking(len(unlabelled)),
        )
        for number in range(1, number_of + 1)
    ]


def open_round(phase: Phase, rounds: Rounds, number: int, all_faces: DecodedFaces) -> None:
    """The student becomes the teacher, a fresh one takes its place, and images are chosen."""
    config, teacher, student = phase.config, phase.networks["base"], phase.networks["adaptation"]
    if number > 1:
        teacher.load_state_dict(student.state_dict())
    seed = initial_seed(config, "adaptation") + number - 1
    fresh = initial_network(config.network, config.data.num_classes, seed)
    student.load_state_dict(fresh.state_dict())
    probabilities = predict_faces(
        teacher,
        all_faces,
        view_size=config.data.view_size,
        workers=config.data.num_workers,
        title=f"label for {phase.name}",
    )
    rows = rounds.choose(phase.options, probabilities, config.seed + number)
    phase.extra["rows"] = torch.from_numpy(rows)
