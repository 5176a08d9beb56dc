"""How B names: drawn names, aligned ones, and those that do not count, by hand."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import SGD

from face2exp_lib.methods.feedback import FeedbackHistory
from face2exp_lib.methods.meta_face2exp import META, MetaOptions, meta_step
from face2exp_lib.methods.method import StepBatch, StepContext
from face2exp_lib.methods.naming import Naming, drawn_labels, naming_of, uniform
from face2exp_lib.methods.passes import PLAIN
from face2exp_lib.methods.running import MEMORY
from tests.methods.nets import (
    TwoWeights,
    after_meta_step,
    descended,
    images,
    rows,
    same,
    sgd,
    sigmoid,
    small,
    state,
)

# Probabilities (3/4, 1/4), (1/4, 3/4) and (9/10, 1/10).
LOGITS = rows((math.log(3), 0), (0, math.log(3)), (math.log(9), 0))


def test_a_drawn_name_is_where_the_sum_of_probabilities_passes_chance() -> None:
    probabilities = rows((0.5, 0.3, 0.2)).expand(5, 3)  # type: ignore[arg-type]
    chance = torch.tensor([0.0, 0.49, 0.5, 0.79, 0.81], dtype=torch.float64)[:, None]
    assert drawn_labels(probabilities, chance).tolist() == [0, 0, 1, 1, 2]


def test_names_are_drawn_as_often_as_they_are_probable() -> None:
    chance = uniform(4000, torch.Generator().manual_seed(0), torch.device("cpu"))
    drawn = Naming(drawn=True).labels(LOGITS[:1].expand(4000, 2), chance)
    assert drawn.double().mean().item() == pytest.approx(1 / 4, abs=0.02)
    assert Naming().labels(LOGITS, None).tolist() == [0, 1, 0]


def test_alignment_divides_by_the_shares() -> None:
    """Divided by (9, 1) / 10, the three are as (5/6, 5/2), (5/18, 15/2) and (1, 1): the third is
    undecided just there."""
    shares = torch.tensor([0.9, 0.1], dtype=torch.float64)
    naming = Naming(shares=shares)
    assert naming.labels(LOGITS[:2], None).tolist() == [1, 1]
    less = Naming(shares=torch.tensor([0.89, 0.11], dtype=torch.float64))
    assert less.labels(LOGITS, None).tolist() == [1, 1, 0]
    chance = torch.tensor([[0.24], [0.26]], dtype=torch.float64)  # of class 0 aligned: 1/4
    drawn = Naming(drawn=True, shares=shares).labels(LOGITS[:1].expand(2, 2), chance)
    assert drawn.tolist() == [0, 1]
    even = Naming(shares=torch.full((2,), 0.5, dtype=torch.float64))
    assert even.labels(LOGITS, None).tolist() == Naming().labels(LOGITS, None).tolist()


def test_names_are_aligned_by_the_steps_before() -> None:
    """Two steps of a mean, and the floor of a tenth of an even share."""
    options, history = MetaOptions(balance="align"), FeedbackHistory()
    assert naming_of(options, history).shares is None
    history.shares.add(torch.tensor([0.6, 0.4]))
    history.shares.add(torch.tensor([0.8, 0.2]))
    mean = (MEMORY * 0.6 + 0.8) / (MEMORY + 1)
    shares = naming_of(options, history).shares
    assert shares is not None
    assert shares.tolist() == pytest.approx([mean, 1 - mean])
    assert naming_of(MetaOptions(), history).shares is None
    lopsided = FeedbackHistory()
    lopsided.shares.add(torch.tensor([1.0, 0.0]))
    shares = naming_of(options, lopsided).shares
    assert shares is not None
    assert shares.tolist() == pytest.approx([1, 0.05])


def test_what_is_not_over_the_threshold_does_not_count() -> None:
    """The most probable classes have 3/4, 3/4 and 9/10."""
    assert Naming().counted(LOGITS) is None
    counted = Naming(threshold=0.8).counted(LOGITS)
    assert counted is not None
    assert counted.tolist() == [0, 0, 1]
    loss = Naming(threshold=0.8).loss(LOGITS, None)
    assert loss.item() == pytest.approx(-math.log(0.9) / 3, abs=1e-14)
    assert Naming().loss(LOGITS, None) == F.cross_entropy(LOGITS, LOGITS.argmax(1))


def run(batch: StepBatch, history: FeedbackHistory | None = None, **options: Any) -> Any:
    """B = (2, 0) and A = (0, 0) after a step, and what it tells."""
    return after_meta_step(batch, history, seed=2, **options)


def hand_batch(*x_fr: tuple[float, float]) -> StepBatch:
    faces = rows(*x_fr)
    return StepBatch(rows((3, 1)), torch.tensor([0]), faces, faces)


def test_a_step_on_a_drawn_name_by_hand() -> None:
    """B's scores of (1/2, 2) are (1, 0): class 1 has 1 - sigmoid(1) = 0.27, and the number that
    seed 2 draws brings it. A at (0, 0) has grad_u = (1/2 x0, -1/2 x1) = (1/4, -1), its w' is
    (-1/8, 1/2). On x_FER its scores are (-3/8, 1/2), s = sigmoid(-7/8), and f = eta <((s - 1) 3,
    1 - s), grad_u> < 0. B is pushed away from class 1; its labelled gradient is at (6, 0)."""
    chance = uniform(1, torch.Generator().manual_seed(2), torch.device("cpu")).item()
    assert chance > sigmoid(1)
    w_b, w_a, found = run(hand_batch((0.5, 2)), pseudo_labels="drawn")
    assert found["y_hat_fr"].tolist() == [1]
    assert w_a == pytest.approx([-1 / 8, 1 / 2], abs=1e-14)
    s = sigmoid(-7 / 8)
    f = 0.5 * ((s - 1) * 3 * 0.25 + (1 - s) * -1)
    assert found["feedback"].item() == pytest.approx(f, abs=1e-14)
    p, q = sigmoid(6), sigmoid(1)
    grad_f = [f * q * 0.5, f * -q * 2]
    assert w_b == pytest.approx(descended([2, 0], [(p - 1) * 3, 1 - p], grad_f), abs=1e-14)
    assert found["confidence_fr"].item() == pytest.approx(1 - q, abs=1e-14)


def test_a_step_over_a_threshold_by_hand() -> None:
    """B gives (1, 2) and (1/4, 1) sigmoid(2) = 0.88 and sigmoid(1/2) = 0.62: the second face has no
    part in A's step, half of the first's, nor in L_f, a mean over both."""
    w_b, w_a, found = run(hand_batch((1, 2), (0.25, 1)), pseudo_label_threshold=0.7)
    grad_u = [-0.5 / 2, 1 / 2]
    assert w_a == pytest.approx(descended([0, 0], grad_u), abs=1e-14)
    assert found["learnt_fr"].item() == 0.5
    s = sigmoid(3 * w_a[0] - w_a[1])
    f = 0.5 * ((s - 1) * 3 * grad_u[0] + (1 - s) * grad_u[1])
    p, q = sigmoid(6), sigmoid(2)
    assert found["loss_u"].item() == pytest.approx(math.log(2) / 2, abs=1e-14)
    assert found["loss_f"].item() == pytest.approx(f * -math.log(q) / 2, abs=1e-14)
    grad_f = [f * (q - 1) / 2, f * (1 - q) * 2 / 2]
    assert w_b == pytest.approx(descended([2, 0], [(p - 1) * 3, 1 - p], grad_f), abs=1e-14)


@pytest.mark.parametrize("target", ["fixed", "moving"])
def test_a_sharp_and_masked_consistency_target_by_hand(target: str) -> None:
    """Plain views (2, 1) and (1/4, 1) have sigmoid(4) and sigmoid(1/2) = 0.62; at temperature 2 the
    first's target is t = sigmoid(2). Its augmented view (1, 2) has q = sigmoid(2) as well. L_c's
    gradient there is (q - t) (x0, -x1) / 2 = 0; a target that moves adds that of
    -(t ln q + (1 - t) ln(1 - q)) / 2 by B's plain scores 2 w0, w1, through dt = t (1 - t) / 2."""
    batch = StepBatch(
        rows((3, 1)), torch.tensor([0]), rows((2, 1), (0.25, 1)), rows((1, 2), (5, 5))
    )
    options: dict[str, Any] = {
        "consistency_temperature": 2.0,
        "consistency_threshold": 0.7,
        "w_f": 0.0,
    }
    w_b, _, found = run(batch, consistency_target=target, **options)
    p, q = sigmoid(6), sigmoid(2)
    slope = -(math.log(q) - math.log(1 - q)) * q * (1 - q) / 2 / 2
    grad_c = [2 * slope, -1 * slope] if target == "moving" else [0, 0]
    assert w_b == pytest.approx(descended([2, 0], [(p - 1) * 3, 1 - p], grad_c), abs=1e-14)
    entropy = -(q * math.log(q) + (1 - q) * math.log(1 - q))
    assert found["loss_c"].item() == pytest.approx(entropy / 2, abs=1e-14)
    assert found["kept_fr"].item() == 0.5


def test_without_a_threshold_no_share_is_told() -> None:
    found = run(hand_batch((1, 2)))[2]
    assert not {"kept_fr", "learnt_fr", "feedback_fr"} & found.keys()


def stepped(**options: Any) -> list[Tensor]:
    """Weights of the small nets after two steps, in which names are not all the same."""
    base, adaptation = small(0), small(1)
    optimisers = SGD(base.parameters(), lr=0.01), SGD(adaptation.parameters(), lr=0.01)
    history = FeedbackHistory()
    names: set[int] = set()
    for seed in (3, 4):
        generator = torch.Generator().manual_seed(seed)
        found = meta_step(
            base,
            adaptation,
            *optimisers,
            images(seed),
            MetaOptions(**options),
            history,
            generator=generator,
        )
        names |= set(found["y_hat_fr"].tolist())
    assert len(names) > 1
    return state(base, adaptation)


@pytest.mark.parametrize(
    "options",
    [
        {"consistency_temperature": 1.0, "consistency_threshold": 1e-9},
        {"consistency_target": "moving", "consistency_threshold": 1e-9},
    ],
)
def test_a_threshold_under_all_is_none(options: dict[str, Any]) -> None:
    plain = {key: value for key, value in options.items() if key == "consistency_target"}
    assert same(stepped(**options), stepped(**plain))


def test_aligned_by_even_shares_is_the_papers_step(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, aligned = stepped(), stepped(balance="align")
    assert not same(plain, aligned)
    even = torch.full((7,), 1 / 7)
    monkeypatch.setattr("face2exp_lib.methods.meta_face2exp.mean_probabilities", lambda _: even)
    assert same(plain, stepped(balance="align"))


def test_drawn_names_ask_for_a_generator() -> None:
    base, adaptation = small(0), small(1)
    arguments = base, adaptation, sgd(base), sgd(adaptation), images()
    with pytest.raises(ValueError, match="pseudo_labels drawn needs a generator: give one"):
        meta_step(*arguments, MetaOptions(pseudo_labels="drawn"), FeedbackHistory())


def test_a_run_draws_by_the_generator_of_its_step() -> None:
    """That of the hand case, of which a fixed one would draw class 0."""
    base, adaptation = TwoWeights(2.0, 0.0), TwoWeights(0.0, 0.0)
    purposes: list[str] = []

    def generator(purpose: str) -> torch.Generator:
        purposes.append(purpose)
        return torch.Generator().manual_seed(2)

    given = StepContext(
        networks={"base": base, "adaptation": adaptation},
        optimisers={"base": sgd(base), "adaptation": sgd(adaptation)},
        batch=hand_batch((0.5, 2)),
        options=MetaOptions(pseudo_labels="drawn"),
        compute=PLAIN,
        label_smoothing=0.0,
        step=0,
        progress=0.0,
        points_fer=torch.zeros(1, 5, 2),
        indices_fer=torch.tensor([0]),
        indices_fr=torch.tensor([0]),
        class_counts=[1, 1],
        generator=generator,
        history=FeedbackHistory(),
        extra={},
        by_image=False,
    )
    assert META.step(given)["y_hat_fr"].tolist() == [1]
    assert purposes == ["labels"]
    fixed = uniform(1, torch.Generator(), torch.device("cpu"))
    assert fixed.item() < sigmoid(1)


def test_drawn_names_depend_on_the_generator_alone() -> None:
    assert same(stepped(pseudo_labels="drawn"), stepped(pseudo_labels="drawn"))
    assert not same(stepped(pseudo_labels="drawn"), stepped())
