"""What a run of Meta-Face2Exp chooses: readings of the paper, and departures from it."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field

from face2exp_lib.methods.feedback import FeedbackBatch, FeedbackNorm, FeedbackUnit, FeedbackWay


@dataclass(frozen=True)
class MetaOptions:
    """Readings of the paper where it leaves a choice, the weights of the losses (all 1 there), and
    departures from it. The defaults are the paper's.

    Attributes:
        adaptation_view: what A learns from: `plain`, x_FR as in Eq. 1 and line 7 (default), or
            `augmented`, Aug(x_FR) as in the text of 3.3.
        adaptation_labels: when A sees labels: in the `finetune` alone, as in the paper (default),
            or in `steps`, too: once f is known, A goes on along the labelled gradient that f has
            just looked at, by an update of its own. With `exact` and `trapezoid` that costs
            nothing; the other ways to f have no such gradient, and a pass is taken for it.
        consistency_target: B(x_FR) in L_c (Eq. 4): `fixed`, a constant, as in the consistency
            training that the paper builds on (default), or `moving`, differentiated like the rest,
            as line 11 says to the letter.
        consistency_temperature: of the softmax that is the target of L_c; under 1 sharpens (UDA:
            0.4).
        consistency_threshold: only images whose most probable class is over it count in L_c, a mean
            over all (UDA: 0.8).
        feedback: how f is measured: `exact` (Eq. 6, default), `trapezoid` (with the mean of the
            labelled gradients before and after A's step: the fall of the labelled loss to second
            order in eta_A), `jvp` (Eq. 6 in forward mode), `finite_difference` (labelled loss
            before - after A's step), or `none`: f = 0, neither it nor L_f computed.
        feedback_unit: who is credited: the `batch`, with one f for all its images (default), or
            each `image` with its own f_i, so that L_f = mean_i f_i CE_i (needs `exact` or
            `trapezoid`). The variance of one reward for many names is REINFORCE's main fault.
        feedback_norm: what scales L_f: `paper`, f itself (default); `per_eta`, f / eta_A;
            `cosine`, of the angle between its two gradients (needs `exact`); `running_std`, f over
            its running standard deviation; `minus_average`, f less its running mean; `standard`,
            f less the mean and over the deviation, in -3..3. Of `image`s, mean and deviation are
            those of all f_i, and there is no `cosine`.
        feedback_batch: whose f scales L_f: this step's `own`, or, as a control, right strengths on
            the wrong faces: that of an `earlier` batch, or f_i `shuffled` among the images of the
            batch.
        pseudo_labels: a name is B's most probable class (`argmax`, Eq. 1), or `drawn` from its
            softmax, for which the expected L_f descends on the labelled loss (REINFORCE, Williams
            1992; Meta Pseudo Labels).
        pseudo_label_threshold: names of images whose most probable class is not over it count
            neither in L_u nor in L_f, means over all (Pseudo-Label's and FixMatch's mask).
        balance: against FR faces on which B names some classes more than others: `none`; `pseudo`,
            images weigh in L_u by the inverse of their name's share among the names of late, with
            mean 1 in a batch; `align`, B's probabilities are divided by their own running mean
            before a name is taken (ReMixMatch, Berthelot et al. 2020; the target is even, as D_FER
            is). Running: over the last hundred steps or so, and a share counts as at least a tenth
            of an even one.
        reweight: A learns from all images alike (`none`), or from an `image` by max(0, <its
            gradient, the labelled gradient>) at theta_A, with mean 1 in a batch (Ren et al. 2018);
            where none helps, the gradient of L_u is 0. What `balance` and the threshold say is in
            the image's gradient.
        batch_norm: which images a pass is normalised by: `separate`, its own alone (default: f then
            compares one function at two points); or `together`, labelled and unlabelled ones as one
            batch, as the public code passes them, which makes passes larger.
        w_s, w_c, w_f: weights of L_s, L_c and L_f in B's gradient; 0 switches one off, though it
            is still measured.
        w_u: weight of L_u in A's gradient. f speaks of the step so weighted, by `balance` and
            `reweight`, too.
        ramp_steps: w_u, w_c and w_f grow in a line to their full values over as many steps; 0, as
            in the paper, has them full from the first.
    """

    adaptation_view: Literal["plain", "augmented"] = "plain"
    adaptation_labels: Literal["finetune", "steps"] = "finetune"
    consistency_target: Literal["fixed", "moving"] = "fixed"
    consistency_temperature: Annotated[float, Field(gt=0)] = 1.0
    consistency_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    feedback: FeedbackWay = "exact"
    feedback_unit: FeedbackUnit = "batch"
    feedback_norm: FeedbackNorm = "paper"
    feedback_batch: FeedbackBatch = "own"
    pseudo_labels: Literal["argmax", "drawn"] = "argmax"
    pseudo_label_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.0
    balance: Literal["none", "pseudo", "align"] = "none"
    reweight: Literal["none", "image"] = "none"
    batch_norm: Literal["separate", "together"] = "separate"
    w_s: float = 1.0
    w_u: float = 1.0
    w_c: float = 1.0
    w_f: float = 1.0
    ramp_steps: int = 0

    def __post_init__(self) -> None:
        if self.feedback_norm == "cosine" and self.feedback != "exact":
            raise ValueError(
                f"feedback_norm cosine needs feedback exact, not {self.feedback}: no other way "
                "sees both gradients"
            )
        if self.feedback_unit == "image":
            self._must_credit_images()
        elif self.feedback_batch == "shuffled":
            raise ValueError(
                "feedback_batch shuffled needs feedback_unit image: a batch has one f, and nothing "
                "to shuffle"
            )
        if self.ramp_steps < 0:
            raise ValueError(f"ramp_steps is {self.ramp_steps}: give 0 or more steps")

    def _must_credit_images(self) -> None:
        if self.feedback not in ("exact", "trapezoid"):
            raise ValueError(
                f"feedback_unit image needs feedback exact or trapezoid, not {self.feedback}: no "
                "other way sees the labelled gradient"
            )
        if self.feedback_norm == "cosine":
            raise ValueError(
                "feedback_unit image has no feedback_norm cosine, since the length of an image's "
                "own gradient is not known: take another, such as standard"
            )
        if self.feedback_batch == "earlier":
            raise ValueError(
                "feedback_batch earlier needs feedback_unit batch: its images are others; as a "
                "control of images take shuffled"
            )

    def at(self, step: int) -> "MetaOptions":
        """The options of one step, counted from 0: its weights are those of the ramp."""
        if step + 1 >= self.ramp_steps:
            return self
        share = (step + 1) / self.ramp_steps
        return replace(self, w_u=share * self.w_u, w_c=share * self.w_c, w_f=share * self.w_f)
