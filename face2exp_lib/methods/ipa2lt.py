"""IPA2LT, from inconsistent pseudo annotations to latent truth (Zeng, Shan, Chen: Facial Expression
Recognition with Inconsistently Annotated Datasets, ECCV 2018).

Every face gets several labels, of people and of networks, none of which is taken for the truth:

1. coders, networks that learn some of the people's labels, label the faces that they did not learn;
2. LTNet learns from all labels: its network says how probable each latent truth is, p = f(x), and
   each annotator c has a transition matrix T_c of its own, whose row k says how it labels faces of
   the true class k: P(y_c | x) = p T_c. The loss is - sum_c log P(y_c | x) (paper 3).

T_c begins at the identity, and after each update its rows are the distributions next to what the
update made of them, with a floor of 0.01 as in the released code. That code divides a row by its
sum instead, whose resting point is not the likelihood's: where the truth is known, its rows end in
proportion to the roots of what an annotator's habits are. It also takes a softmax of the
probabilities p T_c before the logarithm; the paper's loss is the default, being the likelihood of
what the annotators said. The network alone, the latent truth, is deployed.

What is simpler than in the paper, and why. Its people are those of several data sets, each with a
coder that labels the others, and faces without labels. A run here has one labelled set: its people
are annotator 0, and annotator 1 is a coder that learnt the labels of one half of the set and labels
the other, and one that did so the other way round, so that no coder repeats what it was taught.
Both are the run's own network, trained afresh as `supervised` trains, each for a share of
`training.num_steps`; LTNet begins with fresh weights and has the rest, where the released code
first learns the labels of all annotators mixed. With one annotator the truth
cannot be told from its labels, and it is refused: that is `supervised`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Coders, Losses, Method, Preparation, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

FLOOR = 0.01  # under a number of a matrix: a loss has no slope beyond 1 / floor


@dataclass(frozen=True)
class Ipa2ltOptions:
    """Readings of the paper, and what its coders get.

    Attributes:
        loss: `likelihood`, - log p T_c, the paper's, or `softmax`, - log softmax(p T_c), the
            released code's.
        coder_share: of `training.num_steps`, for each of the two coders; ours, the paper trains all
            to their ends.
    """

    loss: Literal["likelihood", "softmax"] = "likelihood"
    coder_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.25


class Transitions(nn.Module):
    """A transition matrix for each annotator: (R, K, K), the rows distributions.

    Raises:
        Face2ExpError: for fewer than two annotators.
    """

    def __init__(self, annotators: int, num_classes: int) -> None:
        super().__init__()
        if annotators < 2:
            raise Face2ExpError(
                f"method ipa2lt: of {annotators} annotator the truth cannot be told from the "
                "labels: take method supervised, or give a second one"
            )
        self.rows = nn.Parameter(torch.eye(num_classes).repeat(annotators, 1, 1))

    @torch.no_grad()
    def project(self) -> None:
        """After an update: each row the nearest one of sum 1 with no number below the floor (Duchi,
        Shalev-Shwartz, Singer, Chandra: Efficient Projections onto the l1-Ball, ICML 2008)."""
        num_classes = self.rows.shape[2]
        over, mass = self.rows - FLOOR, 1 - num_classes * FLOOR
        ranked = over.sort(2, descending=True).values
        counts = torch.arange(1, num_classes + 1).to(over)
        excess = (ranked.cumsum(2) - mass) / counts
        last = (ranked > excess).sum(2, keepdim=True) - 1
        self.rows.copy_((over - excess.gather(2, last)).clamp(min=0) + FLOOR)


class LatentTruth(nn.Module):
    """A network and its annotators' matrices, for training: LTNet."""

    def __init__(self, network: FaceNetwork, transitions: Transitions) -> None:
        super().__init__()
        self.network, self.transitions = network, transitions

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K) logits of the truth."""
        logits: Tensor = self.network(x)
        return logits


def annotators_losses(
    logits: Tensor,
    annotations: Tensor,
    rows: Tensor,
    options: Ipa2ltOptions,
    label_smoothing: float = 0.0,
) -> Tensor:
    """- log P(y_c | x) of each annotator, a mean over all images: (R,).

    Args:
        logits: (N, K) of the truth.
        annotations: (N, R) int64, -1 where an annotator is silent, which counts 0.
        rows: (R, K, K) T.
        options: which loss.
        label_smoothing: share of annotator 0's labels that is spread over all classes.
    """
    given = torch.einsum("nk,rkj->nrj", logits.softmax(1), rows)
    if options.loss == "softmax":
        log_p = given.log_softmax(2)
    else:
        log_p = given.clamp(min=torch.finfo(given.dtype).tiny).log()
    said = log_p.gather(2, annotations.clamp(min=0)[..., None])[..., 0]
    share = torch.zeros(rows.shape[0]).to(said)
    share[0] = label_smoothing
    losses = -(1 - share) * said - share * log_p.mean(2)
    return losses.masked_fill(annotations < 0, 0.0).mean(0)


def ipa2lt_step(
    network: LatentTruth,
    optimiser: SGD,
    x_fer: Tensor,
    annotations: Tensor,
    options: Ipa2ltOptions,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update of network and matrices on all annotators' labels.

    Batch norm: the one pass moves the running statistics.

    Args:
        network: LTNet, in training mode.
        optimiser: over all its parameters.
        x_fer: (N, 3, s, s) images.
        annotations: (N, R) int64, first the set's own labels; -1 where an annotator is silent.
        options: which loss.
        compute: precision and micro-batches.
        label_smoothing: of the set's own labels.

    Returns:
        Detached 0-d losses `loss_s`, of the set's own labels, and `loss_coder`, of all others, and
        `kept_labels` and `kept_coder`, the means of the matrices' diagonals before the update.
    """
    rows = network.transitions.rows

    def loss(logits: Tensor, said: Tensor) -> Tensor:
        return annotators_losses(logits, said, rows, options, label_smoothing).sum()

    both = gradient_pass(network, x_fer, annotations, compute, criterion=loss)
    with torch.no_grad():
        losses = annotators_losses(both.logits, annotations, rows, options, label_smoothing)
        kept = rows.diagonal(dim1=1, dim2=2).mean(1).clone()
    descend(optimiser, list(network.parameters()), both.grad)
    network.transitions.project()
    return {
        "loss_s": losses[0],
        "loss_coder": losses[1:].sum(),
        "kept_labels": kept[0],
        "kept_coder": kept[1:].mean(),
    }


def step(given: StepContext) -> Losses:
    """With the labels of the set and what its coders said, `annotations`."""
    network, y_fer = given.networks["base"], given.batch.y_fer
    assert isinstance(network, LatentTruth)
    coded = given.extra["annotations"][given.indices_fer].to(y_fer.device)
    return ipa2lt_step(
        network,
        given.optimisers["base"],
        given.batch.x_fer,
        torch.stack([y_fer, coded], 1),
        given.options,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


def prepare(run: Preparation) -> None:
    """The matrices, kept in checkpoints as `transitions`."""
    network = run.networks["base"]
    assert isinstance(network, FaceNetwork)
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    transitions = Transitions(2, last_layer.out_features).to(last_layer.weight)
    run.networks["transitions"] = transitions
    run.trained["base"] = LatentTruth(network, transitions)


IPA2LT = Method(
    name="ipa2lt",
    title="IPA2LT",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=Ipa2ltOptions,
    unlabelled=False,
    prepare=prepare,
    coders=Coders(share=lambda options: options.coder_share),
)
