"""Every method on one page: its networks, which of them is deployed, and its phases.

======================================  ================  ===============================
method                                  trained           phases
======================================  ================  ===============================
supervised, class_balanced, scn         one network       labels alone
pseudo_label, uda, fixmatch             one network       warm start, the method
noisy_student                           teacher, student  teacher's warm start; rounds
meta_pseudo_labels                      teacher, student  warm start of both; method;
                                                          fine-tune of the student
meta                                    B, A              warm start of both; Algorithm 1;
                                                          fine-tune of A
======================================  ================  ===============================

A method's teacher is `base` and its student `adaptation`, Meta-Face2Exp's names. The warm start is
the same supervised steps for all that have it, so that methods which learn from unlabelled faces
begin at the same network. It is Meta-Face2Exp's; the rivals' papers begin at fresh weights, which
`training.warm_start_steps: 0` does, but for Noisy Student, whose first teacher it is. What a step
does is in `method_steps`.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from face2exp_lib.config import RunConfig
from face2exp_lib.data.batches import DecodedFaces, StepFaces
from face2exp_lib.data.sampling import class_counts
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.data.splits import RunData
from face2exp_lib.data.stream import unlabelled_faces
from face2exp_lib.evaluation.inference import predict_faces
from face2exp_lib.methods.class_balanced import class_weights
from face2exp_lib.methods.cost import LABELS_ALONE, learning, looking, step_passes
from face2exp_lib.methods.method_steps import STEPS, class_balanced, noisy_student, scn, supervised
from face2exp_lib.methods.noisy_student import choose_images
from face2exp_lib.methods.scn import ScaledNetwork, build_importance_head
from face2exp_lib.networks import build_network, synchronised
from face2exp_lib.runtime import distributed as world
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.phases import Phase, Rate

TWO_NETWORKS = ("noisy_student", "meta_pseudo_labels", "meta")
APART = 1_000_003  # of the seeds of two networks' weights (paper 3.1: weights of their own)


@dataclass
class Plan:
    """A run before it begins.

    Attributes:
        networks: all that a checkpoint keeps, by name.
        deployed: the name of the one that evaluation and prediction use.
        phases: in their order.
    """

    networks: dict[str, nn.Module]
    deployed: str
    phases: list[Phase]

    @property
    def validated(self) -> dict[str, nn.Module]:
        """The networks that name classes."""
        return {name: net for name, net in self.networks.items() if name != "importance"}


def initial_seed(config: RunConfig, network: str) -> int:
    """Of a network's first weights; `network` is `base` or `adaptation`."""
    return config.seed + APART * (network == "adaptation")


def deployed_network(config: RunConfig) -> str:
    """The network that evaluation and prediction use."""
    return "adaptation" if config.method in TWO_NETWORKS else "base"


def learns_from_all(config: RunConfig) -> bool:
    """Whether a run's warm start takes all labels of D'_FER, and not only those of D_FER."""
    training = config.training
    return (
        config.method not in LABELS_ALONE
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
    names = ("base", "adaptation")[: 2 if config.method in TWO_NETWORKS else 1]
    networks = {
        name: build_network(
            config.network.backbone,
            config.data.num_classes,
            pretrained=config.network.pretrained,
            seed=initial_seed(config, name),
        ).to(device)
        for name in names
    }
    if config.compute.batch_norm == "sync" and world.size() > 1:
        networks = {name: synchronised(network) for name, network in networks.items()}
    labelled = DecodedFaces(data.labelled, config.data.stored_size, in_memory=config.data.in_memory)
    plan = Plan(networks, deployed_network(config), [])
    if config.method in LABELS_ALONE:
        plan.phases.append(_labels_alone(config, data, networks, labelled))
        return plan
    unlabelled = unlabelled_faces(data.unlabelled, config.data)
    if config.training.warm_start_steps:
        plan.phases.append(_warm_start(config, data, networks, labelled))
    if config.method == "noisy_student":
        plan.phases += _noisy_student_rounds(config, networks, labelled, unlabelled)
    else:
        plan.phases.append(_main(config, networks, labelled, unlabelled))
    if config.method in ("meta", "meta_pseudo_labels") and config.training.finetune_steps:
        plan.phases.append(_finetune(config, networks, labelled))
    return plan


def _rate_b(config: RunConfig) -> Rate:
    return Rate(config.training.eta_b, config.training.momentum_b)


def _labels_alone(
    config: RunConfig, data: RunData, networks: dict[str, nn.Module], labelled: DecodedFaces
) -> Phase:
    step, trained = supervised, networks
    if config.method == "class_balanced":
        names = class_names(config.data.num_classes)
        counts = class_counts(data.labelled.known_labels(), names)
        weights = class_weights(list(counts.values()), config.class_balanced.beta).float()
        step = partial(class_balanced, weights=weights)
    elif config.method == "scn":
        if int(config.scn.high_share * config.training.batch_size_fer) == 0:
            raise Face2ExpError(
                f"scn.high_share {config.scn.high_share} of training.batch_size_fer "
                f"{config.training.batch_size_fer} is not one image: raise one of them"
            )
        head = build_importance_head(networks["base"], config.seed + 2 * APART)
        networks["importance"] = head
        step, trained = scn, {"base": ScaledNetwork(networks["base"], head)}
    training = config.training
    passes = step_passes(config.method, training.batch_size_fer, 0)
    phase = Phase(
        config.method,
        training.num_steps,
        config,
        trained,
        {"base": _rate_b(config)},
        step,
        passes,
        labelled,
    )
    if config.method == "scn":
        phase.extra["labels"] = labelled.labels.clone()
    return phase


def _warm_start(
    config: RunConfig, data: RunData, networks: dict[str, nn.Module], labelled: DecodedFaces
) -> Phase:
    """B and A, each from its own weights; of Noisy Student the teacher alone."""
    training = config.training
    if training.warm_start_labels == "long_tailed":
        size = config.data.stored_size
        labelled = DecodedFaces(data.long_tailed, size, in_memory=config.data.in_memory)
    if config.method == "noisy_student":
        networks = {"base": networks["base"]}
    rates = {name: _rate_b(config) for name in networks}
    passes = learning(training.batch_size_fer * len(networks))
    return Phase(
        "warm_start",
        training.warm_start_steps,
        config,
        networks,
        rates,
        supervised,
        passes,
        labelled,
    )


def _main(
    config: RunConfig,
    networks: dict[str, nn.Module],
    labelled: DecodedFaces,
    unlabelled: StepFaces,
) -> Phase:
    training = config.training
    rates = {"base": _rate_b(config)}
    if "adaptation" in networks:
        rates["adaptation"] = Rate(training.eta_a, training.momentum_a)
    mpl = config.method == "meta_pseudo_labels"
    passes = step_passes(
        config.method,
        training.batch_size_fer,
        training.batch_size_fr,
        feedback=config.meta_pseudo_labels.feedback if mpl else config.meta.feedback,
        moving_target=config.meta.consistency_target == "moving",
        together=config.meta.batch_norm == "together",
    )
    return Phase(
        config.method,
        training.num_steps,
        config,
        networks,
        rates,
        STEPS[config.method],
        passes,
        labelled,
        unlabelled,
    )


def _finetune(config: RunConfig, networks: dict[str, nn.Module], labelled: DecodedFaces) -> Phase:
    """The network that saw no label so far, at a fixed rate (paper 4.2)."""
    return Phase(
        "finetune",
        config.training.finetune_steps,
        config,
        {"adaptation": networks["adaptation"]},
        {"adaptation": Rate(config.training.eta_finetune, decays=False)},
        supervised,
        learning(config.training.batch_size_fer),
        labelled,
    )


def _noisy_student_rounds(
    config: RunConfig,
    networks: dict[str, nn.Module],
    labelled: DecodedFaces,
    unlabelled: StepFaces,
) -> list[Phase]:
    training, options = config.training, config.noisy_student
    if not training.warm_start_steps:
        raise Face2ExpError(
            "method noisy_student: its first teacher is what training.warm_start_steps train, and "
            "they are 0: give some"
        )
    if not isinstance(unlabelled, DecodedFaces):
        raise Face2ExpError(
            "method noisy_student: its teacher looks at every unlabelled image before a round, "
            "which a stream of shards does not offer: name the images as a list"
        )
    if training.num_steps < options.rounds:
        raise Face2ExpError(
            f"noisy_student.rounds {options.rounds} share training.num_steps {training.num_steps}: "
            "give each a step"
        )
    ends = [training.num_steps * number // options.rounds for number in range(options.rounds + 1)]
    return [
        Phase(
            f"round_{number}",
            ends[number] - ends[number - 1],
            config,
            networks,
            {"adaptation": _rate_b(config)},
            noisy_student,
            step_passes("noisy_student", training.batch_size_fer, training.batch_size_fr),
            labelled,
            unlabelled,
            opening=partial(open_round, number=number, all_faces=unlabelled),
            opening_passes=looking(len(unlabelled)),
        )
        for number in range(1, options.rounds + 1)
    ]


def open_round(phase: Phase, number: int, all_faces: DecodedFaces) -> None:
    """The student becomes the teacher, a fresh one takes its place, and images are chosen."""
    config, teacher, student = phase.config, phase.networks["base"], phase.networks["adaptation"]
    if number > 1:
        teacher.load_state_dict(student.state_dict())
    fresh = build_network(
        config.network.backbone,
        config.data.num_classes,
        pretrained=config.network.pretrained,
        seed=initial_seed(config, "adaptation") + number - 1,
    )
    student.load_state_dict(fresh.state_dict())
    data, options = config.data, config.noisy_student
    view_size, workers, title = data.view_size, data.num_workers, f"label for {phase.name}"
    probabilities = predict_faces(
        teacher, all_faces, view_size=view_size, workers=workers, title=title
    )
    per_class = options.per_class or len(all_faces) // data.num_classes
    rows = choose_images(
        probabilities,
        per_class=per_class,
        seed=config.seed + number,
        threshold=options.threshold,
    )
    if len(rows) == 0:
        raise Face2ExpError(
            f"noisy_student.threshold {options.threshold}: the teacher is as sure as that of no "
            "image: lower it (--resume --changed), or train its first teacher longer in another "
            "run (training.warm_start_steps)"
        )
    phase.extra["rows"] = torch.from_numpy(rows)
