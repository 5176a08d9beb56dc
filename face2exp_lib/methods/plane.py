"""Faces that are points of a plane, on which any method's steps take a second and show as a map.

A face is two numbers: the light on it, which tells nothing, and how happy it looks, which makes it
sad, neutral or happy. What runs meet is there in small: few labels, of a long tail, all happy faces
in the light and some labels wrong; and many faces without, from elsewhere, most of them neutral.
The augmented view of a face has it in another light. A network that has understood draws borders
that no light moves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD

from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.method import FormContext, Method, Preparation, StepBatch, StepContext
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.runtime.errors import Face2ExpError

CLASSES = ("sad", "neutral", "happy")  # around -1, 0 and 1
SPREAD = 0.25  # of a class around these
PLAIN_NOISE = 0.05  # of a view
OTHER_LIGHT = 1.5  # of an augmented view
WIDTH = 32
BATCH_FR = 48
WANT_IMAGES = ("ran", "gacnn")
WARM_STEPS, LAST_STEPS = 0.2, 0.1  # shares of all: from labels alone before, and A's at the end


class PointNetwork(FaceNetwork):
    """Two numbers to the scores of three classes through two layers, without batch norm."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
            )
            self.fc = nn.Linear(WIDTH, len(CLASSES))

    def features(self, x: Tensor) -> Tensor:
        """(N, 2, 1, 1) to (N, 32)."""
        found: Tensor = self.body(x)
        return found


@dataclass(frozen=True)
class Points:
    """What is known of the plane. Points: light, expression.

    Attributes:
        x_fer, y_fer: (n, 2) and (n,) int64, a few labels of which some are wrong.
        truth_fer: (n,) int64, the right ones.
        second: (n,) int64, what another annotator, who errs as often, says of the same faces.
        landmarks: (n, 5, 2): the happier a face, the wider its mouth.
        x_fr: (m, 2), without labels.
        truth_fr: (m,) int64.
        x_test, y_test: (k, 2) and (k,) int64, all classes alike, in any light.
    """

    x_fer: Tensor
    y_fer: Tensor
    truth_fer: Tensor
    second: Tensor
    landmarks: Tensor
    x_fr: Tensor
    truth_fr: Tensor
    x_test: Tensor
    y_test: Tensor


def draw_points(
    counts: Sequence[int] = (6, 9, 15),
    *,
    wrong: float = 0.1,
    neutral: float = 0.6,
    unlabelled: int = 300,
    seed: int = 0,
) -> Points:
    """Faces.

    Args:
        counts: labelled ones of each class.
        wrong: share of their labels that are another class's.
        neutral: share of neutral ones among those without labels; the others are of both classes
            alike.
        unlabelled: their number.
        seed: of all.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def placed(truth: Tensor, light: Tensor) -> Tensor:
        return torch.stack([light, truth - 1 + SPREAD * noise(len(truth))], 1)

    def said(truth: Tensor) -> Tensor:
        """By somebody who errs about a few of them."""
        errs = torch.randperm(len(truth), generator=generator)[: round(wrong * len(truth))]
        other = torch.randint(1, len(CLASSES), (len(errs),), generator=generator)
        return truth.index_put((errs,), (truth[errs] + other) % len(CLASSES))

    truth = torch.arange(len(CLASSES)).repeat_interleave(torch.tensor(counts))
    x_fer = placed(truth, 1.2 * (truth - 1) + 0.6 * noise(len(truth)))
    side = (1 - neutral) / 2
    shares = torch.tensor([side, neutral, side])
    truth_fr = torch.multinomial(shares, unlabelled, replacement=True, generator=generator)
    y_test = torch.arange(len(CLASSES)).repeat(500)
    return Points(
        x_fer=x_fer,
        y_fer=said(truth),
        truth_fer=truth,
        second=said(truth),
        landmarks=_landmarks(x_fer[:, 1]),
        x_fr=placed(truth_fr, 0.5 + 1.5 * noise(unlabelled)),
        truth_fr=truth_fr,
        x_test=placed(y_test, 1.5 * noise(len(y_test))),
        y_test=y_test,
    )


def learn(
    method: Method,
    points: Points,
    *,
    steps: int = 300,
    options: Mapping[str, Any] | None = None,
    label_smoothing: float = 0.0,
    eta: float = 0.1,
    seed: int = 0,
) -> FaceNetwork:
    """The network that a method deploys after so many steps on points, all labels in each of them.

    As in a run, a method that uses unlabelled faces first learns from labels alone, the rate falls
    to 0 by a cosine, and an A that is fine-tuned is so at the end. Momentum is 0.9.

    Args:
        method: of the registry.
        points: of `draw_points`.
        steps: of all phases together.
        options: of the method, where they are not its defaults.
        label_smoothing: of the labelled loss.
        eta: the first learning rate.
        seed: of weights, batches and views.

    Raises:
        Face2ExpError: if it cuts images into regions, which points have none of.
    """
    if method.name in WANT_IMAGES:
        raise Face2ExpError(f"method {method.name} cuts images into regions: give it no points")
    chosen = method.options(**(options or {})) if method.options else None
    made: dict[str, FaceNetwork] = {name: PointNetwork(seed) for name in method.networks}
    if method.form:
        made = {n: method.form(FormContext(net, chosen, 1, 1, seed)) for n, net in made.items()}
    networks: dict[str, nn.Module] = {**made}
    number = len(points.y_fer)
    run = Preparation(
        networks, dict(networks), {}, chosen, points.y_fer, points.landmarks, number, seed
    )
    before = round(WARM_STEPS * steps) if method.unlabelled else 0
    after = round(LAST_STEPS * steps) if method.finetunes else 0
    for network in networks.values():
        _from_labels(network, points, before, eta, label_smoothing, seed)
    if method.prepare:
        method.prepare(run)
    if method.coders:
        run.extra["annotations"] = points.second
    rounds = method.rounds.number(chosen) if method.rounds else 1
    for index in range(rounds):
        rows = torch.arange(len(points.x_fr))
        if method.rounds:
            with torch.no_grad():
                sure = run.networks["base"](_faces(points.x_fr)).softmax(1)
            rows = torch.from_numpy(method.rounds.choose(chosen, sure.numpy(), seed + index))
            run.trained["adaptation"].load_state_dict(PointNetwork(seed + index).state_dict())
        share = (steps - before - after) // rounds
        _steps(method, run, points, rows, share, eta, label_smoothing, seed + index)
        if method.rounds:
            run.networks["base"].load_state_dict(run.networks["adaptation"].state_dict())
    deployed = run.networks[method.networks[-1]]
    assert isinstance(deployed, FaceNetwork)
    _from_labels(deployed, points, after, eta / 10, label_smoothing, seed)
    return deployed


def probabilities(network: nn.Module, x: Tensor) -> Tensor:
    """(N, 2) points to (N, 3)."""
    with torch.no_grad():
        found: Tensor = network(_faces(x)).softmax(1)
    return found


def accuracy(network: nn.Module, points: Points) -> float:
    """Percent of the test points, of which there are as many of each class."""
    right = probabilities(network, points.x_test).argmax(1) == points.y_test
    return 100 * right.float().mean().item()


def _steps(
    method: Method,
    run: Preparation,
    points: Points,
    rows: Tensor,
    steps: int,
    eta: float,
    label_smoothing: float,
    seed: int,
) -> None:
    optimisers = {
        name: SGD(run.trained[name].parameters(), lr=eta, momentum=0.9) for name in method.networks
    }
    history = FeedbackHistory()
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(points.y_fer))
    for step in range(steps):
        progress = step / steps
        for optimiser in optimisers.values():
            optimiser.param_groups[0]["lr"] = eta * 0.5 * (1 + math.cos(math.pi * progress))
        drawn = rows[torch.randint(len(rows), (BATCH_FR,), generator=generator)]
        context = StepContext(
            networks=run.trained,
            optimisers=optimisers,
            batch=_batch(points, drawn, generator),
            options=run.options,
            compute=PLAIN,
            label_smoothing=label_smoothing,
            step=step,
            progress=progress,
            points_fer=points.landmarks,
            indices_fer=labels,
            indices_fr=drawn,
            class_counts=torch.bincount(points.y_fer, minlength=len(CLASSES)).tolist(),
            generator=lambda purpose, step=step: torch.Generator().manual_seed(  # type: ignore[misc]
                10_000 * seed + step
            ),
            history=history,
            extra=run.extra,
            by_image=False,
        )
        method.step(context)


def _batch(points: Points, drawn: Tensor, generator: torch.Generator) -> StepBatch:
    """All labelled points, and those drawn of the others, in a plain and an augmented view."""

    def view(x: Tensor, light: float = 0.0) -> Tensor:
        noise = torch.randn(x.shape, generator=generator) * torch.tensor(
            [PLAIN_NOISE + light, PLAIN_NOISE]
        )
        return _faces(x + noise)

    x_fr = points.x_fr[drawn]
    return StepBatch(view(points.x_fer), points.y_fer, view(x_fr), view(x_fr, OTHER_LIGHT))


def _from_labels(
    network: nn.Module, points: Points, steps: int, eta: float, label_smoothing: float, seed: int
) -> None:
    optimiser = SGD(network.parameters(), lr=eta, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = _batch(points, torch.arange(0), generator)
        supervised_step(
            network, optimiser, batch.x_fer, batch.y_fer, label_smoothing=label_smoothing
        )


def _faces(x: Tensor) -> Tensor:
    return x[:, :, None, None]


def _landmarks(happy: Tensor) -> Tensor:
    """(n, 5, 2): eyes, nose, corners of the mouth, which lie the wider apart the happier it is."""
    points = torch.tensor([[-1.0, 0], [1, 0], [0, 1], [-1, 2], [1, 2]]).repeat(len(happy), 1, 1)
    points[:, 3, 0] -= 0.3 * happy
    points[:, 4, 0] += 0.3 * happy
    return points
