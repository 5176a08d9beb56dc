"""A method's step over a phase: which of its networks, options and draws its step function takes.

Each updates the networks in place and returns 0-d losses and what else a run reports.
"""

from torch import Tensor

from face2exp_lib.methods.class_balanced import class_balanced_step
from face2exp_lib.methods.fixmatch import fixmatch_step
from face2exp_lib.methods.meta_face2exp import meta_step, supervised_step
from face2exp_lib.methods.meta_pseudo_labels import meta_pseudo_labels_step
from face2exp_lib.methods.noisy_student import noisy_student_step
from face2exp_lib.methods.pseudo_label import pseudo_label_step
from face2exp_lib.methods.scn import ScaledNetwork, scn_step
from face2exp_lib.methods.uda import uda_step
from face2exp_lib.training.phases import Phase, StepInput

Losses = dict[str, Tensor]


def supervised(phase: Phase, given: StepInput) -> Losses:
    """L_s of each network."""
    losses: Losses = {}
    for name, network in phase.networks.items():
        found = supervised_step(
            network,
            phase.optimisers[name],
            given.batch.x_fer,
            given.batch.y_fer,
            phase.config.compute,
        )
        losses["loss_s" if not losses else f"loss_s_{name}"] = found["loss_s"]
    return losses


def class_balanced(phase: Phase, given: StepInput, weights: Tensor) -> Losses:
    return class_balanced_step(
        phase.networks["base"],
        phase.optimisers["base"],
        given.batch.x_fer,
        given.batch.y_fer,
        weights.to(phase.device),
        phase.config.compute,
    )


def scn(phase: Phase, given: StepInput) -> Losses:
    network = phase.networks["base"]
    assert isinstance(network, ScaledNetwork)
    labels = phase.extra["labels"]
    seen = given.step * phase.config.training.batch_size_fer
    outcome = scn_step(
        network,
        phase.optimisers["base"],
        given.batch.x_fer,
        labels[given.indices_fer].to(phase.device),
        phase.config.scn,
        1 + seen // len(labels),
        phase.config.compute,
    )
    labels[given.indices_fer] = outcome.pop("y_new").cpu()
    return outcome


def pseudo_label(phase: Phase, given: StepInput) -> Losses:
    return pseudo_label_step(
        phase.networks["base"],
        phase.optimisers["base"],
        given.batch,
        phase.config.pseudo_label,
        phase.progress(given.step),
        phase.config.compute,
    )


def uda(phase: Phase, given: StepInput) -> Losses:
    return uda_step(
        phase.networks["base"],
        phase.optimisers["base"],
        given.batch,
        phase.config.uda,
        phase.progress(given.step),
        phase.config.compute,
    )


def fixmatch(phase: Phase, given: StepInput) -> Losses:
    return fixmatch_step(
        phase.networks["base"],
        phase.optimisers["base"],
        given.batch,
        phase.config.fixmatch,
        phase.config.compute,
    )


def noisy_student(phase: Phase, given: StepInput) -> Losses:
    return noisy_student_step(
        phase.networks["adaptation"],
        phase.networks["base"].eval(),
        phase.optimisers["adaptation"],
        given.batch,
        phase.config.noisy_student,
        phase.generator("dropout", given.step),
        phase.config.compute,
    )


def meta_pseudo_labels(phase: Phase, given: StepInput) -> Losses:
    return meta_pseudo_labels_step(
        phase.networks["base"],
        phase.networks["adaptation"],
        phase.optimisers["base"],
        phase.optimisers["adaptation"],
        given.batch,
        phase.config.meta_pseudo_labels,
        progress=phase.progress(given.step),
        history=phase.history,
        generator=phase.generator("labels", given.step),
        compute=phase.config.compute,
    )


def meta(phase: Phase, given: StepInput) -> Losses:
    every = phase.config.telemetry.image_feedback_every
    return meta_step(
        phase.networks["base"],
        phase.networks["adaptation"],
        phase.optimisers["base"],
        phase.optimisers["adaptation"],
        given.batch,
        phase.config.meta.at(given.step),
        phase.history,
        phase.config.compute,
        by_image=every > 0 and given.step % every == 0,
    )


STEPS = {
    "pseudo_label": pseudo_label,
    "uda": uda,
    "fixmatch": fixmatch,
    "meta_pseudo_labels": meta_pseudo_labels,
    "meta": meta,
}
