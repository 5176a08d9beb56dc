"""gaCNN (Li, Zeng, Shan, Chen: Occlusion Aware Facial Expression Recognition Using CNN with
Attention Mechanism, IEEE TIP 2019).

Patches of the feature maps around points of the face, and the whole face: each gets a vector psi
and a gate alpha in 0 .. 1, both made of its own features alone, so that a covered patch can be told
by what it shows. The last layer reads all alpha_i psi_i side by side (paper III: patch-gated
units and a global-gated one), and everything is learnt by the cross entropy.

What is simpler than in the paper, and why. Its 24 points are chosen among 68 landmarks; here five
are known, and the 24 lie in the frame of these: along the line between the eyes and down from its
middle to that of the mouth, `PLACES`. A step may know the five points of each face; the deployed
network is given images alone and takes those of an average aligned face, as training does by
default. Its maps are VGG-16's of 28 x 28 for 224 px, and each patch 6 x 6 of these: here the
backbone's last maps of at least an eighth of the view's side are taken, whichever it is, and a
patch is as large a part of them. Its patches have units of their own, and here share one, which at
five points' precision sees much the same in neighbours. The whole face's vector is what the
backbone ends with.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.backbones.torchvision_models import POOLS
from face2exp_lib.methods.cost import learning
from face2exp_lib.methods.method import FormContext, Losses, Method, StepContext
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradient_pass, labelled_loss
from face2exp_lib.methods.regions import around, average_points, cut, told
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

SAMPLES = 6  # a side of a patch, of maps of
CELLS = 28  # at a view of
VIEW = 224  # px
WIDTH = 64  # of a patch's vector

# Across in distances of the eyes from their middle, down in distances of eyes and mouth.
PLACES = (
    *((-0.75, -0.35), (-0.25, -0.35), (0.25, -0.35), (0.75, -0.35)),  # brows
    *((-0.75, 0.0), (-0.5, 0.0), (-0.25, 0.0), (0.25, 0.0), (0.5, 0.0), (0.75, 0.0)),  # eyes
    *((0.0, 0.0), (0.0, 0.3), (0.0, 0.6), (-0.2, 0.6), (0.2, 0.6)),  # nose
    *((-0.7, 0.5), (0.7, 0.5), (-0.55, 0.8), (0.55, 0.8)),  # cheeks
    *((-0.4, 1.0), (0.4, 1.0), (0.0, 0.85), (0.0, 1.0), (0.0, 1.2)),  # mouth
)


@dataclass(frozen=True)
class GacnnOptions:
    """Defaults: the paper's gACNN, as far as five points carry it.

    Attributes:
        parts: `both`, patches and the whole face, or the `whole` face alone.
        gated: False leaves all gates open, the paper's comparison.
        points: of the patches while it learns: those of an `average` aligned face, as in
            deployment, or the `landmarks` of each.
    """

    parts: Literal["both", "whole"] = "both"
    gated: bool = True
    points: Literal["average", "landmarks"] = "average"


class GatedNetwork(FaceNetwork):
    """A backbone whose maps are looked at in patches, all of them and the whole face gated."""

    centres: Tensor  # (24, 2) of patches where a face's own points are not known

    def __init__(
        self, backbone: FaceNetwork, options: GacnnOptions, points: Tensor, view_size: int
    ) -> None:
        super().__init__()
        last_layer = backbone.head
        assert isinstance(last_layer, nn.Linear)
        width, num_classes = last_layer.in_features, last_layer.out_features
        backbone.fc = nn.Identity()
        self.backbone, self.options, self.fc = backbone, options, last_layer
        self.register_buffer("centres", patch_centres(points[None])[0], persistent=False)
        if options.gated:
            self.whole_gate = gate(width)
        if options.parts == "both":
            self.source, channels = find_maps(backbone, view_size)
            self.patch_unit = nn.Sequential(
                nn.Conv2d(channels, WIDTH, 3, padding=1, bias=False),
                nn.BatchNorm2d(WIDTH),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
            if options.gated:
                self.patch_gate = gate(WIDTH)
            self.fc = nn.Linear(width + WIDTH * len(PLACES), num_classes)

    def compile(self, *arguments: Any, **options: Any) -> None:
        """Nothing: torch's compiler traces no watch on a layer that comes and goes."""

    @property
    def last_maps(self) -> nn.Module:
        """The backbone's."""
        return self.backbone.last_maps

    def look(self, x: Tensor, points: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the last layer reads, and the gates.

        Args:
            x: (N, 3, s, s) views.
            points: (N, 5, 2) of the faces; None for an average one's.

        Returns:
            (N, D + 24 WIDTH) or (N, D); (N, 1 + 24) or (N, 1) alpha, the whole face's first.
        """
        if self.options.parts == "whole":
            whole = self.backbone.features(x)
            alpha = self.whole_gate(whole) if self.options.gated else whole.new_ones(x.shape[0], 1)
            return (alpha * whole if self.options.gated else whole), alpha
        whole, maps = self._with_maps(x)
        centres = self.centres[None] if points is None else patch_centres(points)
        patches = cut(maps, around(centres, SAMPLES / CELLS), SAMPLES)
        vectors = self.patch_unit(torch.cat(patches)).unflatten(0, (len(patches), -1))
        vectors = vectors.transpose(0, 1)
        if not self.options.gated:
            alpha = whole.new_ones(x.shape[0], 1 + len(patches))
            return torch.cat([whole, vectors.flatten(1)], 1), alpha
        of_whole, of_patches = self.whole_gate(whole), self.patch_gate(vectors)
        read = torch.cat([of_whole * whole, (of_patches * vectors).flatten(1)], 1)
        return read, torch.cat([of_whole, of_patches[..., 0]], 1)

    def features(self, x: Tensor, points: Tensor | None = None) -> Tensor:
        """(N, 3, s, s) images, and their points if they are known, to what the last layer reads."""
        return self.look(x, points)[0]

    def forward(self, x: Tensor, points: Tensor | None = None) -> Tensor:
        """(N, 3, s, s) images, and their points if they are known, to (N, K) logits."""
        logits: Tensor = self.fc(self.features(x, points))
        return logits

    def _with_maps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) of the whole face, and the maps on the way to it."""
        passed: list[Tensor] = []
        source = self.backbone.get_submodule(self.source)
        watched = source.register_forward_hook(lambda module, given, made: passed.append(made))
        try:
            whole = self.backbone.features(x)
        finally:
            watched.remove()
        return whole, passed[-1]


def gate(width: int) -> nn.Sequential:
    """A vector of features to alpha in 0 .. 1."""
    return nn.Sequential(nn.Linear(width, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1), nn.Sigmoid())


def patch_centres(points: Tensor) -> Tensor:
    """(N, 5, 2) points of faces to the (N, 24, 2) centres of their patches."""
    left_eye, right_eye, _, left_corner, right_corner = points.unbind(1)
    middle = (left_eye + right_eye) / 2
    across, down = right_eye - left_eye, (left_corner + right_corner) / 2 - middle
    places = torch.tensor(PLACES).to(points)
    return middle[:, None] + places @ torch.stack([across, down], 1)


def find_maps(backbone: FaceNetwork, view_size: int) -> tuple[str, int]:
    """The last layer whose maps are fine enough, by a look at a grey image.

    Returns:
        Its name, and how many maps it has.

    Raises:
        Face2ExpError: if there is none: most transformers cut a view into coarse tokens.
    """
    least = view_size * CELLS // VIEW
    found: list[tuple[str, int]] = []
    hooks = []
    for name, part in backbone.named_modules():

        def note(module: nn.Module, given: object, made: object, name: str = name) -> None:
            if isinstance(made, Tensor) and made.ndim == 4 and min(made.shape[2:]) >= least:
                found.append((name, made.shape[1]))

        if name and not isinstance(part, POOLS):  # which may repeat one coarse value
            hooks.append(part.register_forward_hook(note))
    was_training, like = backbone.training, next(backbone.parameters())
    try:
        with torch.no_grad():
            backbone.eval()
            backbone.features(like.new_zeros(1, 3, view_size, view_size))
    finally:
        backbone.train(was_training)
        for hook in hooks:
            hook.remove()
    if not found:
        raise Face2ExpError(
            f"method gacnn: this backbone has no maps of {least} x {least} or finer for views of "
            f"{view_size} px, to cut patches from: choose a convolutional one"
        )
    return found[-1]


def form(given: FormContext) -> FaceNetwork:
    """The backbone as a gated network, whose other weights are a function of the seed."""
    like, points = next(given.network.parameters()), average_points(given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(given.seed)
        return GatedNetwork(given.network, given.options, points, given.view_size).to(like)


def gacnn_step(
    network: GatedNetwork,
    optimiser: SGD,
    x_fer: Tensor,
    y_fer: Tensor,
    points: Tensor | None = None,
    compute: Compute = PLAIN,
    *,
    label_smoothing: float = 0.0,
) -> Losses:
    """One update on the cross entropy.

    Batch norm: the one pass moves the running statistics.

    Args:
        network: in training mode.
        optimiser: over all its parameters.
        x_fer, y_fer: (N, 3, s, s) images and (N,) int64 labels.
        points: (N, 5, 2) of the faces, x, y in 0 .. 1 of the views; None for an average one's.
        compute: precision and micro-batches. The network runs uncompiled.
        label_smoothing: share of each label that is spread over all classes.

    Returns:
        The 0-d `loss_s`.
    """
    s = gradient_pass(
        *told(network, x_fer, points), y_fer, compute, criterion=labelled_loss(label_smoothing)
    )
    descend(optimiser, list(network.parameters()), s.grad)
    return {"loss_s": s.loss}


def step(given: StepContext) -> Losses:
    """With the faces' own points where the options ask for them."""
    network = given.networks["base"]
    assert isinstance(network, GatedNetwork)
    return gacnn_step(
        network,
        given.optimisers["base"],
        given.batch.x_fer,
        given.batch.y_fer,
        given.points_fer if given.options.points == "landmarks" else None,
        given.compute,
        label_smoothing=given.label_smoothing,
    )


GACNN = Method(
    name="gacnn",
    title="gaCNN",
    step=step,
    cost=lambda options, n, m: learning(n),
    options=GacnnOptions,
    unlabelled=False,
    form=form,
    without_landmarks=lambda options: (
        "cuts its patches at the points of an average one"
        if (options.parts, options.points) == ("both", "landmarks")
        else ""
    ),
)
