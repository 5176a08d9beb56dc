"""The same steps on the same tensors by USB's algorithms and by ours, one difference after the
other taken away; `benchmarks.peers` writes what comes out.

Images are noise in float64, so that what is the same is so to the last digits.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks import usb
from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.mean_teacher import MeanTeacherOptions, mean_teacher_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN, Compute, confidence
from face2exp_lib.methods.pseudo_label import PseudoLabelOptions, pseudo_label_step
from face2exp_lib.methods.remixmatch import (
    TURNS,
    WINDOW,
    ReMixMatchOptions,
    TurnedNetwork,
    mixed,
    remixmatch_step,
    turned,
)
from face2exp_lib.methods.uda import UdaOptions, uda_step
from face2exp_lib.networks import build_network
from face2exp_lib.runtime.errors import Face2ExpError

CLASSES, SEED = 7, 0
# Images of each kind, their side in px, the rate and momentum of SGD, and the steps of the run that
# a step is taken from.
NUMBER, SIDE, ETA, MOMENTUM, RUN = 16, 32, 0.01, 0.9, 1000
SPREAD = 10.0  # what the last layer is multiplied by, so that some guesses are confident
EXACT = 1e-9  # sums in another order differ by less, as a share of what a step changes


def relative(ours: float, theirs: float) -> float:
    """How far apart two losses are, as a share of theirs."""
    return abs(ours - theirs) / abs(theirs)


def apart(ours: Tensor, theirs: Tensor, before: Tensor) -> float:
    """The largest difference between two vectors, as a share of the largest change that the second
    is away from what both began with."""
    return float((ours - theirs).abs().max() / (theirs - before).abs().max())


def flat(tensors: Iterable[Tensor]) -> Tensor:
    """All numbers of some tensors in a row."""
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def statistics(network: nn.Module) -> Tensor:
    """Batch norm's running means and variances in a row."""
    return flat(buffer for buffer in network.buffers() if buffer.is_floating_point())


@dataclass(frozen=True)
class Taken:
    """What steps led to.

    Attributes:
        loss: total, of the last step.
        vectors: weights, running statistics and whatever else there is to compare, by name.
        kept: share of the unlabelled images that count, where USB tells it.
    """

    loss: float
    vectors: dict[str, Tensor]
    kept: float | None = None


def mean_of(every: list[Taken]) -> Taken:
    """Of the results of several steps from the same start."""
    vectors = {
        name: torch.stack([taken.vectors[name] for taken in every]).mean(0)
        for name in every[0].vectors
    }
    return Taken(sum(taken.loss for taken in every) / len(every), vectors, every[0].kept)


Inputs = Callable[[StepBatch], usb.Inputs]


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        method: of ours.
        name: what is matched.
        says: what was changed since the case before and, if they differ, why they do.
        ours: network, batches and `Case.progress` to what our steps led to.
        agrees: whether losses and weights are meant to be the same.
        inputs: of USB's step; of several, the mean of what they lead to is compared.
        theirs: settings of USB's algorithm that are not its defaults.
        mend: changes USB's algorithm before its step.
        stored_norm: batch norm uses stored statistics on both sides, not the batch's.
        progress: share of the run done.
        steps: one after the other.
    """

    method: str
    name: str
    says: str
    ours: Callable[[FaceNetwork, list[StepBatch], float], Taken]
    agrees: bool
    inputs: tuple[Inputs, ...]
    theirs: dict[str, Any] = field(default_factory=dict)
    mend: Callable[[Any], None] | None = None
    stored_norm: bool = False
    progress: float = 0.5
    steps: int = 1


def start(*, stored_norm: bool) -> FaceNetwork:
    """A network that is confident of some faces and not of others, in float64."""
    network = build_network("small", CLASSES, pretrained=False, seed=SEED).double()
    with torch.no_grad():
        for batch in noise(40, seed=9):
            network(batch.x_fer)  # statistics for batch norm to store
        last_layer = network.head
        assert isinstance(last_layer, nn.Linear)
        last_layer.weight.mul_(SPREAD)
    return network.train(not stored_norm)


def noise(number: int, seed: int = SEED) -> list[StepBatch]:
    """Batches of noise; the augmented view is the plain one with more of it."""
    generator = torch.Generator().manual_seed(seed)

    def images() -> Tensor:
        shape = (NUMBER, 3, SIDE, SIDE)
        brightness = torch.randn(NUMBER, 3, 1, 1, generator=generator, dtype=torch.float64)
        return brightness + torch.randn(shape, generator=generator, dtype=torch.float64)

    batches = []
    for _ in range(number):
        x_fer, x_fr = images(), images()
        y_fer = torch.randint(CLASSES, (NUMBER,), generator=generator)
        batches.append(StepBatch(x_fer, y_fer, x_fr, x_fr + 0.3 * images()))
    return batches


def sgd(model: nn.Module) -> SGD:
    return SGD(model.parameters(), lr=ETA, momentum=MOMENTUM)


def seen_of(network: nn.Module) -> dict[str, Tensor]:
    return {"weights": flat(network.parameters()), "statistics": statistics(network)}


def our_pseudo_label(
    options: PseudoLabelOptions, network: FaceNetwork, batches: list[StepBatch], progress: float
) -> Taken:
    told = pseudo_label_step(network, sgd(network), batches[0], options, progress)
    return Taken(float(told["loss_s"] + told["w_u"] * told["loss_u"]), seen_of(network))


def our_uda(
    options: UdaOptions, network: FaceNetwork, batches: list[StepBatch], progress: float
) -> Taken:
    told = uda_step(network, sgd(network), batches[0], options, progress)
    return Taken(float(told["loss_s"] + options.w_u * told["loss_u"]), seen_of(network))


def our_fixmatch(
    options: FixMatchOptions, network: FaceNetwork, batches: list[StepBatch], progress: float
) -> Taken:
    told = fixmatch_step(network, sgd(network), batches[0], options)
    return Taken(float(told["loss_s"] + options.w_u * told["loss_u"]), seen_of(network))


def our_mean_teacher(
    options: MeanTeacherOptions,
    updates: int,
    network: FaceNetwork,
    batches: list[StepBatch],
    progress: float,
) -> Taken:
    """`updates` of the student are behind it: the decay of its teacher goes by them."""
    teacher, optimiser = deepcopy(network), sgd(network)
    for done, batch in enumerate(batches, 1):
        told = mean_teacher_step(
            network, teacher, optimiser, batch, options, updates=updates + done, progress=progress
        )
    loss = float(told["loss_s"] + told["w_c"] * told["loss_c"])
    return Taken(loss, seen_of(network) | {"teacher": flat(teacher.parameters())})


def with_turns(network: FaceNetwork) -> TurnedNetwork:
    """With the layer that tells how far an image was turned."""
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        turns = nn.Linear(last_layer.in_features, TURNS).to(last_layer.weight)
    return TurnedNetwork(network, turns)


def our_remixmatch(
    options: ReMixMatchOptions,
    compute: Compute,
    aligned: bool,
    network: FaceNetwork,
    batches: list[StepBatch],
    progress: float,
) -> Taken:
    """`aligned`: the windows of shares hold what USB has of them in its first step, the labels'
    true shares and this batch's guesses."""
    (batch,), seen = batches, {}
    if aligned:
        with torch.no_grad():
            said = deepcopy(network)(batch.x_fr).softmax(1).mean(0)
        seen = {
            "seen_fer": torch.full((WINDOW, CLASSES), 1 / CLASSES, dtype=said.dtype),
            "seen_fr": said.expand(WINDOW, CLASSES),
        }
    turning = with_turns(network)
    told = remixmatch_step(
        turning,
        sgd(turning),
        batch,
        options,
        seen,
        progress=progress,
        generator=torch.Generator().manual_seed(SEED),
        compute=compute,
    )
    ramp = min(1.0, progress / options.ramp)
    mixed_part = options.w_u * told["loss_u"] + options.w_anchor * told["loss_anchor"]
    loss = told["loss_s"] + ramp * mixed_part + options.w_rotation * told["loss_rotation"]
    return Taken(float(loss), seen_of(turning))


UNMIXED = ReMixMatchOptions(mixup=0.0)


def drawn_turns(options: ReMixMatchOptions) -> Tensor:
    """How far our step turns the images: by the same draws."""
    draws, total = np.random.default_rng(SEED), 3 * NUMBER
    if options.mixup:
        draws.beta(options.mixup, options.mixup, total)
    draws.permutation(total)
    return torch.from_numpy(draws.integers(TURNS, size=NUMBER))


def plain_alone(batch: StepBatch) -> usb.Inputs:
    return {"x_lb": batch.x_fer, "y_lb": batch.y_fer, "x_ulb_w": batch.x_fr}


def both_views(batch: StepBatch) -> usb.Inputs:
    return {**plain_alone(batch), "x_ulb_s": batch.x_fr_aug}


def with_labelled(batch: StepBatch) -> usb.Inputs:
    """The labelled images stand among the unlabelled ones, too, as USB's data sets have it."""
    return {
        **plain_alone(batch),
        "x_ulb_w": torch.cat([batch.x_fer, batch.x_fr]),
        "x_ulb_s": torch.cat([batch.x_fer, batch.x_fr_aug]),
    }


def four_views(options: ReMixMatchOptions, second: str, batch: StepBatch) -> usb.Inputs:
    """`second`: which view of ours stands for the second strong one."""
    turns = drawn_turns(options)
    return {
        **plain_alone(batch),
        "x_ulb_s_0": batch.x_fr_aug,
        "x_ulb_s_1": getattr(batch, second),
        "x_ulb_s_0_rot": turned(batch.x_fr_aug, turns),
        "rot_v": turns,
    }


def sharpen(made: Any) -> None:
    """Let USB's hook sharpen a guess that it is handed as probabilities, which it does with scores
    alone."""
    hook = made.hooks_dict["PseudoLabelingHook"]
    given = hook.gen_ulb_targets

    def sharpened(algorithm: Any, logits: Tensor, **others: Any) -> Tensor:
        target: Tensor = given(algorithm, logits.log(), **{**others, "softmax": True})
        return target

    hook.gen_ulb_targets = sharpened


def anneal(made: Any) -> None:
    """Let USB sharpen, leave out labelled images by the probability of their own class, and take
    the mean over the others."""
    sharpen(made)
    threshold_at, cross_entropy = made.TSA, made.ce_loss

    def of_those_kept(logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
        threshold = threshold_at("linear", made.it, made.num_train_iter, made.num_classes)
        kept = confidence(logits.detach(), labels) <= threshold
        losses: Tensor = cross_entropy(logits, labels, reduction=reduction)
        return losses * kept / kept.double().mean()

    made.TSA, made.ce_loss = lambda *_: 1.0, of_those_kept  # its own mask keeps all


NAMES = {
    "pseudo_label": "pseudolabel",
    "uda": "uda",
    "fixmatch": "fixmatch",
    "mean_teacher": "meanteacher",
    "remixmatch": "remixmatch",
}


# What the comparisons found, in the words of the papers and of USB's code.
CASES = [
    Case(
        "pseudo_label",
        "defaults",
        "USB leaves out guesses under 0.95, and its unlabelled weight rises from the first step "
        "to 1 at 0.4 of the run. Lee 2013 names every unlabelled image (Eq. 15), and alpha(t) "
        "rises between T1 and T2 to 3 (Eq. 16): so do we.",
        partial(our_pseudo_label, PseudoLabelOptions()),
        agrees=False,
        inputs=(plain_alone,),
    ),
    Case(
        "pseudo_label",
        "same ramp, no threshold",
        "p_cutoff 0 of USB's; w_u 1, ramp_start 0, ramp_end 0.4 of ours.",
        partial(our_pseudo_label, PseudoLabelOptions(w_u=1.0, ramp_start=0.0, ramp_end=0.4)),
        agrees=True,
        theirs={"p_cutoff": 0.0},
        inputs=(plain_alone,),
        progress=0.2,
    ),
    Case(
        "uda",
        "defaults",
        "USB normalises labelled and unlabelled images as one batch, as the authors' code does and "
        "the paper does not say; and it does not sharpen: its hook hands on as they are guesses "
        "that come as probabilities, as all of UDA's do, and T has no effect. The paper sharpens "
        "with 0.4: so do we.",
        partial(our_uda, UdaOptions()),
        agrees=False,
        inputs=(both_views,),
    ),
    Case(
        "uda",
        "a pass each",
        "use_cat off: each kind is normalised by itself, as ours. The temperature is left.",
        partial(our_uda, UdaOptions()),
        agrees=False,
        theirs={"use_cat": False},
        inputs=(both_views,),
    ),
    Case(
        "uda",
        "a pass each, neither sharpened",
        "And temperature 1 of ours.",
        partial(our_uda, UdaOptions(temperature=1.0)),
        agrees=True,
        theirs={"use_cat": False},
        inputs=(both_views,),
    ),
    Case(
        "uda",
        "a pass each, both sharpened",
        "Or USB's hook is handed scores, and sharpens.",
        partial(our_uda, UdaOptions()),
        agrees=True,
        theirs={"use_cat": False},
        inputs=(both_views,),
        mend=sharpen,
    ),
    Case(
        "uda",
        "one batch, stored statistics, both sharpened",
        "As USB comes but for its hook; batch norm by stored statistics on both sides, by which it "
        "does not matter what stands beside an image.",
        partial(our_uda, UdaOptions()),
        agrees=True,
        inputs=(both_views,),
        mend=sharpen,
        stored_norm=True,
    ),
    Case(
        "uda",
        "annealing, a pass each, both sharpened",
        "A labelled image is left out where its own class is too probable, and the mean is over "
        "those kept (the paper's Z): so do we. USB goes by the most probable class, right or "
        "wrong, and its mean is over all.",
        partial(our_uda, UdaOptions(tsa="linear")),
        agrees=False,
        theirs={"use_cat": False, "tsa_schedule": "linear"},
        inputs=(both_views,),
        mend=sharpen,
    ),
    Case(
        "uda",
        "same annealing, a pass each, both sharpened",
        "Own class and the mean over those kept put into USB's.",
        partial(our_uda, UdaOptions(tsa="linear")),
        agrees=True,
        theirs={"use_cat": False, "tsa_schedule": "linear"},
        inputs=(both_views,),
        mend=anneal,
    ),
    Case(
        "fixmatch",
        "defaults",
        "USB normalises labelled and unlabelled images as one batch, as the authors' code does and "
        "the paper does not say.",
        partial(our_fixmatch, FixMatchOptions()),
        agrees=False,
        inputs=(both_views,),
    ),
    Case(
        "fixmatch",
        "a pass each",
        "use_cat off. What is left apart are running statistics: all three passes of USB's move "
        "them, of ours the labelled one.",
        partial(our_fixmatch, FixMatchOptions()),
        agrees=True,
        theirs={"use_cat": False},
        inputs=(both_views,),
    ),
    Case(
        "fixmatch",
        "one batch, stored statistics",
        "As USB comes; batch norm by stored statistics on both sides.",
        partial(our_fixmatch, FixMatchOptions()),
        agrees=True,
        inputs=(both_views,),
        stored_norm=True,
    ),
    Case(
        "mean_teacher",
        "defaults",
        "The second step. USB's weight of the consistency is 1 and rises in a line, and its "
        "teacher's decay is 0.999 from the first step; it compares the two on unlabelled images "
        "alone, where its data sets put the labelled ones, too. The paper's weight is 100, by "
        "exp(-5 (1 - t)^2), its decay grows, and both kinds of image count: so do ours.",
        partial(our_mean_teacher, MeanTeacherOptions(), 0),
        agrees=False,
        inputs=(both_views,),
        steps=2,
    ),
    Case(
        "mean_teacher",
        "same weight, first step",
        "Weight and decay matched, after both ramps. Teacher and student are the same as yet, so "
        "they differ on no labelled image; the mean over both kinds halves the weight of ours.",
        partial(our_mean_teacher, MeanTeacherOptions(w_c=100.0, ramp=0.0), RUN),
        agrees=True,
        theirs={"ulb_loss_ratio": 50.0},
        inputs=(both_views,),
    ),
    Case(
        "mean_teacher",
        "same weight, second step",
        "Now they differ on labelled images, too, which count in ours.",
        partial(our_mean_teacher, MeanTeacherOptions(w_c=100.0, ramp=0.0), RUN),
        agrees=False,
        theirs={"ulb_loss_ratio": 50.0},
        inputs=(both_views,),
        steps=2,
    ),
    Case(
        "mean_teacher",
        "labelled images among the unlabelled, stored statistics, second step",
        "USB is given the labelled images among the unlabelled ones, and so the weight of ours; "
        "batch norm by stored statistics, since it would normalise them together.",
        partial(our_mean_teacher, MeanTeacherOptions(w_c=100.0, ramp=0.0), RUN),
        agrees=True,
        theirs={"ulb_loss_ratio": 100.0},
        inputs=(with_labelled,),
        stored_norm=True,
        steps=2,
    ),
    Case(
        "remixmatch",
        "defaults",
        "The paper draws 8 strong views of an image, USB 2, we 1. USB mixes by one share for the "
        "whole batch, we by one for each image, as MixMatch's authors do. It aligns guesses with "
        "the true shares of the labels and a moving average of 0.999 that holds the guesses at "
        "hand, and begins with the first batch's; the paper, and we, with means over the last 128 "
        "batches. It normalises mixed images by batches of the labelled ones' number.",
        partial(our_remixmatch, ReMixMatchOptions(), PLAIN, False),
        agrees=False,
        theirs={"ulb_loss_ratio": 1.5},
        inputs=(partial(four_views, ReMixMatchOptions(), "x_fr_aug"),),
    ),
    Case(
        "remixmatch",
        "unmixed, same shares, same views",
        "Nothing is mixed; our windows hold what USB has in its first step; ours in micro-batches "
        "of USB's number. USB's second strong view is once our strong, once our plain one: the "
        "mean of the two weighs both alike, as ours does.",
        partial(our_remixmatch, UNMIXED, Compute(micro_batch_size=NUMBER), True),
        agrees=True,
        theirs={"ulb_loss_ratio": 1.5, "mixup_alpha": 0.0},
        inputs=(
            partial(four_views, UNMIXED, "x_fr_aug"),
            partial(four_views, UNMIXED, "x_fr"),
        ),
    ),
]


def theirs(case: Case, network: FaceNetwork, batches: list[StepBatch]) -> Taken:
    """What USB's steps lead to."""

    def taken(inputs: Inputs) -> Taken:
        np.random.seed(SEED)  # noqa: NPY002 - what USB mixes by
        torch.manual_seed(SEED)
        made = usb.algorithm(
            NAMES[case.method],
            network,
            optimiser=lambda model: (sgd(model), None),
            num_train_iter=RUN,
            **case.theirs,
        )
        if case.method == "remixmatch":
            made.model.rot_classifier.load_state_dict(with_turns(network).turns.state_dict())
        made.model.train(network.training)
        if case.mend:
            case.mend(made)
        loss = 0.0
        for batch in batches:
            loss = usb.step(made, round(case.progress * RUN), inputs(batch))
        vectors = seen_of(made.model)
        if case.method == "mean_teacher":
            vectors["teacher"] = flat(made.ema.shadow.values())
        return Taken(loss, vectors, made.log_dict.get("train/util_ratio"))

    return mean_of([taken(inputs) for inputs in case.inputs])


def compared(case: Case) -> dict[str, Any]:
    """A case's row: losses, how far they are apart as a share of USB's, and of weights, running
    statistics and teacher the largest difference as a share of the largest change of USB's."""
    batches = noise(case.steps)
    network = start(stored_norm=case.stored_norm)
    turning = case.method == "remixmatch"
    before = seen_of(with_turns(deepcopy(network)) if turning else deepcopy(network))
    found = theirs(case, network, batches)
    own = case.ours(network, batches, case.progress)
    row: dict[str, Any] = {
        "method": case.method,
        "case": case.name,
        "says": case.says,
        "loss": own.loss,
        "loss_of_usb": found.loss,
        "loss_apart": relative(own.loss, found.loss),
    }
    for name, vector in own.vectors.items():
        if name == "statistics" and case.stored_norm:
            continue  # nothing moves them
        at_first = before["weights" if name == "teacher" else name]
        row[f"{name}_apart"] = apart(vector, found.vectors[name], at_first)
    if found.kept is not None:
        row["kept"] = found.kept
    row["agrees"] = max(row["loss_apart"], row["weights_apart"]) < EXACT
    row["as_meant"] = row["agrees"] == case.agrees
    return row


def mixing_apart() -> float:
    """The largest difference between images and targets that USB mixed and that we did, by the same
    share and the same partners."""
    (batch,) = noise(1)
    images = [batch.x_fer, batch.x_fr_aug, batch.x_fr]
    targets = list(torch.rand(3, NUMBER, CLASSES, dtype=torch.float64))
    np.random.seed(SEED)  # noqa: NPY002
    torch.manual_seed(SEED)
    mix = usb.semilearn("semilearn.algorithms.utils").mixup_one_target
    x, y, share = mix(torch.cat(images), torch.cat(targets), 0.75, is_bias=True)
    torch.manual_seed(SEED)
    ours = mixed(images, targets, 0.75, _Told(share, torch.randperm(len(x)).numpy()))  # type: ignore[arg-type]
    return max(float((a - b).abs().max()) for a, b in zip(ours, (x, y), strict=True))


class _Told:
    """Draws that are known beforehand."""

    def __init__(self, share: float, partners: np.ndarray) -> None:
        self.share, self.partners = share, partners

    def beta(self, a: float, b: float, number: int) -> np.ndarray:
        return np.full(number, self.share)

    def permutation(self, number: int) -> np.ndarray:
        return self.partners


def all_compared() -> dict[str, Any]:
    """Every case, and the mixing of ReMixMatch.

    Raises:
        Face2ExpError: if one comes out otherwise than `CASES` says.
    """
    rows = [compared(case) for case in CASES]
    wrong = [f"{row['method']}, {row['case']}" for row in rows if not row.pop("as_meant")]
    if wrong:
        raise Face2ExpError(f"come out otherwise than written down: {'; '.join(wrong)}")
    return {
        "images_of_each_kind": NUMBER,
        "side_px": SIDE,
        "rate": ETA,
        "exact": EXACT,
        "cases": rows,
        "mixing_apart": mixing_apart(),
    }
