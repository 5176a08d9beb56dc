"""LDL-ALSG: frame, graph and loss by hand, its memory, and labels that landmarks put right."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.ldl_alsg import (
    LdlAlsgOptions,
    graph,
    in_face_frame,
    ldl_alsg_step,
    neighbour_loss,
    step,
    summed,
)
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime import distributed as world
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import plan_run
from tests.methods.nets import TwoWeights, assert_supervised, descended, rows, sgd, sigmoid
from tests.run_data import run_data

Tiny = Callable[..., RunConfig]


def test_the_frame_by_hand() -> None:
    """A face on its side: eyes at (8, 2) and (8, 6), middle (8, 4), mouth's middle at (4, 4). Down
    is to the left by 4, and a quarter turn from it, from the first eye to the second, is right."""
    points = torch.tensor([[[8, 2], [8, 6], [6, 5], [4, 3], [4, 5]]])
    found = in_face_frame(points)[0]
    assert found[1].tolist() == pytest.approx([0.5, 0])
    assert found[2].tolist() == pytest.approx([0.25, 0.5])
    assert found[3].tolist() == pytest.approx([-0.25, 1])


def test_place_size_and_tilt_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(3, 5, 2, generator=generator, dtype=torch.float64)
    turn = torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]]).double()
    moved = 7 * points @ turn + torch.tensor([3.0, -2.0])
    assert torch.allclose(in_face_frame(moved), in_face_frame(points), atol=1e-9)


def face(shift: float) -> list[list[float]]:
    """An upright face of height 1 whose nose lies `shift` to the right."""
    return [[-0.5, 0], [0.5, 0], [shift, 0.5], [-0.5, 1], [0.5, 1]]


def test_the_graph_by_hand() -> None:
    """Noses at 0, 1, 3 and nowhere. With one neighbour the distances are 1, 1 and 2: 4/3 wide."""
    points = torch.tensor([face(0), face(1), face(3), face(math.nan)])
    found, weights = graph(points, 1)
    assert found[:3, 0].tolist() == [1, 0, 1]
    near, far = math.exp(-1 / (2 * 16 / 9)), math.exp(-4 / (2 * 16 / 9))
    assert weights[:, 0].tolist() == pytest.approx([near, near, far, 0])
    found, weights = graph(points, 3, sigma=1.0)  # two others are all there are
    assert found[2].tolist() == [1, 0, 0]
    assert weights[2].tolist() == pytest.approx([math.exp(-2), math.exp(-4.5), 0])
    assert graph(points[3:], 2)[1].tolist() == [[0, 0]]
    assert graph(points[[0, 0]], 1)[1].tolist() == [[1], [1]]  # the same face twice


def test_the_neighbours_loss_by_hand() -> None:
    """p = (3/4, 1/4); neighbours (1/2, 1/2) of weight 1 and (0, 1) of weight 1/2."""
    q, a = torch.tensor([[[0.5, 0.5], [0, 1]]]).double(), rows((1, 0.5))
    found = neighbour_loss(rows((math.log(3), 0)), summed(q, a))
    first = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert found.item() == pytest.approx(first + 0.5 * math.log(4), abs=1e-14)


def test_step_by_hand() -> None:
    """w = (1, 0), the image (1, 1) of class 0, a neighbour of (1/4, 3/4) and weight 2 at w = 1/2:
    p = sigmoid(1), and the scores' slope is (p - 1) + (p - 1/4) for class 0, less that for 1."""
    network = TwoWeights(1.0, 0.0)
    q, a = torch.tensor([[[0.25, 0.75]]]).double(), torch.tensor([[2.0]]).double()
    found = ldl_alsg_step(
        network, sgd(network), rows((1, 1)), torch.tensor([0]), q, a, LdlAlsgOptions(0.5)
    )
    p = sigmoid(1)
    assert found["loss_s"].item() == pytest.approx(-math.log(p), abs=1e-14)
    divergence = 0.25 * math.log(0.25 / p) + 0.75 * math.log(0.75 / (1 - p))
    assert found["loss_neighbours"].item() == pytest.approx(2 * divergence, abs=1e-14)
    assert found["probabilities"][0].tolist() == pytest.approx([p, 1 - p])
    slope = (p - 1) + (p - 0.25)
    assert network.weights() == pytest.approx(descended([1, 0], [slope, -slope]), abs=1e-14)


def test_without_neighbours_it_is_the_supervised_step_bit_for_bit() -> None:
    nobody = torch.zeros(6, 5, 7), torch.zeros(6, 5)

    def alone(network: FaceNetwork, optimiser: torch.optim.SGD, batch: Any) -> None:
        ldl_alsg_step(network, optimiser, batch.x_fer, batch.y_fer, *nobody, LdlAlsgOptions())

    assert_supervised(alone)


class Linear(FaceNetwork):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, classes, bias=False)
        nn.init.zeros_(self.fc.weight)

    def features(self, x: Tensor) -> Tensor:
        return x


def test_landmarks_put_noisy_labels_right() -> None:
    """Three classes, told by the nose and by nothing that the network sees: it sees a number of its
    own for each face, so it learns every label by heart. A third of the labels are wrong; the
    neighbours' distributions outvote them, and the labels alone do not."""
    generator = torch.Generator().manual_seed(0)
    n, truth = 60, torch.arange(60) % 3
    noses = truth + 0.2 * torch.rand(n, generator=generator)
    points = torch.tensor([face(float(nose)) for nose in noses])
    labels = torch.where(torch.arange(n) // 3 % 3 == 0, (truth + 1) % 3, truth)
    right = {}
    for w in (0.0, 0.5):
        network = Linear(n, 3)
        found, weights = graph(points, 15)
        given: Any = SimpleNamespace(
            networks={"base": network},
            optimisers={"base": torch.optim.SGD(network.parameters(), lr=10.0)},
            batch=SimpleNamespace(x_fer=torch.eye(n), y_fer=labels),
            indices_fer=torch.arange(n),
            extra={
                "neighbours": found,
                "kernel": weights,
                "distributions": nn.functional.one_hot(labels, 3).float(),
            },
            options=LdlAlsgOptions(w),
            compute=PLAIN,
            label_smoothing=0.0,
        )
        for _ in range(100):
            step(given)
        right[w] = (network(torch.eye(n)).argmax(1) == truth).float().mean().item()
        kept = given.extra["distributions"]
        assert torch.allclose(kept.sum(1), torch.ones(n), atol=1e-5)
    assert right[0.0] == (labels == truth).float().mean().item()
    assert right[0.5] == 1


def test_a_run_with_landmarks_finds_neighbours_and_resumes(
    tiny: Tiny, squares_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny("method=ldl_alsg")
    data = run_data(config, squares_root)
    number = len(data.labelled)
    points = np.random.default_rng(0).random((number, 5, 2)).astype(np.float32) * 40
    canonical = np.arange(number) < 2
    labelled = replace(data.labelled, landmarks=points, canonical=canonical)
    (phase,) = plan_run(config, replace(data, labelled=labelled), torch.device("cpu")).phases
    assert phase.extra["neighbours"].shape == (number, 5)
    assert (phase.extra["kernel"][2:] > 0).all()
    assert (phase.extra["kernel"][:2] == 0).all()  # of faces that nobody found
    assert (phase.extra["neighbours"][2:] >= 2).all()
    before = phase.extra["distributions"].clone()
    seen = torch.cat([given.indices_fer for given, _ in phase.steps(0)]).unique()
    changed = (phase.extra["distributions"] != before).any(1).nonzero()[:, 0]
    assert torch.equal(changed, seen)


def test_every_process_notes_what_all_of_them_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes with a face each, and a third that none of them saw."""
    elsewhere = {1: torch.tensor([2]), 2: torch.tensor([[0.2, 0.8]])}
    monkeypatch.setattr(world, "gather", lambda rows: torch.cat([rows, elsewhere[rows.ndim]]))
    network = Linear(2, 2)
    noted = torch.eye(2)[[0, 1, 0]]
    given: Any = SimpleNamespace(
        networks={"base": network},
        optimisers={"base": sgd(network)},
        batch=SimpleNamespace(x_fer=torch.ones(1, 2), y_fer=torch.tensor([0])),
        indices_fer=torch.tensor([0]),
        extra={
            "neighbours": torch.tensor([[1], [0], [0]]),
            "kernel": torch.ones(3, 1),
            "distributions": noted,
        },
        options=LdlAlsgOptions(),
        compute=PLAIN,
        label_smoothing=0.0,
    )
    step(given)
    expected = torch.tensor([[0.5, 0.5], [0, 1], [0.2, 0.8]])
    assert torch.equal(given.extra["distributions"], expected)


def test_a_set_without_landmarks_is_told_of(
    tiny: Tiny, squares_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny("method=ldl_alsg"), tmp_path / "run", squares_root)
    told = "comes without landmarks, so method ldl_alsg finds no neighbours and learns as"
    assert told in capsys.readouterr().err
