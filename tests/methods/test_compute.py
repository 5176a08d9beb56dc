"""Every rival under the engine's options: micro-batches add up, lower precision comes close."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.ada_cm import AdaCmOptions, ada_cm_step
from face2exp_lib.methods.cake import CakeOptions, cake_step
from face2exp_lib.methods.cake import form as cake_form
from face2exp_lib.methods.class_balanced import class_balanced_step
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.freematch import FreeMatchOptions, freematch_step
from face2exp_lib.methods.gacnn import GacnnOptions, gacnn_step
from face2exp_lib.methods.gacnn import form as gacnn_form
from face2exp_lib.methods.ldl_alsg import LdlAlsgOptions, ldl_alsg_step
from face2exp_lib.methods.mean_teacher import MeanTeacherOptions, mean_teacher_step
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.meta_pseudo_labels import (
    MetaPseudoLabelsOptions,
    meta_pseudo_labels_step,
)
from face2exp_lib.methods.method import FormContext, StepBatch
from face2exp_lib.methods.noisy_student import NoisyStudentOptions, noisy_student_step
from face2exp_lib.methods.passes import PLAIN, Compute
from face2exp_lib.methods.pseudo_label import PseudoLabelOptions, pseudo_label_step
from face2exp_lib.methods.ran import RanOptions, WithWeights, ran_step
from face2exp_lib.methods.ran import form as ran_form
from face2exp_lib.methods.remixmatch import ReMixMatchOptions, TurnedNetwork, remixmatch_step
from face2exp_lib.methods.scn import ScaledNetwork, ScnOptions, build_importance_head, scn_step
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.methods.uda import UdaOptions, uda_step
from face2exp_lib.networks import FaceNetwork
from tests.methods.nets import images, sgd, small, state

Form = Callable[[FormContext], FaceNetwork]
Step = Callable[[FaceNetwork, FaceNetwork, StepBatch, Compute], dict[str, Tensor]]


def scn(one: FaceNetwork, _: FaceNetwork, batch: StepBatch, compute: Compute) -> dict[str, Tensor]:
    network = ScaledNetwork(one, build_importance_head(one, seed=0))
    options = ScnOptions(w_rank=0.0)  # whose groups are those of a micro-batch
    return scn_step(network, sgd(network), batch.x_fer, batch.y_fer, options, 10, compute)


def remixmatch(
    one: FaceNetwork, _: FaceNetwork, batch: StepBatch, compute: Compute
) -> dict[str, Tensor]:
    assert isinstance(one.head, nn.Linear)
    turns = nn.Linear(one.head.in_features, 4).to(one.head.weight)
    nn.init.constant_(turns.weight, 0.01)
    nn.init.zeros_(turns.bias)
    network, generator = TurnedNetwork(one, turns), torch.Generator().manual_seed(0)
    return remixmatch_step(
        network,
        sgd(network),
        batch,
        ReMixMatchOptions(),
        {},
        progress=1.0,
        generator=generator,
        compute=compute,
    )


def formed(form: Form, network: FaceNetwork, options: Any) -> Any:
    like = next(network.parameters())
    return form(FormContext(network, options, 40, 32, 0)).to(like)


def ran(one: FaceNetwork, _: FaceNetwork, batch: StepBatch, compute: Compute) -> dict[str, Tensor]:
    network, options = WithWeights(formed(ran_form, one, RanOptions())), RanOptions(margin=1.0)
    found = ran_step(network, sgd(network), batch.x_fer, batch.y_fer, options, None, compute)
    return found | dict(network.named_parameters())


def gacnn(
    one: FaceNetwork, _: FaceNetwork, batch: StepBatch, compute: Compute
) -> dict[str, Tensor]:
    network = formed(gacnn_form, one, GacnnOptions(parts="whole"))
    found = gacnn_step(network, sgd(network), batch.x_fer, batch.y_fer, None, compute)
    return found | dict(network.named_parameters())


def meta_pseudo_labels(
    one: FaceNetwork, other: FaceNetwork, batch: StepBatch, compute: Compute
) -> dict[str, Tensor]:
    return meta_pseudo_labels_step(
        one,
        other,
        sgd(one),
        sgd(other),
        batch,
        MetaPseudoLabelsOptions(baseline=False, confidence=0.2),
        progress=1.0,
        history=FeedbackHistory(),
        generator=torch.Generator().manual_seed(0),
        compute=compute,
    )


def noisy_student(
    one: FaceNetwork, other: FaceNetwork, batch: StepBatch, compute: Compute
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return noisy_student_step(
        one, other.eval(), sgd(one), batch, NoisyStudentOptions(), generator, compute
    )


def meta(**options: Any) -> Step:
    """Two steps, of which the second looks back on the first."""

    def step(
        one: FaceNetwork, other: FaceNetwork, batch: StepBatch, compute: Compute
    ) -> dict[str, Tensor]:
        history, found = FeedbackHistory(), {}
        for seed in (0, 1):
            found = meta_step(
                one,
                other,
                SGD(one.parameters(), lr=0.01),
                SGD(other.parameters(), lr=0.01),
                batch,
                MetaOptions(**options),
                history,
                compute,
                generator=torch.Generator().manual_seed(seed),
            )
        return found | {
            key: value for key, value in history.state_dict().items() if key != "squares"
        }

    return step


STEPS: dict[str, Step] = {
    "class_balanced": lambda one, _, b, compute: class_balanced_step(
        one, sgd(one), b.x_fer, b.y_fer, torch.arange(1, 8).to(b.x_fer), compute
    ),
    "scn": scn,
    "cake": lambda one, _, b, compute: cake_step(
        formed(cake_form, one, CakeOptions()), sgd(one), b.x_fer, b.y_fer, compute
    ),
    "ran": ran,
    "ldl_alsg": lambda one, _, b, compute: ldl_alsg_step(
        one,
        sgd(one),
        b.x_fer,
        b.y_fer,
        torch.linspace(0, 1, 6 * 2 * 7).view(6, 2, 7).to(b.x_fer).softmax(2),
        torch.linspace(0, 1, 12).view(6, 2).to(b.x_fer),
        LdlAlsgOptions(),
        compute,
    ),
    "gacnn": gacnn,
    "pseudo_label": lambda one, _, b, compute: pseudo_label_step(
        one, sgd(one), b, PseudoLabelOptions(), 0.5, compute
    ),
    "noisy_student": noisy_student,
    "uda": lambda one, _, b, compute: uda_step(
        one, sgd(one), b, UdaOptions(confidence=0.2), 0.5, compute
    ),
    "fixmatch": lambda one, _, b, compute: fixmatch_step(
        one, sgd(one), b, FixMatchOptions(confidence=0.2), compute
    ),
    "mean_teacher": lambda one, other, b, compute: mean_teacher_step(
        one, other, sgd(one), b, MeanTeacherOptions(), updates=1, progress=1.0, compute=compute
    ),
    "remixmatch": remixmatch,
    "freematch": lambda one, _, b, compute: freematch_step(  # w_f: over a micro-batch each
        one, sgd(one), b, FreeMatchOptions(w_f=0.0), {}, compute
    ),
    "ada_cm": lambda one, _, b, compute: ada_cm_step(
        one, sgd(one), b, AdaCmOptions(), torch.full((7,), 0.2).to(b.x_fer), compute
    ),
    "meta_pseudo_labels": meta_pseudo_labels,
    "meta, images": meta(
        feedback="trapezoid",
        feedback_unit="image",
        feedback_norm="standard",
        feedback_batch="shuffled",
        pseudo_labels="drawn",
        balance="align",
        consistency_temperature=0.5,
        consistency_threshold=0.2,
    ),
    "meta, weights": meta(
        feedback_unit="image",
        feedback_norm="minus_average",
        reweight="image",
        balance="pseudo",
        pseudo_label_threshold=0.2,
    ),
}


class Linear(FaceNetwork):
    """Without batch norm, parts of a batch know nothing of each other."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.fc = nn.Linear(3 * 8 * 8, 7).double()

    def features(self, x: Tensor) -> Tensor:
        return x[:, :, :8, :8].flatten(1)


def doubled(batch: StepBatch) -> StepBatch:
    return StepBatch(
        batch.x_fer.double(), batch.y_fer, batch.x_fr.double(), batch.x_fr_aug.double()
    )


@pytest.mark.parametrize("name", list(STEPS))
def test_micro_batches_add_up_to_the_batch(name: str) -> None:
    found: list[Any] = []
    for compute in (PLAIN, Compute(micro_batch_size=2)):
        one, other = Linear(0), Linear(1)
        result = STEPS[name](one, other, doubled(images()), compute)
        found.append((result, state(one, other)))
    (whole, weights), (parts, weights_of_parts) = found
    for value, wanted in zip(weights_of_parts, weights, strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-12, rtol=0)
    for key, wanted in whole.items():
        torch.testing.assert_close(parts[key], wanted, atol=1e-12, rtol=0, msg=key)


@pytest.mark.parametrize("name", list(STEPS))
def test_bfloat16_comes_close(name: str) -> None:
    exact = STEPS[name](small(0), small(1), images(), PLAIN)
    rounded = STEPS[name](small(0), small(1), images(), Compute(precision="bfloat16"))
    assert rounded["loss_s"].item() == pytest.approx(exact["loss_s"].item(), rel=0.02)
    assert rounded["loss_s"] != exact["loss_s"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch
@pytest.mark.parametrize("name", ["noisy_student", "scn", "remixmatch", "ada_cm"])
def test_what_takes_the_last_layer_apart_works_in_a_compiled_network(name: str) -> None:
    """These steps call its two halves, which run uncompiled."""
    batch, found = doubled(images()), []
    for compiled in (False, True):
        one, other = Linear(0), Linear(1)
        if compiled:
            one.compile(backend="eager")  # traced as for any backend
        supervised_step(one, sgd(one), batch.x_fer, batch.y_fer)
        STEPS[name](one, other, batch, Compute(compile=compiled))
        found.append(state(one))
    for value, wanted in zip(*found, strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-14, rtol=0)
