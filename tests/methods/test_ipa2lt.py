"""IPA2LT: LTNet by hand, matrices that it finds, and a truth that neither annotator tells alone."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.methods.ipa2lt import (
    Ipa2ltOptions,
    LatentTruth,
    Transitions,
    annotators_losses,
    ipa2lt_step,
)
from face2exp_lib.methods.passes import Compute
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError
from tests.methods.nets import (
    ETA,
    TwoWeights,
    descended,
    images,
    rows,
    sgd,
    sigmoid,
    small,
    state,
)


class Known(FaceNetwork):
    """Scores of three classes, a number for each face's group."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Linear = nn.Linear(3, 3, bias=False).double()
        nn.init.zeros_(self.fc.weight)

    def features(self, x: Tensor) -> Tensor:
        return x


def both(network: FaceNetwork, num_classes: int = 2) -> LatentTruth:
    return LatentTruth(network, Transitions(2, num_classes).double())


def test_step_by_hand() -> None:
    """p = (3/4, 1/4), T_0 = 1, and T_1 = (1/2, 1/2; 1/4, 3/4): P_1 = (7/16, 9/16). The labels say
    0, the coder 1. By the scores, d P_k = p_k (1 - p_k) T_kj; by T_kj of what was said, p_k."""
    network = TwoWeights(math.log(3), 0.0)
    net = both(network)
    with torch.no_grad():
        net.transitions.rows[1] = rows((0.5, 0.5), (0.25, 0.75))
    found = ipa2lt_step(net, sgd(net), rows((1, 1)), torch.tensor([[0, 1]]), Ipa2ltOptions())
    assert found["loss_s"].item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    assert found["loss_coder"].item() == pytest.approx(math.log(16 / 9), abs=1e-12)
    assert (found["kept_labels"].item(), found["kept_coder"].item()) == (1, 0.625)
    slope = -1 / 4 - 3 / 16 * (0.5 - 0.75) / (9 / 16)
    assert network.weights() == pytest.approx(
        descended([math.log(3), 0], [slope, -slope]), abs=1e-12
    )
    # Labels: T_0,00 gains p_0 / P_0 = 1, the other number of its row stays at the floor; T_0,10
    # gains (1/4) / (3/4), of which both give back a half.
    first, up = net.transitions.rows[0].tolist(), ETA / 3
    assert first[0] == pytest.approx([0.99, 0.01], abs=1e-7)
    assert first[1] == pytest.approx([up / 2, 1 - up / 2], abs=1e-7)
    # The coder: T_1,01 gains (3/4) / (9/16), T_1,11 (1/4) / (9/16).
    second, a, b = net.transitions.rows[1].tolist(), ETA * 4 / 3, ETA * 4 / 9
    assert second[0] == pytest.approx([0.5 - a / 2, 0.5 + a / 2], abs=1e-7)
    assert second[1] == pytest.approx([0.25 - b / 2, 0.75 + b / 2], abs=1e-7)


def test_who_is_silent_counts_nothing() -> None:
    logits = rows((math.log(3), 0), (0, 0))
    eye = torch.eye(2).double().repeat(2, 1, 1)
    found = annotators_losses(logits, torch.tensor([[0, -1], [1, 1]]), eye, Ipa2ltOptions())
    assert found.tolist() == pytest.approx([(math.log(4 / 3) + math.log(2)) / 2, math.log(2) / 2])


def test_the_released_code_takes_a_softmax_more() -> None:
    """Of p = (3/4, 1/4), whose softmax gives class 0 the sigmoid of 1/2."""
    eye = torch.eye(2).double().repeat(2, 1, 1)
    logits, said = rows((math.log(3), 0)), torch.tensor([[0, 1]])
    found = annotators_losses(logits, said, eye, Ipa2ltOptions("softmax"))
    assert found.tolist() == pytest.approx([-math.log(sigmoid(0.5)), -math.log(sigmoid(-0.5))])


def test_smoothing_is_of_the_set_s_own_labels() -> None:
    logits, eye = rows((math.log(3), 0)), torch.eye(2).double().repeat(2, 1, 1)
    found = annotators_losses(logits, torch.tensor([[0, 0]]), eye, Ipa2ltOptions(), 0.2)
    plain = math.log(4 / 3)
    smooth = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert found.tolist() == pytest.approx([smooth, plain])


def test_one_annotator_is_refused() -> None:
    with pytest.raises(Face2ExpError, match="of 1 annotator the truth cannot be told"):
        Transitions(1, 7)


def test_with_a_silent_coder_the_first_step_is_the_supervised_one() -> None:
    """T_0 = 1: the same loss, computed through probabilities, so up to rounding."""
    batch, network, expected = images(), small().double(), small().double()
    said = torch.stack([batch.y_fer, torch.full((6,), -1)], 1)
    net = LatentTruth(network, Transitions(2, 7).double())
    found = ipa2lt_step(net, sgd(net), batch.x_fer.double(), said, Ipa2ltOptions())
    wanted = supervised_step(expected, sgd(expected), batch.x_fer.double(), batch.y_fer)
    assert found["loss_s"].item() == pytest.approx(wanted["loss_s"].item(), abs=1e-12)
    assert found["loss_coder"].item() == 0
    for one, other in zip(state(network), state(expected), strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


def test_micro_batches_add_up() -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    said = torch.tensor([[0, 1], [1, 1], [2, -1], [0, 2], [1, 0], [2, 2]])
    found = []
    for compute in (Compute(), Compute(micro_batch_size=2)):
        net = both(Known(), 3)
        told = ipa2lt_step(net, sgd(net), x, said, Ipa2ltOptions(), compute)
        found.append((told["loss_s"], *state(net)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


TRUTH = torch.arange(3).repeat(200)
# How annotators of known habits label; the first takes most of class 0 for class 1.
HABITS = torch.tensor(
    [
        [[0.4, 0.6, 0.0], [0.1, 0.9, 0.0], [0.0, 0.2, 0.8]],
        [[0.9, 0.0, 0.1], [0.2, 0.7, 0.1], [0.0, 0.0, 1.0]],
    ],
    dtype=torch.float64,
)


def said_by_habit() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    chosen = [torch.multinomial(habit[TRUTH], 1, generator=generator) for habit in HABITS]
    return torch.cat(chosen, 1)


def test_it_recovers_the_matrices_where_it_knows_the_truth() -> None:
    network, said = Known(), said_by_habit()
    with torch.no_grad():
        network.fc.weight.copy_(8 * torch.eye(3))
    net = both(network, 3)
    optimiser = torch.optim.SGD(net.transitions.parameters(), lr=0.02)
    x = torch.eye(3, dtype=torch.float64)[TRUTH]
    for _ in range(600):
        ipa2lt_step(net, optimiser, x, said, Ipa2ltOptions())
    seen = torch.stack(
        [
            torch.stack([torch.bincount(said[k == TRUTH, c], minlength=3) / 200 for k in range(3)])
            for c in range(2)
        ]
    )
    assert torch.allclose(net.transitions.rows, seen.double(), atol=0.02)
    assert torch.allclose(net.transitions.rows, HABITS, atol=0.1)
    assert torch.allclose(net.transitions.rows.sum(2), torch.ones(2, 3).double())


def test_rows_divided_by_their_sums_would_rest_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the module says of the released code: at the roots of the habits."""

    def divide(matrices: Transitions) -> None:
        with torch.no_grad():
            matrices.rows.clamp_(min=1e-3).div_(matrices.rows.sum(2, keepdim=True))

    monkeypatch.setattr(Transitions, "project", divide)
    network = Known()
    with torch.no_grad():
        network.fc.weight.copy_(20 * torch.eye(3))
    net = both(network, 3)
    optimiser = torch.optim.SGD(net.transitions.parameters(), lr=0.1)
    said = torch.tensor([[0, 0]] * 4 + [[1, 0]])  # of five faces of class 0
    x = torch.eye(3, dtype=torch.float64)[[0] * 5]
    for _ in range(200):
        ipa2lt_step(net, optimiser, x, said, Ipa2ltOptions())
    labels = net.transitions.rows[0, 0]
    assert (labels[0] / labels[1]).item() == pytest.approx(2, rel=0.05)  # the root of 4


def test_it_tells_the_truth_that_the_labels_do_not() -> None:
    """Of class 0 the labels say 1 more often than not, and so does whoever learns them alone."""
    said, x = said_by_habit(), torch.eye(3, dtype=torch.float64)[TRUTH]
    alone, net = Known(), both(Known(), 3)
    rates: dict[str, Any] = {"lr": 1.0}
    by_labels = torch.optim.SGD(alone.parameters(), **rates)
    by_all = torch.optim.SGD(net.parameters(), lr=0.3)
    for _ in range(300):
        supervised_step(alone, by_labels, x, said[:, 0])
        ipa2lt_step(net, by_all, x, said, Ipa2ltOptions())
    assert alone(x[:3]).argmax(1).tolist() == [1, 1, 2]
    assert net(x[:3]).argmax(1).tolist() == [0, 1, 2]
    moved = net.transitions.rows[0, 0, 1] > net.transitions.rows[1, 0, 1] + 0.1
    assert moved  # it is the labels that it mistrusts
