"""RAN, the Region Attention Network (Wang, Peng, Yang, Meng, Qiao: Region Attention Networks for
Pose and Occlusion Robust Facial Expression Recognition, IEEE TIP 2020).

A face (region 0) and P crops of it go through one network to features F_i, and two attentions say
how much each counts (paper III):

    mu_i = sigmoid(q_0' F_i),        F_m = sum mu_i F_i / sum mu_i               (self-attention)
    nu_i = sigmoid(q_1' [F_i : F_m]),
    P_RAN = sum mu_i nu_i [F_i : F_m] / sum mu_i nu_i                        (relation-attention)

The last layer reads P_RAN. The region-biased loss wants one crop to count more than the
whole face by a margin: L_RB = max(0, alpha - (max_i>0 mu_i - mu_0)), and is added to the cross
entropy.

Readings: the released code passes mu_i and nu_i through a softmax over the regions as well, and
takes a margin of 0.1; here they are the paper's, without and of 0.02. The paper's crops at five
landmarks are squares of a size that is an option here. A step knows where each face has its points;
the deployed network is given images alone and takes those of an average aligned face, so crops at
`landmarks` suit aligned faces. All regions of a batch are normalised as one batch, where the
released code normalises each kind of crop by itself in training and all of them alike in inference.
Random crops are left out: they would be another network at each look.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import FormContext, Losses, Method, Preparation, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss
from face2exp_lib.methods.regions import around, average_points, cut, told
from face2exp_lib.networks import FaceNetwork

# Left, top, right, bottom: three corners at 0.75 of the side, the middle at 0.9 and at 0.85.
FIXED = (
    (0.0, 0.0, 0.75, 0.75),
    (0.25, 0.0, 1.0, 0.75),
    (0.125, 0.25, 0.875, 1.0),
    (0.05, 0.05, 0.95, 0.95),
    (0.075, 0.075, 0.925, 0.925),
)
POINTS = 5


@dataclass(frozen=True)
class RanOptions:
    """Defaults: the paper's.

    Attributes:
        crops: at five `fixed` places (top left, top right and bottom at 0.75 of the side, middle at
            0.9 and 0.85), at the five `landmarks`, or `none`.
        region: side of a crop at a landmark, as a part of the view's; the paper names no number.
        attention: `relation`, both attentions; `self`, the first alone, whose F_m is read; or
            `none`, the mean of the regions.
        w_region: weight of the region-biased loss.
        margin: alpha.
    """

    crops: Literal["fixed", "landmarks", "none"] = "fixed"
    region: Annotated[float, Field(gt=0, le=1)] = 0.5
    attention: Literal["relation", "self", "none"] = "relation"
    w_region: Annotated[float, Field(ge=0)] = 1.0
    margin: Annotated[float, Field(ge=0, le=1)] = 0.02


class RegionNetwork(FaceNetwork):
    """A backbone that sees a face and crops of it, and weighs them by what it sees."""

    fc: nn.Linear
    boxes: Tensor  # (P, 4) of crops where a face's own points are not known

    def __init__(self, backbone: FaceNetwork, boxes: Tensor, options: RanOptions) -> None:
        super().__init__()
        last_layer = backbone.head
        assert isinstance(last_layer, nn.Linear)
        width, num_classes = last_layer.in_features, last_layer.out_features
        backbone.fc = nn.Identity()
        self.backbone, self.options = backbone, options
        self.register_buffer("boxes", boxes, persistent=False)
        self.fc = last_layer
        if options.attention != "none":
            self.self_attention = nn.Linear(width, 1)
        if options.attention == "relation":
            self.relation_attention = nn.Linear(2 * width, 1)
            self.fc = nn.Linear(2 * width, num_classes)

    @property
    def last_maps(self) -> nn.Module:
        """The backbone's; their first row of an image is the whole face."""
        return self.backbone.last_maps

    def regions(self, x: Tensor, points: Tensor | None = None) -> Tensor:
        """(N, 3, s, s) images to (N, 1 + P, D) features, those of the whole face first.

        Args:
            x: views.
            points: (N, 5, 2) of the faces; None for crops at the places that are the same for all.
        """
        boxes = self.boxes[None] if points is None else around(points, self.options.region)
        seen = [x, *cut(x, boxes, x.shape[-1])]
        return self.backbone.features(torch.cat(seen)).unflatten(0, (len(seen), -1)).transpose(0, 1)

    def weigh(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1 + P, D) to what the last layer reads, and (N, 1 + P) mu."""
        if self.options.attention == "none":
            return regions.mean(1), regions.new_ones(regions.shape[:2])
        scores = self.self_attention(regions)
        mu = torch.sigmoid(scores)
        # mu_i / sum mu as a softmax of logarithms: where no region counts, all mu may round to 0.
        log_mu = F.logsigmoid(scores)
        mean = (log_mu.softmax(1) * regions).sum(1, keepdim=True)
        if self.options.attention == "self":
            return mean[:, 0], mu[..., 0]
        pairs = torch.cat([regions, mean.expand_as(regions)], 2)
        log_weight = log_mu + F.logsigmoid(self.relation_attention(pairs))
        return (log_weight.softmax(1) * pairs).sum(1), mu[..., 0]

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, 2 D), P_RAN; (N, D) without relation-attention."""
        return self.weigh(self.regions(x))[0]


class WithWeights(nn.Module):
    """A region network, for training: its logits and, behind them, mu."""

    def __init__(self, network: RegionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, points: Tensor | None = None) -> Tensor:
        """(N, 3, s, s) images, and their points if they are known, to (N, K + 1 + P)."""
        regions = self.network.regions(x, points)
        # In the weights' own precision: a margin of 0.02 is a few steps of bfloat16.
        with torch.autocast(x.device.type, enabled=False):
            read, mu = self.network.weigh(regions.to(next(self.network.fc.parameters())))
            return torch.cat([self.network.head(read), mu], 1)


def region_loss(mu: Tensor, margin: float) -> Tensor:
    """L_RB, a mean over images; 0 where a face has no crop.

    Args:
        mu: (N, 1 + P), that of the whole face first.
        margin: alpha.
    """
    if mu.shape[1] == 1:
        return mu.new_zeros(())
    return F.relu(margin - (mu[:, 1:].amax(1) - mu[:, 0])).mean()


def form(given: FormContext) -> FaceNetwork:
    """The backbone as a region network, whose other weights are a function of the seed."""
    options: RanOptions = given.options
    boxes = {
        "fixed": torch.tensor(FIXED),
        "landmarks": around(average_points(given), options.region),
        "none": torch.zeros(0, 4),
    }[options.crops]
    like = next(given.network.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        return RegionNetwork(given.network, boxes, options).to(like)


def ran_step(
    network: WithWeights,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    options: RanOptions,
    points: Tensor | None = None,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the cross entropy and w_region L_RB.

    Batch norm: the one pass of all regions moves the running statistics.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        options: weight and margin.
        points: (N, 5, 2) of the faces, x, y in 0 .. 1 of the views, for crops at these.
        compute: precision and micro-batches of faces with all their regions. The network runs
            uncompiled, in its parts.
        label_smoothing: of the cross entropy.

    Returns:
        Detached 0-d losses `loss_s` and `loss_region`, and `whole_face`, mu_0's mean share of the
        sum of mu.
    """
    num_classes = network.network.fc.out_features
    cross_entropy = labelled_loss(label_smoothing)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        logits, mu = outputs.tensor_split([num_classes], 1)
        return cross_entropy(logits, labels) + options.w_region * region_loss(mu, options.margin)

    both = gradient_pass(*told(network, x_fer, points), y_fer, compute, criterion=loss)
    descend(optimiser, list(network.parameters()), both.grad)
    logits, mu = both.logits.tensor_split([num_classes], 1)
    return {
        "loss_s": cross_entropy(logits, y_fer),
        "loss_region": region_loss(mu, options.margin),
        "whole_face": (mu[:, 0] / mu.sum(1)).mean(),
    }


def step(given: StepContext) -> Losses:
    """With the faces' own points where the crops lie at these."""
    network = given.networks["base"]
    assert isinstance(network, WithWeights)
    return ran_step(
        network,
        given.optimisers["base"],
        given.batch.x_fer,
        given.batch.y_fer,
        given.options,
        given.points_fer if given.options.crops == "landmarks" else None,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


def prepare(run: Preparation) -> None:
    """What the steps are given tells mu beside the logits."""
    network = run.networks["base"]
    assert isinstance(network, RegionNetwork)
    run.trained["base"] = WithWeights(network)


RAN = Method(
    name="ran",
    title="Region Attention Network",
    step=step,
    cost=lambda options, n, m: learning(n * (1 + POINTS * (options.crops != "none"))),
    options=RanOptions,
    unlabelled=False,
    form=form,
    without_landmarks=lambda options: (
        "crops at the points of an average one" if options.crops == "landmarks" else ""
    ),
    prepare=prepare,
)
