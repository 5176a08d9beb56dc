"""DMUE (She, Hu, Shi, Wang, Shen, Mei: Dive into Ambiguity: Latent Distribution Mining and Pairwise
Uncertainty Estimation for Facial Expression Recognition, CVPR 2021).

Two ways to suspect labels (paper 3.2 and 3.3). Of K auxiliary branches each learns without the
images of one class, so branch i says what an image labelled i would be if it were no i: its latent
distribution, which the target branch is held to. And an image's likeness to the others of its batch
says how far its label fits: a confidence that scales its logits. With epoch e, per step

    L = w_u(e) (L_WCE + omega L_soft + gamma L_sp) + w_d(e) L_aux.

What is simpler than in the paper: its branches each own the last stage of a ResNet, here each is a
linear layer on the backbone's features, so that any backbone can have them; what a branch knows of
itself is then little, and L_sp, which holds the features' likeness to the branches', compares them
with the branches' scores, as the released code does. The paper skips batches that show a class less
than twice; here a class that a batch does not show has no part in the means, and
`training.batches_fer: class_balanced` shows them all. Squares are averaged over all elements, as in
the released code.
"""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import Losses, Method, Preparation, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

FEWEST_CLASSES = 3  # of two, the branch without one has a single answer


@dataclass(frozen=True)
class DmueOptions:
    """Defaults: the paper's (section 4) and those of the released code.

    Attributes:
        w_soft: omega, weight of the latent distributions.
        w_similarity: gamma, of the likeness of features to that of the branches.
        w_auxiliary: of L_aux; the paper has 1.
        temperature: T, which sharpens a latent distribution where it is under 1 and flattens it
            above: softmax(z / T), which is p^(1/T) normalised. The paper has 1.2 and speaks of
            sharpening.
        ramp_epochs: beta, the pass over the labelled set, counted from 0, up to which the target
            branch's weight rises, and after which the branches' falls; the paper has 9 for RAF-DB
            and 6 for AffectNet.
    """

    w_soft: Annotated[float, Field(ge=0)] = 0.5
    w_similarity: Annotated[float, Field(ge=0)] = 1000.0
    w_auxiliary: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 1.2
    ramp_epochs: Annotated[int, Field(ge=0)] = 9


class Auxiliaries(nn.Module):
    """What only training needs: K branches, and the confidence of an image.

    `branches` gives for each the scores of all K classes, of which its own is left out; `certainty`
    takes 2 K numbers through two layers with a PReLU between them to one.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.branches = nn.Linear(num_features, num_classes**2, bias=False)
        self.certainty = nn.Sequential(
            nn.Linear(2 * num_classes, num_classes), nn.PReLU(), nn.Linear(num_classes, 1)
        )

    def confidence(self, features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
        """alpha of each image in 0 .. 1, (N,), from its likeness and its label."""
        one_hot = F.one_hot(labels, num_classes).to(features.dtype)
        known = torch.cat([class_likeness(features, one_hot), one_hot], 1)
        return torch.sigmoid(self.certainty(known))[:, 0]


class MultiBranchNetwork(nn.Module):
    """A network and its auxiliaries, for training: the network, the target branch, is deployed
    alone."""

    def __init__(self, network: FaceNetwork, auxiliaries: Auxiliaries) -> None:
        super().__init__()
        self.network, self.auxiliaries = network, auxiliaries

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K + K^2 + D): logits, the branches' scores, features."""
        features = self.network.features(x)
        return torch.cat(
            [self.network.head(features), self.auxiliaries.branches(features), features], 1
        )

    def parts(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, K) logits, (N, K, K) scores, minus infinity for a branch's own class, (N, D)."""
        count = self.auxiliaries.branches.out_features
        num_classes = math.isqrt(count)
        logits, flat, features = outputs.tensor_split([num_classes, num_classes + count], 1)
        own = torch.eye(num_classes, dtype=torch.bool, device=outputs.device)
        scores = flat.unflatten(1, (num_classes, num_classes)).masked_fill(own, -math.inf)
        return logits, scores, features


def build_auxiliaries(network: FaceNetwork, seed: int) -> Auxiliaries:
    """Fresh ones for a network; the global random state is kept.

    Raises:
        Face2ExpError: if it knows fewer classes than a branch without one can tell apart.
    """
    last_layer = network.head
    assert isinstance(last_layer, nn.Linear)
    if last_layer.out_features < FEWEST_CLASSES:
        raise Face2ExpError(
            f"method dmue: of {last_layer.out_features} classes a branch without one has a single "
            f"answer: give {FEWEST_CLASSES} or more"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Auxiliaries(last_layer.in_features, last_layer.out_features)
    return made.to(last_layer.weight)


def auxiliary_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """L_aux: each branch's cross entropy on the images that are not of its class, and the mean of
    these over the branches that have some.

    Args:
        scores: (N, K, K) of `MultiBranchNetwork.parts`.
        labels: (N,) int64.
    """
    num_classes = scores.shape[1]
    others = labels[:, None] != torch.arange(num_classes, device=labels.device)
    chosen = labels[:, None, None].expand(-1, num_classes, 1)
    log_p = scores.log_softmax(2).gather(2, chosen)[..., 0].masked_fill(~others, 0)
    seen = others.sum(0)
    return -(log_p.sum(0) / seen.clamp(min=1)).sum() / (seen > 0).sum()


def latent_distribution(scores: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """What the branch without an image's label says of it, sharpened: (N, K), 0 for the label.

    Args:
        scores: (N, K, K) of `MultiBranchNetwork.parts`.
        labels: (N,) int64.
        temperature: T.
    """
    rows = torch.arange(len(labels), device=labels.device)
    return (scores[rows, labels] / temperature).softmax(1).detach()


def soft_loss(logits: Tensor, labels: Tensor, latent: Tensor) -> Tensor:
    """L_soft: squared distance of the target branch's probabilities of all but the labelled class
    from the latent distribution, a mean over images and classes."""
    others = logits.softmax(1).scatter(1, labels[:, None], 0.0)
    return F.mse_loss(others, latent)


def similarity_loss(features: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
    """L_sp: of the images that a branch learns from, the squared distance between the Gram matrices
    of its scores and of the features, rows of length 1, a mean over all elements and branches."""
    gram = features @ features.T
    terms = []
    for branch, of_branch in enumerate(scores.unbind(1)):
        seen = (labels != branch).nonzero()[:, 0]
        if len(seen):
            known = of_branch[seen].masked_fill(of_branch[seen].isinf(), 0.0)
            wanted = F.normalize(gram[seen][:, seen], dim=1)
            terms.append(F.mse_loss(F.normalize(known @ known.T, dim=1), wanted))
    return torch.stack(terms).mean()


def class_likeness(features: Tensor, one_hot: Tensor) -> Tensor:
    """Mean cosine of an image's features with those of each class in the batch, itself among them,
    its own K numbers then spread over 0 .. 1: (N, K); 0 for a class that the batch does not show.

    Args:
        features: (N, D).
        one_hot: (N, K) labels.
    """
    unit = F.normalize(features, dim=1)
    counts = one_hot.sum(0)
    means = unit @ unit.T @ one_hot / counts.clamp(min=1)
    shown = counts > 0
    low = means.masked_fill(~shown, math.inf).amin(1, keepdim=True)
    high = means.masked_fill(~shown, -math.inf).amax(1, keepdim=True)
    spread = (means - low) / (high - low).clamp(min=torch.finfo(means.dtype).eps)
    return spread.masked_fill(~shown, 0.0)


def ramps(epoch: int, ramp_epochs: int) -> tuple[float, float]:
    """w_u(e), which rises to 1 at e = beta, and w_d(e), which falls from 1 after it."""
    if epoch < ramp_epochs:
        return math.exp(-5 * (1 - epoch / ramp_epochs) ** 2), 1.0
    return 1.0, math.exp(-((1 - ramp_epochs / epoch) ** 2)) if epoch else 1.0


def dmue_step(
    network: MultiBranchNetwork,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    options: DmueOptions,
    epoch: int,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update of network and auxiliaries on L.

    Batch norm: the one pass moves the running statistics.

    Args:
        network: with its auxiliaries, in training mode.
        optimiser: over all parameters of both.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        options: weights, temperature and ramp.
        epoch: pass over the labelled set that the batch belongs to, counted from 0.
        compute: precision and micro-batches, each of which is likened to itself alone. The network
            runs uncompiled, in its parts.
        label_smoothing: of L_WCE.

    Returns:
        Detached 0-d losses `loss_s` (L_WCE), `loss_soft`, `loss_similarity`, `loss_auxiliary`, and
        the mean `certainty` alpha.
    """
    up, down = ramps(epoch, options.ramp_epochs)
    cross_entropy = labelled_loss(label_smoothing)

    def terms(outputs: Tensor, labels: Tensor) -> Losses:
        logits, scores, features = network.parts(outputs)
        alpha = network.auxiliaries.confidence(features, labels, logits.shape[1])
        latent = latent_distribution(scores, labels, options.temperature)
        return {
            "loss_s": cross_entropy(alpha[:, None] * logits, labels),
            "loss_soft": soft_loss(logits, labels, latent),
            "loss_similarity": similarity_loss(features, scores, labels),
            "loss_auxiliary": auxiliary_loss(scores, labels),
            "certainty": alpha.mean(),
        }

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        found = terms(outputs, labels)
        target = found["loss_s"] + options.w_soft * found["loss_soft"]
        target = target + options.w_similarity * found["loss_similarity"]
        return up * target + down * options.w_auxiliary * found["loss_auxiliary"]

    both = gradient_pass(network, x_fer, y_fer, compute, criterion=loss)
    with torch.no_grad():
        found = terms(both.logits, y_fer)
    descend(optimiser, list(network.parameters()), both.grad)
    return found


def step(given: StepContext) -> Losses:
    """In the epoch that the step lies in."""
    network, y_fer = given.networks["base"], given.batch.y_fer
    assert isinstance(network, MultiBranchNetwork)
    return dmue_step(
        network,
        given.optimisers["base"],
        given.batch.x_fer,
        y_fer,
        given.options,
        given.step * len(y_fer) // sum(given.class_counts),
        given.compute,
        label_smoothing=given.label_smoothing,
    )


def prepare(run: Preparation) -> None:
    """The auxiliaries, kept in checkpoints as `auxiliaries`."""
    network = run.networks["base"]
    assert isinstance(network, FaceNetwork)
    auxiliaries = build_auxiliaries(network, run.seed)
    run.networks["auxiliaries"] = auxiliaries
    run.trained["base"] = MultiBranchNetwork(network, auxiliaries)


DMUE = Method(
    name="dmue",
    title="DMUE",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=DmueOptions,
    unlabelled=False,
    whole_batch=True,  # likens its images to each other
    prepare=prepare,
)
