"""f against values worked out by hand, and against what it stands for."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

from face2exp_lib.backbones.small import SmallResNet
from face2exp_lib.methods.feedback import (
    LAG,
    FeedbackHistory,
    Measured,
    begin_feedback,
    feedback_used,
)
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import PLAIN, Compute, descend, gradients
from face2exp_lib.methods.running import MEMORY
from face2exp_lib.networks import frozen_running_stats

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


def hand_case(y_fer: int, **options: Any) -> tuple[dict[str, torch.Tensor], float]:
    """One FR image (1, 2), one FER image (3, 1); A starts at (0, 0), B at (2, 0).

    B's logits on x_FR are (2, 0), so y_hat = 0. A's softmax on x_FR is (1/2, 1/2), so
    grad_u = ((1/2 - 1) 1, 1/2 2) = (-1/2, 1) and theta_A' = (0.05, -0.1).
    On x_FER its logits are then (0.15, -0.1), p0 = sigmoid(0.25), and the labelled gradient is
    ((p0 - [y=0]) 3, (p1 - [y=1]) 1).
    """
    adaptation, base = TwoParameters(0.0, 0.0), TwoParameters(2.0, 0.0)
    batch = StepBatch(
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
        MetaOptions(**options),
        FeedbackHistory(),
    )
    p0 = sigmoid(0.25)
    by_hand = (p0 - (y_fer == 0)) * 3 * -0.5 + ((1 - p0) - (y_fer == 1)) * 1 * 1.0
    result["w_a"], result["w_b"] = adaptation.w.detach(), base.w.detach()
    return result, by_hand


@pytest.mark.parametrize("way", ["exact", "jvp"])
@pytest.mark.parametrize("y_fer", [0, 1])
def test_feedback_over_eta_equals_the_hand_value(y_fer: int, way: str) -> None:
    result, by_hand = hand_case(y_fer, feedback=way)
    assert result["feedback"].item() / ETA_A == pytest.approx(by_hand, abs=1e-12)
    assert result["w_a"].tolist() == pytest.approx([0.05, -0.1], abs=1e-12)


@pytest.mark.parametrize("y_fer", [0, 1])
def test_trapezoid_by_hand(y_fer: int) -> None:
    """Before the step A's logits on x_FER are (0, 0): the labelled gradient is
    ((1/2 - [y=0]) 3, (1/2 - [y=1]) 1), and along grad_u = (-1/2, 1) that is -+ 5/4."""
    result, after = hand_case(y_fer, feedback="trapezoid")
    before = 5 / 4 if y_fer == 0 else -5 / 4
    assert result["feedback"].item() / ETA_A == pytest.approx((before + after) / 2, abs=1e-12)
    fall = math.log(2) - result["loss_s_after"].item()
    assert abs(result["feedback"].item() - fall) < abs(ETA_A * after - fall) / 300
    if y_fer == 0:  # the numbers that the book has
        assert round(fall, 6) == 0.117208
        assert round(ETA_A * after, 6) == 0.109456
        assert round(result["feedback"].item(), 6) == 0.117228


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference"])
def test_sign_flips_when_the_label_turns_adversarial(way: str) -> None:
    helped, hurt = (hand_case(y_fer, feedback=way)[0]["feedback"] for y_fer in (0, 1))
    assert helped > 0 > hurt


@pytest.mark.parametrize("y_fer", [0, 1])
def test_finite_difference_by_hand(y_fer: int) -> None:
    """A's logits on x_FER are (0, 0) before and (0.15, -0.1) after."""
    result, _ = hand_case(y_fer, feedback="finite_difference")
    after = -math.log(sigmoid(0.25 if y_fer == 0 else -0.25))
    assert result["loss_s_after"].item() == pytest.approx(after, abs=1e-12)
    assert result["feedback"].item() == pytest.approx(math.log(2) - after, abs=1e-12)


@pytest.mark.parametrize("y_fer", [0, 1])
def test_normalisations_by_hand(y_fer: int) -> None:
    """grad_u = (-1/2, 1); the labelled gradient afterwards is ((p0 - [y=0]) 3, (p1 - [y=1]) 1)."""
    per_eta, by_hand = hand_case(y_fer, feedback_norm="per_eta")
    assert per_eta["feedback_used"].item() == pytest.approx(by_hand, abs=1e-12)
    assert per_eta["feedback"].item() == pytest.approx(ETA_A * by_hand, abs=1e-12)
    p0 = sigmoid(0.25)
    length = math.hypot((p0 - (y_fer == 0)) * 3, (1 - p0) - (y_fer == 1)) * math.hypot(-0.5, 1)
    cosine, _ = hand_case(y_fer, feedback_norm="cosine")
    assert cosine["feedback_used"].item() == pytest.approx(by_hand / length, abs=1e-12)
    # B's update is scaled by it: theta_B is (2, 0), p_fr = sigmoid(2).
    p_fer, p_fr = sigmoid(6.0), sigmoid(2.0)
    label = y_fer == 0
    grad_s = [(p_fer - label) * 3, (1 - p_fer) - (not label)]
    grad_hat = [p_fr - 1, (1 - p_fr) * 2]
    expected = [
        w - 0.5 * (s + by_hand / length * hat)
        for w, s, hat in zip([2.0, 0.0], grad_s, grad_hat, strict=True)
    ]
    assert cosine["w_b"].tolist() == pytest.approx(expected, abs=1e-12)
    assert cosine["grad_norm_s"].item() == pytest.approx(math.hypot(*grad_s), abs=1e-12)
    length_f = abs(by_hand / length) * math.hypot(*grad_hat)
    assert cosine["grad_norm_f"].item() == pytest.approx(length_f, abs=1e-12)


def test_no_feedback_is_none_in_b_and_leaves_a_as_it_was() -> None:
    result, _ = hand_case(0, feedback="none")
    with_f, _ = hand_case(0)
    assert result["feedback"] == result["loss_f"] == result["grad_norm_f"] == 0
    assert "loss_s_after" not in result
    assert torch.equal(result["w_a"], with_f["w_a"])
    without, _ = hand_case(0, w_f=0.0)
    assert torch.equal(result["w_b"], without["w_b"])
    assert not torch.equal(result["w_b"], with_f["w_b"])


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


def tanh_case() -> tuple[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    _, x_fr, y_hat, x_fer, y_fer = small_case()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 5, stride=4), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten()
        )
        network.append(nn.Linear(4 * 49, 7))
    return network.double(), x_fr, y_hat, x_fer, y_fer


def measured(
    way: Any, eta_a: float, case: Callable[[], Any] = small_case, weight_decay: float = 0.0
) -> Measured:
    """A plain SGD step of a net with batch norm, and its feedback."""
    network, x_fr, y_hat, x_fer, y_fer = case()
    parameters = list(network.parameters())
    measure = begin_feedback(way, network, x_fer, y_fer, PLAIN)
    grad_u = gradients(F.cross_entropy(network(x_fr), y_hat), parameters)
    descend(SGD(parameters, lr=eta_a, weight_decay=weight_decay), parameters, grad_u)
    return measure(grad_u, eta_a)


@pytest.mark.parametrize("eta_a", [1e-4, 1e-2, 0.3])
def test_forward_mode_gives_the_number_of_the_two_gradients(eta_a: float) -> None:
    exact, jvp = measured("exact", eta_a), measured("jvp", eta_a)
    assert abs(exact.feedback) > 1e-6
    assert jvp.feedback.item() == pytest.approx(exact.feedback.item(), abs=1e-10, rel=1e-10)
    assert exact.loss_s_after is not None
    assert jvp.loss_s_after is not None
    assert jvp.loss_s_after.item() == pytest.approx(exact.loss_s_after.item(), abs=1e-12)


@pytest.mark.parametrize(("way", "order"), [("exact", 2), ("trapezoid", 3)])
def test_half_the_step_divides_the_error_by_a_power_of_its_order(way: str, order: int) -> None:
    """Beside the fall of the labelled loss. A tanh net: ReLUs have kinks, where nothing expands."""
    errors = []
    for eta_a in (0.004, 0.002, 0.001):
        fall, found = (measured(w, eta_a, tanh_case) for w in ("finite_difference", way))
        errors.append((fall.feedback - found.feedback).item())
    assert abs(errors[-1]) > 1e-11  # above rounding
    for whole, half in pairwise(errors):
        assert whole / half == pytest.approx(2**order, rel=0.15)


def test_trapezoid_is_a_mean_of_two_labelled_gradients() -> None:
    """Whichever was measured first: f is linear in them. Batch norm, weights at two points."""
    eta_a = 0.3
    network, x_fr, y_hat, x_fer, y_fer = small_case()
    parameters = list(network.parameters())
    grad_u = gradients(F.cross_entropy(network(x_fr), y_hat), parameters)
    before = gradients(F.cross_entropy(network(x_fer), y_fer), parameters)
    found = measured("trapezoid", eta_a)
    exact = measured("exact", eta_a)
    products = [(b * u).sum().item() for b, u in zip(before, grad_u, strict=True)]
    wanted = (eta_a * sum(products) + exact.feedback.item()) / 2
    assert found.feedback.item() == pytest.approx(wanted, rel=1e-9)
    assert found.loss_s_after == exact.loss_s_after
    assert found.norm_s_after == exact.norm_s_after
    half = [(b + a) / 2 for b, a in zip(before, exact.grad_s, strict=True)]
    for mean, wanted_mean in zip(found.grad_s, half, strict=True):
        torch.testing.assert_close(mean, wanted_mean, atol=1e-12, rtol=0)


def test_finite_difference_over_exact_tends_to_one() -> None:
    errors = []
    for eta_a in (1e-4, 1e-5, 1e-6):
        ways = ("finite_difference", "exact")
        difference, exact = (measured(way, eta_a, tanh_case) for way in ways)
        errors.append(abs(difference.feedback / exact.feedback - 1).item())
    assert errors[0] > errors[1] > errors[2]  # first order: the error falls with eta
    assert errors[2] < 1e-3


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp", "finite_difference", "none"])
def test_without_a_step_there_is_no_feedback(way: str) -> None:
    """At eta_A = 0 the two labelled losses are equal bit for bit, so their difference is 0."""
    assert measured(way, 0.0).feedback.item() == 0.0


def test_finite_difference_sees_weight_decay_and_the_others_do_not() -> None:
    """The step that A really took: with weight decay it is not line 7's."""
    eta_a = 1e-4
    exact, jvp, difference = (
        measured(way, eta_a, tanh_case, weight_decay=5.0)
        for way in ("exact", "jvp", "finite_difference")
    )
    assert jvp.feedback.item() == pytest.approx(exact.feedback.item(), rel=1e-10)
    without = measured("exact", eta_a, tanh_case).feedback.item()
    assert exact.feedback.item() == pytest.approx(without, rel=0.1)
    assert abs(difference.feedback / exact.feedback - 1) > 0.2


def test_finite_difference_runs_in_float32_whatever_the_precision() -> None:
    network, _, _, x_fer, y_fer = small_case()
    network.float()
    seen: list[torch.dtype] = []
    first = network.get_submodule("stem.0.0")
    first.register_forward_hook(lambda *results: seen.append(results[2].dtype))
    for way in ("finite_difference", "exact"):
        low = Compute(precision="bfloat16")
        measure = begin_feedback(way, network, x_fer.float(), y_fer, low)
        measure(tuple(torch.zeros_like(p) for p in network.parameters()), 0.1)
    assert seen == [torch.float32, torch.float32, torch.bfloat16]


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
        StepBatch(x_fer, y_fer, x_fr, x_fr.flip(3)),
        MetaOptions(),
        FeedbackHistory(),
    )
    assert result["loss_s_after"].item() == before
    assert result["feedback"].item() == 0.0


@pytest.mark.parametrize("way", ["exact", "trapezoid", "jvp"])
def test_momentum_and_weight_decay_do_not_leak_into_f(way: Any) -> None:
    """With an optimiser that remembers, f still is eta times the two raw gradients."""
    adaptation, x_fr, _, x_fer, y_fer = small_case()
    base = small_case(1)[0]
    optimiser_a = SGD(adaptation.parameters(), lr=0.01, momentum=0.9, weight_decay=0.1)
    optimiser_b = SGD(base.parameters(), lr=0.01)
    batch = StepBatch(x_fer, y_fer, x_fr, x_fr.flip(3))
    meta_step(
        base, adaptation, optimiser_b, optimiser_a, batch, MetaOptions(), FeedbackHistory()
    )  # fills the memory

    with torch.no_grad(), frozen_running_stats(base):
        y_hat = base(x_fr).argmax(1)
    parameters = list(adaptation.parameters())
    with frozen_running_stats(adaptation):
        grad_u = gradients(F.cross_entropy(adaptation(x_fr), y_hat), parameters)
        grad_before = gradients(F.cross_entropy(adaptation(x_fer), y_fer), parameters)
    result = meta_step(
        base,
        adaptation,
        optimiser_b,
        optimiser_a,
        batch,
        MetaOptions(feedback=way),
        FeedbackHistory(),
    )
    with frozen_running_stats(adaptation):
        grad_after = gradients(F.cross_entropy(adaptation(x_fer), y_fer), parameters)
    of_step = grad_after
    if way == "trapezoid":
        of_step = tuple((a + b) / 2 for a, b in zip(grad_after, grad_before, strict=True))
    products = [(a * b).sum().item() for a, b in zip(of_step, grad_u, strict=True)]
    assert result["feedback"].item() == pytest.approx(0.01 * sum(products), rel=1e-9)


def history_of(values: list[float]) -> FeedbackHistory:
    history = FeedbackHistory()
    for value in values:
        history.add(torch.tensor(value, dtype=torch.float64))
    return history


def test_running_mean_and_deviation_by_hand() -> None:
    """Values 1, 2, 4 with weights d^2, d, 1."""
    weights = [MEMORY**2, MEMORY, 1.0]
    values = [1.0, 2.0, 4.0]
    mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    squares = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
    history = history_of(values)
    assert history.mean.item() == pytest.approx(mean, abs=1e-12)
    assert history.deviation.item() == pytest.approx(math.sqrt(squares / sum(weights)), abs=1e-12)
    assert history_of([5.0]).deviation == 0


def test_deviation_survives_a_mean_that_dwarfs_it() -> None:
    small, offset = (
        history_of([base + 1e-6 * (-1) ** i for i in range(40)]) for base in (0.0, 1e3)
    )
    assert offset.deviation.item() == pytest.approx(small.deviation.item(), rel=1e-4)


def used(norm: Any, batch: Any, values: list[float]) -> list[float]:
    history = FeedbackHistory()
    return [
        feedback_used(
            Measured(torch.tensor(value, dtype=torch.float64), None, None),
            norm,
            batch,
            (),
            0.1,
            history,
        ).item()
        for value in values
    ]


def test_normalisations_that_look_back() -> None:
    values = [1.0, 2.0, 4.0]
    history = history_of(values)
    assert used("paper", "own", values) == values
    average = used("minus_average", "own", values)
    assert average == pytest.approx(
        [0, 2 - history_of(values[:2]).mean.item(), 4 - history.mean.item()]
    )
    deviation = used("running_std", "own", values)
    assert deviation[0] == 0
    assert deviation[2] == pytest.approx(4 / history.deviation.item())


def test_an_earlier_batch_lends_its_value() -> None:
    values = [float(i) for i in range(1, LAG + 6)]
    assert used("paper", "earlier", values) == [0.0] * LAG + values[:5]


def test_history_is_restored_whole() -> None:
    first, second = history_of([1.0, 3.0]), FeedbackHistory()
    first.exchange(torch.tensor(7.0, dtype=torch.float64))
    first.images.add(torch.tensor(1.0), variance=2.0)
    first.shares.add(torch.tensor([0.25, 0.75]))
    second.load_state_dict(first.state_dict())
    for history in (first, second):
        history.add(torch.tensor(2.0, dtype=torch.float64))
        history.images.add(torch.tensor(3.0), variance=1.0)
        history.shares.add(torch.tensor([0.5, 0.5]))
        history.exchange(torch.tensor(8.0, dtype=torch.float64))
    assert len(first.state_dict()) == 10
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_history_of_f_alone_is_one_without_images_and_names() -> None:
    """As checkpoints had it before there were any."""
    whole = history_of([1.0, 3.0]).state_dict()
    history = FeedbackHistory()
    history.load_state_dict({name: whole[name] for name in whole if "." not in name})
    for name, value in history.state_dict().items():
        assert torch.equal(value, whole[name]), name


def test_cosine_is_refused_where_a_gradient_is_missing() -> None:
    with pytest.raises(ValueError, match="cosine needs the exact feedback"):
        used("cosine", "own", [1.0])
    with pytest.raises(ValueError, match="feedback_norm cosine needs feedback exact, not jvp"):
        MetaOptions(feedback="jvp", feedback_norm="cosine")


@pytest.mark.parametrize("norm", ["per_eta", "cosine"])
def test_a_network_that_did_not_move_gives_no_feedback(norm: Any) -> None:
    none = torch.tensor(0.0, dtype=torch.float64)
    result = feedback_used(
        Measured(none, None, none + 1), norm, "own", (none + 1,), 0.0, FeedbackHistory()
    )
    assert result.item() == 0.0
