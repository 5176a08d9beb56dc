"""The counts against real calls."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods import METHODS
from face2exp_lib.methods.ada_cm import AdaCmOptions, ada_cm_step
from face2exp_lib.methods.cake import cake_step
from face2exp_lib.methods.class_balanced import class_balanced_step
from face2exp_lib.methods.cost import Passes, looking
from face2exp_lib.methods.dmue import Auxiliaries, DmueOptions, MultiBranchNetwork, dmue_step
from face2exp_lib.methods.feedback import FeedbackHistory, FeedbackWay
from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.freematch import FreeMatchOptions, freematch_step
from face2exp_lib.methods.gacnn import GacnnOptions, GatedNetwork, gacnn_step
from face2exp_lib.methods.ipa2lt import Ipa2ltOptions, LatentTruth, Transitions, ipa2lt_step
from face2exp_lib.methods.ldl_alsg import LdlAlsgOptions, ldl_alsg_step
from face2exp_lib.methods.mean_teacher import MeanTeacherOptions, mean_teacher_step
from face2exp_lib.methods.meta_face2exp import META, MetaOptions, meta_step
from face2exp_lib.methods.meta_pseudo_labels import (
    MetaPseudoLabelsOptions,
    meta_pseudo_labels_step,
)
from face2exp_lib.methods.method import Method, StepBatch
from face2exp_lib.methods.noisy_student import NoisyStudentOptions, noisy_student_step
from face2exp_lib.methods.pseudo_label import PseudoLabelOptions, pseudo_label_step
from face2exp_lib.methods.ran import FIXED, RanOptions, RegionNetwork, WithWeights, ran_step
from face2exp_lib.methods.remixmatch import ReMixMatchOptions, TurnedNetwork, remixmatch_step
from face2exp_lib.methods.scn import ImportanceHead, ScaledNetwork, ScnOptions, scn_step
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.methods.uda import UdaOptions, uda_step
from face2exp_lib.networks import FaceNetwork

N, M = 5, 3


class Counted(FaceNetwork):
    """A linear net that counts the images which pass through it, either way."""

    def __init__(self, counts: dict[str, int]) -> None:
        super().__init__()
        self.fc, self.counts, self.images = nn.Linear(4, 3), counts, nn.Identity()
        self.images.register_forward_hook(self._count)
        self.slope = nn.Parameter(torch.ones(1))  # of the features, so that they pass a gradient

    def features(self, x: Tensor) -> Tensor:
        return self.images(self.slope * x.flatten(1))

    def _count(self, _: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        self.counts["forward"] += len(logits)
        if logits.requires_grad:
            logits.register_hook(self._count_backward)

    def _count_backward(self, grad: Tensor) -> None:
        self.counts["backward"] += len(grad)


def sgd(*networks: nn.Module) -> SGD:
    return SGD([parameter for net in networks for parameter in net.parameters()], lr=0.1)


def meta(one: nn.Module, other: nn.Module, batch: StepBatch, options: MetaOptions) -> None:
    rates, generator = (sgd(one), sgd(other)), torch.Generator()
    meta_step(one, other, *rates, batch, options, FeedbackHistory(), generator=generator)


def rivals() -> dict[str, Callable[[FaceNetwork, FaceNetwork, StepBatch], Any]]:
    generator, head, turns = torch.Generator(), ImportanceHead(4), nn.Linear(4, 4)
    generator, head, auxiliaries = torch.Generator(), ImportanceHead(4), Auxiliaries(4, 3)
    return {
        "supervised": lambda one, _, b: supervised_step(one, sgd(one), b.x_fer, b.y_fer),
        "class_balanced": lambda one, _, b: class_balanced_step(
            one, sgd(one), b.x_fer, b.y_fer, torch.ones(3)
        ),
        "cake": lambda one, _, b: cake_step(one, sgd(one), b.x_fer, b.y_fer),
        "dmue": lambda one, _, b: dmue_step(
            MultiBranchNetwork(one, auxiliaries),
            sgd(one, auxiliaries),
            b.x_fer,
            b.y_fer,
            DmueOptions(),
            0,
        ),
        "ran": lambda one, _, b: ran_step(
            regions := WithWeights(RegionNetwork(one, torch.tensor(FIXED), RanOptions())),
            sgd(regions),
            b.x_fer.view(-1, 1, 2, 2),
            b.y_fer,
            RanOptions(),
        ),
        "gacnn": lambda one, _, b: gacnn_step(
            gated := GatedNetwork(one, GacnnOptions(parts="whole"), torch.rand(5, 2), 2),
            sgd(gated),
            b.x_fer,
            b.y_fer,
        ),
        "ldl_alsg": lambda one, _, b: ldl_alsg_step(
            one,
            sgd(one),
            b.x_fer,
            b.y_fer,
            torch.rand(N, 2, 3),
            torch.ones(N, 2),
            LdlAlsgOptions(),
        ),
        "ipa2lt": lambda one, _, b: ipa2lt_step(
            ltnet := LatentTruth(one, Transitions(2, 3)),
            sgd(ltnet),
            b.x_fer,
            torch.stack([b.y_fer, b.y_fer], 1),
            Ipa2ltOptions(),
        ),
        "scn": lambda one, _, b: scn_step(
            ScaledNetwork(one, head), sgd(one, head), b.x_fer, b.y_fer, ScnOptions(), epoch=20
        ),
        "pseudo_label": lambda one, _, b: pseudo_label_step(
            one, sgd(one), b, PseudoLabelOptions(), 0.0
        ),
        "noisy_student": lambda one, other, b: noisy_student_step(
            one, other.eval(), sgd(one), b, NoisyStudentOptions(), generator
        ),
        "uda": lambda one, _, b: uda_step(one, sgd(one), b, UdaOptions(), 0.5),
        "fixmatch": lambda one, _, b: fixmatch_step(one, sgd(one), b, FixMatchOptions()),
        "mean_teacher": lambda one, other, b: mean_teacher_step(
            one, other, sgd(one), b, MeanTeacherOptions(), updates=1, progress=0.5
        ),
        "remixmatch": lambda one, _, b: remixmatch_step(
            TurnedNetwork(one, turns),
            sgd(one, turns),
            b,
            ReMixMatchOptions(),
            {},
            progress=0.5,
            generator=generator,
        ),
        "freematch": lambda one, _, b: freematch_step(one, sgd(one), b, FreeMatchOptions(), {}),
        "ada_cm": lambda one, _, b: ada_cm_step(
            one, sgd(one), b, AdaCmOptions(), torch.full((3,), 0.5)
        ),
        "meta_pseudo_labels": lambda one, other, b: meta_pseudo_labels_step(
            one,
            other,
            sgd(one),
            sgd(other),
            b,
            MetaPseudoLabelsOptions(),
            progress=0.5,
            history=FeedbackHistory(),
            generator=generator,
        ),
        "meta": lambda one, other, b: meta(one, other, b, MetaOptions()),
    }


def counted(step: Callable[[FaceNetwork, FaceNetwork, StepBatch], Any]) -> Passes:
    counts = {"forward": 0, "backward": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        batch = StepBatch(
            torch.randn(N, 4, 1, 1),
            torch.tensor([0, 1, 2, 0, 1]),
            torch.randn(M, 4, 1, 1),
            torch.randn(M, 4, 1, 1),
        )
        step(Counted(counts), Counted(counts), batch)
    return Passes(**counts)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_counts_are_those_of_real_calls(method: Method) -> None:
    options = method.options() if method.options else None
    assert counted(rivals()[method.name]) == method.cost(options, N, M)


@pytest.mark.parametrize("feedback", ["exact", "trapezoid", "finite_difference", "none"])
@pytest.mark.parametrize("target", ["fixed", "moving"])
@pytest.mark.parametrize("batch_norm", ["separate", "together"])
def test_options_of_meta_face2exp_are_counted(
    feedback: FeedbackWay,
    target: Literal["fixed", "moving"],
    batch_norm: Literal["separate", "together"],
) -> None:
    options = MetaOptions(feedback=feedback, consistency_target=target, batch_norm=batch_norm)
    assert counted(partial(meta, options=options)) == META.cost(options, N, M)


def test_a_forward_mode_derivative_is_one_call_and_counts_as_three_looks() -> None:
    options = MetaOptions(feedback="jvp")
    called = counted(partial(meta, options=options))
    assert called + looking(2 * N) == META.cost(options, N, M)


@pytest.mark.parametrize("batch_norm", ["separate", "together"])
@pytest.mark.parametrize(
    ("options", "slopes"),  # passes of M images in forward mode, each of which is one call
    [
        ({"feedback_unit": "image"}, 1),
        ({"feedback_unit": "image", "feedback": "trapezoid", "consistency_target": "moving"}, 1),
        ({"reweight": "image"}, 1),
        ({"reweight": "image", "feedback": "trapezoid"}, 1),
        ({"reweight": "image", "feedback": "finite_difference"}, 1),
        ({"reweight": "image", "feedback": "none"}, 1),
        ({"reweight": "image", "feedback_unit": "image"}, 2),
        ({"reweight": "image", "feedback_unit": "image", "feedback": "trapezoid"}, 2),
        ({"pseudo_labels": "drawn", "balance": "align", "pseudo_label_threshold": 0.5}, 0),
        ({"balance": "pseudo", "consistency_threshold": 0.5}, 0),
        ({"adaptation_labels": "steps"}, 0),
        ({"adaptation_labels": "steps", "feedback": "trapezoid"}, 0),
        ({"adaptation_labels": "steps", "feedback": "finite_difference"}, 0),
        ({"adaptation_labels": "steps", "feedback": "none"}, 0),
    ],
)
def test_departures_from_the_paper_are_counted(
    options: dict[str, Any], slopes: int, batch_norm: Literal["separate", "together"]
) -> None:
    chosen = MetaOptions(batch_norm=batch_norm, **options)
    called = counted(partial(meta, options=chosen))
    images = M if batch_norm == "separate" else N + M
    assert called + looking(2 * slopes * images) == META.cost(chosen, N, M)


def test_cost_counts_a_backward_pass_twice() -> None:
    assert Passes(forward=10, backward=7).cost == 24
