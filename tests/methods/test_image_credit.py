"""f_i, and L_f where each image is credited for itself: by hand, and where it is the paper's."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from face2exp_lib.methods.feedback import CLIP, FeedbackHistory, normalised
from face2exp_lib.methods.image_credit import image_credit
from face2exp_lib.methods.meta_face2exp import MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.running import MEMORY, RunningMoments
from tests.methods.nets import (
    after_meta_step,
    descended,
    images,
    rows,
    sgd,
    sigmoid,
    small,
    state,
)

Found = tuple[list[float], list[float], dict[str, Tensor]]


def run(x_fr: Tensor, history: FeedbackHistory | None = None, **options: Any) -> Found:
    """B, from (2, 0), and A, from (0, 0), after a step; the labelled face is (3, 1) of class 0."""
    batch = StepBatch(rows((3, 1)), torch.tensor([0]), x_fr, x_fr)
    return after_meta_step(batch, history, seed=1, **options)


def moved(*credits: float) -> list[float]:
    """B after its step on L_s and on L_f of (1, 2) and (2, 1), both named 0, so credited."""
    p, q, r = sigmoid(6), sigmoid(2), sigmoid(4)
    grads_f = [(q - 1, (1 - q) * 2), ((r - 1) * 2, 1 - r)]
    parts = [(c * g[0] / 2, c * g[1] / 2) for c, g in zip(credits, grads_f, strict=True)]
    return descended([2, 0], [(p - 1) * 3, 1 - p], *parts)


def f_by_hand(way: str) -> tuple[float, float]:
    """A at (0, 0) has the gradients (-1/2, 1) and (-1, 1/2), whose mean leads to (3/8, -3/8). There
    the labelled gradient is (1 - s) (-3, 1) with s = sigmoid(3/2), before it was 1/2 (-3, 1), and
    the products with (-3, 1) are 5/2 and 7/2. eta is 1/2."""
    length = 1 - sigmoid(3 / 2)
    if way == "trapezoid":
        length = (length + 1 / 2) / 2
    return 0.5 * length * 5 / 2, 0.5 * length * 7 / 2


@pytest.mark.parametrize("way", ["exact", "trapezoid"])
def test_each_image_is_credited_by_hand(way: str) -> None:
    w_b, w_a, found = run(rows((1, 2), (2, 1)), feedback=way, feedback_unit="image", w_f=3.0)
    assert w_a == pytest.approx([3 / 8, -3 / 8], abs=1e-14)
    first, second = f_by_hand(way)
    assert found["feedback_fr"].tolist() == pytest.approx([first, second], abs=1e-14)
    assert found["feedback"].item() == pytest.approx((first + second) / 2, abs=1e-14)
    assert w_b == pytest.approx(moved(3 * first, 3 * second), abs=1e-14)
    loss_f = (first * -math.log(sigmoid(2)) + second * -math.log(sigmoid(4))) / 2
    assert found["loss_f"].item() == pytest.approx(loss_f, abs=1e-14)
    grad = [w - wanted for w, wanted in zip(moved(0, 0), w_b, strict=True)]
    assert found["grad_norm_f"].item() == pytest.approx(math.hypot(*grad) / 0.5, abs=1e-13)


def test_credit_in_running_units_by_hand() -> None:
    """In the first step the two are one deviation from their mean. In the second, the mean of a
    step before, 1 with variance 1/4, weighs MEMORY."""
    w_b, _, found = run(rows((1, 2), (2, 1)), feedback_unit="image", feedback_norm="standard")
    assert w_b == pytest.approx(moved(-1, 1), abs=1e-13)
    assert found["feedback_used"].item() == pytest.approx(0, abs=1e-13)

    def before() -> FeedbackHistory:
        history = FeedbackHistory()
        history.images.add(torch.tensor(1.0, dtype=torch.float64), variance=0.25)
        return history

    first, second = f_by_hand("exact")
    middle, half = (first + second) / 2, (second - first) / 2
    mean = (MEMORY * 1 + middle) / (MEMORY + 1)
    squares = MEMORY * (0.25 + (1 - mean) ** 2) + half**2 + (middle - mean) ** 2
    deviation = math.sqrt(squares / (MEMORY + 1))
    for norm, credits in {
        "standard": [(f - mean) / deviation for f in (first, second)],
        "running_std": [first / deviation, second / deviation],
        "minus_average": [first - mean, second - mean],
        "per_eta": [2 * first, 2 * second],
        "paper": [first, second],
    }.items():
        w_b, _, _ = run(rows((1, 2), (2, 1)), before(), feedback_unit="image", feedback_norm=norm)
        assert w_b == pytest.approx(moved(*credits), abs=1e-13), norm


def test_standard_credit_stops_at_three_deviations() -> None:
    moments = RunningMoments()
    moments.add(torch.tensor(1.0), variance=4.0)
    feedback = torch.tensor([1.0, 2.0, -6.0, 70.0])
    assert normalised(feedback, "standard", 0.1, moments).tolist() == [0, 0.5, -CLIP, CLIP]
    assert CLIP == 3


def test_a_batch_may_be_credited_in_standard_units_too() -> None:
    history = FeedbackHistory()
    for value in (1.0, 2.0, 4.0):
        history.add(torch.tensor(value))
    found = normalised(torch.tensor(4.0), "standard", 0.1, history)
    assert found.item() == pytest.approx(((4 - history.mean) / history.deviation).item())


@pytest.mark.parametrize("way", ["exact", "trapezoid"])
def test_images_that_help_alike_make_the_papers_step(way: str) -> None:
    """(1, 2) and (2, -1) have the gradients (-1/2, 1) and (-1, -1/2): with (-3, 1) both are 5/2."""
    x_fr = rows((1, 2), (2, -1))
    (w_b, w_a, found), (plain_b, plain_a, expected) = (
        run(x_fr, feedback=way, feedback_unit=unit) for unit in ("image", "batch")
    )
    assert w_b == pytest.approx(plain_b, abs=1e-14)
    assert w_a == plain_a
    assert found["loss_f"].item() == pytest.approx(expected["loss_f"].item(), abs=1e-14)
    assert found["feedback_fr"].tolist() == pytest.approx([expected["feedback"].item()] * 2)
    others = rows((1, 2), (2, 1))
    assert run(others, feedback=way)[0] != pytest.approx(
        run(others, feedback=way, feedback_unit="image")[0], abs=1e-6
    )


def test_the_mean_credit_is_f_with_batch_norm() -> None:
    """And running statistics move by line 7's and line 9's pass alone."""
    for batch_norm in ("separate", "together"):
        base, adaptation = small(0), small(1)
        rates = SGD(base.parameters(), lr=0.01), SGD(adaptation.parameters(), lr=0.01)
        options = MetaOptions(feedback_unit="image", batch_norm=batch_norm)
        found = meta_step(base, adaptation, *rates, images(), options, FeedbackHistory())
        f_i = found["feedback_fr"]
        assert f_i.mean().item() == pytest.approx(found["feedback"].item(), rel=1e-4)
        assert f_i.std() > 0
        for network in (base, adaptation):
            assert network.get_buffer("stem.0.1.num_batches_tracked") == 1


def test_f_i_is_measured_once() -> None:
    """Telemetry asks for what the step has; asking changes nothing."""

    def after(by_image: bool) -> tuple[list[Tensor], int]:
        base, adaptation = small(0), small(1)
        passes: list[int] = []
        adaptation.register_forward_pre_hook(lambda _, inputs: passes.append(len(inputs[0])))
        rates, options = (sgd(base), sgd(adaptation)), MetaOptions(feedback_unit="image")
        found = meta_step(
            base, adaptation, *rates, images(), options, FeedbackHistory(), by_image=by_image
        )
        assert "feedback_fr" in found
        return state(base, adaptation), len(passes)

    (unasked, passes), (asked, passes_asked) = after(False), after(True)
    assert passes == passes_asked == 3  # L_u; the labelled gradient; f_i
    assert all(torch.equal(one, other) for one, other in zip(unasked, asked, strict=True))


def credited(f_i: list[float], weights: list[float] | None, **changes: Any) -> list[float]:
    defaults: dict[str, Any] = {
        "norm": "paper",
        "eta_a": 0.1,
        "history": FeedbackHistory(),
    }
    found: list[float] = image_credit(
        torch.tensor(f_i),
        None if weights is None else torch.tensor(weights),
        **{**defaults, **changes},
    ).tolist()
    return found


def test_images_that_a_did_not_learn_from_have_no_credit() -> None:
    """Nor a part in mean and deviation: of 1 and 3 they are 2 and 1."""
    history = FeedbackHistory()
    found = credited([1.0, 0.0, 3.0, 0.0], [2, 0, 0.5, 0], norm="standard", history=history)
    assert found == [-1, 0, 1, 0]
    assert (history.images.mean.item(), history.images.deviation.item()) == (2, 1)
    assert history.images.weight == 0.5  # half a batch
    assert credited([0.0, 0.0], [0, 0], norm="standard", history=history) == [0, 0]
    assert (history.images.mean.item(), history.images.deviation.item()) == (2, 1)
    assert credited([0.0, 0.0], [0, 0], norm="standard") == [0, 0]


def shuffled(f_i: list[float], weights: list[float] | None, seed: int) -> list[float]:
    generator = torch.Generator().manual_seed(seed)
    return credited(f_i, weights, batch="shuffled", generator=generator)


def test_shuffled_credit_goes_to_other_faces_of_those_that_have_some() -> None:
    f_i = [float(i) for i in range(1, 9)]
    orders = [shuffled(f_i, None, seed) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == f_i != orders[0]
    f_i[1] = f_i[4] = 0
    weights = [float(value > 0) for value in f_i]
    found = shuffled(f_i, weights, 0)
    assert [index for index, value in enumerate(found) if value == 0] == [1, 4]
    assert sorted(found) == sorted(f_i)
    with pytest.raises(ValueError, match="feedback_batch shuffled needs a generator: give one"):
        credited(f_i, weights, batch="shuffled")


def test_a_shuffled_step_by_hand() -> None:
    """Seed 1 exchanges the two; what is told of them stays theirs."""
    assert torch.randperm(2, generator=torch.Generator().manual_seed(1)).tolist() == [1, 0]
    first, second = f_by_hand("exact")
    w_b, _, found = run(rows((1, 2), (2, 1)), feedback_unit="image", feedback_batch="shuffled")
    assert w_b == pytest.approx(moved(second, first), abs=1e-14)
    assert found["feedback_fr"].tolist() == pytest.approx([first, second], abs=1e-14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feedback": "none"}, "feedback_unit image needs feedback exact or trapezoid, not none"),
        ({"feedback": "jvp"}, "feedback_unit image needs feedback exact or trapezoid, not jvp"),
        ({"feedback": "finite_difference"}, "image needs feedback exact or trapezoid, not finite"),
        ({"feedback_norm": "cosine"}, "feedback_unit image has no feedback_norm cosine"),
        (
            {"feedback_batch": "earlier"},
            "feedback_batch earlier needs feedback_unit batch: .* take s",
        ),
        (
            {"feedback_unit": "batch", "feedback_batch": "shuffled"},
            "feedback_batch shuffled needs feedback_unit image",
        ),
    ],
)
def test_what_cannot_be_credited_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetaOptions(**{"feedback_unit": "image", **options})
