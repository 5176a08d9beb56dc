"""f against values worked out by hand, and against what it stands for."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from face2exp_lib.feedback import feedback_coefficient, gradients
from face2exp_lib.meta_step import MetaBatch, MetaOptions, meta_step
from face2exp_lib.networks import SmallResNet, frozen_running_stats

ETA_A = 0.1


class TwoParameters(nn.Module):
    """Two classes, logits (w0 x0, w1 x1): two weights, no bias."""

    def __init__(self, w0: float, w1: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w0, w1], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def hand_case(y_fer: int) -> tuple[dict[str, torch.Tensor], float]:
    """One FR image (1, 2), one FER image (3, 1); A starts at (0, 0), B at (2, 0).

    B's logits on x_FR are (2, 0), so y_hat = 0. A's softmax on x_FR is (1/2, 1/2), so
    grad_u = ((1/2 - 1) 1, 1/2 2) = (-1/2, 1) and theta_A' = (0.05, -0.1).
    On x_FER its logits are then (0.15, -0.1), p0 = sigmoid(0.25), and the labelled gradient is
    ((p0 - [y=0]) 3, (p1 - [y=1]) 1).
    """
    adaptation, base = TwoParameters(0.0, 0.0), TwoParameters(2.0, 0.0)
    batch = MetaBatch(
        x_fer=torch.tensor([[3.0, 1.0]], dtype=torch.float64),
        y_fer=torch.tensor([y_fer]),
        x_fr=torch.tensor([[1.0, 2.0]], dtype=torch.float64),
        x_fr_aug=torch.tensor([[1.0, 2.0]], dtype=torch.float64),
    )
    result = meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=0.5),
        SGD(adaptation.parameters(), lr=ETA_A),
        batch,
        MetaOptions(),
    )
    p0 = sigmoid(0.25)
    by_hand = (p0 - (y_fer == 0)) * 3 * -0.5 + ((1 - p0) - (y_fer == 1)) * 1 * 1.0
    result["w_a"], result["w_b"] = adaptation.w.detach(), base.w.detach()
    return result, by_hand


@pytest.mark.parametrize("y_fer", [0, 1])
def test_feedback_over_eta_equals_the_hand_value(y_fer: int) -> None:
    result, by_hand = hand_case(y_fer)
    assert result["feedback"].item() / ETA_A == pytest.approx(by_hand, abs=1e-12)
    assert result["w_a"].tolist() == pytest.approx([0.05, -0.1], abs=1e-12)


def test_sign_flips_when_the_label_turns_adversarial() -> None:
    assert hand_case(0)[0]["feedback"] > 0 > hand_case(1)[0]["feedback"]


def test_base_update_by_hand() -> None:
    """theta_B' = theta_B - eta_B (g_s + g_c + f g_hat), all three gradients by hand."""
    result, by_hand = hand_case(0)
    f = ETA_A * by_hand
    p_fer = sigmoid(2.0 * 3)  # class 0 on x_FER
    p_fr = sigmoid(2.0 * 1)  # class 0 on x_FR
    g_s = [(p_fer - 1) * 3, (1 - p_fer) * 1]
    g_hat = [(p_fr - 1) * 1, (1 - p_fr) * 2]
    # Aug(x_FR) is x_FR here, so prediction equals target and L_c has no gradient.
    expected = [w - 0.5 * (s + f * h) for w, s, h in zip([2.0, 0.0], g_s, g_hat, strict=True)]
    assert result["w_b"].tolist() == pytest.approx(expected, abs=1e-12)
    assert result["loss_f"].item() == pytest.approx(f * -math.log(p_fr), abs=1e-12)


def small_case(
    seed: int = 0,
) -> tuple[SmallResNet, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SmallResNet(7).double()
        x_fr, x_fer = torch.randn(2, 6, 3, 32, 32, dtype=torch.float64)
        y_hat, y_fer = torch.randint(7, (2, 6))
    return network, x_fr, y_hat, x_fer, y_fer


def losses_and_feedback(eta_a: float) -> tuple[float, float, float]:
    """Labelled loss before and after a plain SGD step of A, both by batch statistics, and f."""
    network, x_fr, y_hat, x_fer, y_fer = small_case()
    parameters = list(network.parameters())

    def labelled_loss() -> torch.Tensor:
        with frozen_running_stats(network):
            return F.cross_entropy(network(x_fer), y_fer)

    before = labelled_loss().item()
    grad_u = gradients(F.cross_entropy(network(x_fr), y_hat), parameters)
    with torch.no_grad():
        for parameter, grad in zip(parameters, grad_u, strict=True):
            parameter.sub_(eta_a * grad)
    loss = labelled_loss()
    feedback = feedback_coefficient(gradients(loss, parameters), grad_u, eta_a)
    return before, loss.item(), feedback.item()


def test_loss_difference_over_feedback_tends_to_one() -> None:
    errors = []
    for eta_a in (1e-4, 1e-5, 1e-6):
        before, after, feedback = losses_and_feedback(eta_a)
        errors.append(abs((before - after) / feedback - 1))
    assert errors[0] > errors[1] > errors[2]  # first order: the error falls with eta
    assert errors[2] < 1e-3


def test_labelled_losses_are_equal_bit_for_bit_without_a_step() -> None:
    before, after, feedback = losses_and_feedback(0.0)
    assert before == after
    assert feedback == 0.0


def test_meta_step_measures_the_labelled_loss_under_the_same_statistics() -> None:
    """At eta_A = 0 the loss that meta_step reports after the step is the loss before it."""
    adaptation, x_fr, _, x_fer, y_fer = small_case()
    base = small_case(1)[0]
    with frozen_running_stats(adaptation):
        before = F.cross_entropy(adaptation(x_fer), y_fer).item()
    result = meta_step(
        base,
        adaptation,
        SGD(base.parameters(), lr=0.1),
        SGD(adaptation.parameters(), lr=0.0),
        MetaBatch(x_fer, y_fer, x_fr, x_fr.flip(3)),
        MetaOptions(),
    )
    assert result["loss_s_after"].item() == before
    assert result["feedback"].item() == 0.0


def test_momentum_and_weight_decay_do_not_leak_into_f() -> None:
    """With an optimiser that remembers, f still is eta times the two raw gradients."""
    adaptation, x_fr, _, x_fer, y_fer = small_case()
    base = small_case(1)[0]
    optimiser_a = SGD(adaptation.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    optimiser_b = SGD(base.parameters(), lr=0.01)
    batch = MetaBatch(x_fer, y_fer, x_fr, x_fr.flip(3))
    meta_step(base, adaptation, optimiser_b, optimiser_a, batch, MetaOptions())  # fills the memory

    with torch.no_grad(), frozen_running_stats(base):
        y_hat = base(x_fr).argmax(1)
    parameters = list(adaptation.parameters())
    with frozen_running_stats(adaptation):
        grad_u = gradients(F.cross_entropy(adaptation(x_fr), y_hat), parameters)
    result = meta_step(base, adaptation, optimiser_b, optimiser_a, batch, MetaOptions())
    with frozen_running_stats(adaptation):
        grad_after = gradients(F.cross_entropy(adaptation(x_fer), y_fer), parameters)
    products = [(a * b).sum().item() for a, b in zip(grad_after, grad_u, strict=True)]
    assert result["feedback"].item() == pytest.approx(0.01 * sum(products), rel=1e-9)
