"""DMUE: latent distributions, likeness and ramps by hand, and a mixed face that it mines."""

import math

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.methods.dmue import (
    Auxiliaries,
    DmueOptions,
    MultiBranchNetwork,
    auxiliary_loss,
    build_auxiliaries,
    class_likeness,
    dmue_step,
    latent_distribution,
    ramps,
    similarity_loss,
    soft_loss,
)
from face2exp_lib.networks import FaceNetwork, build_network
from face2exp_lib.runtime.errors import Face2ExpError
from tests.methods.nets import ETA, assert_supervised, same, sgd, small, state

OFF = {"w_soft": 0.0, "w_similarity": 0.0}


class ThreeScores(FaceNetwork):
    """Three classes whose scores are a linear function of three features, the images."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Linear = nn.Linear(3, 3, bias=False).double()
        nn.init.eye_(self.fc.weight)

    def features(self, x: Tensor) -> Tensor:
        return x


def quiet(num_features: int, num_classes: int) -> Auxiliaries:
    """With all weights 0: branches that know nothing, a confidence of 1/2."""
    made = Auxiliaries(num_features, num_classes).double()
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def double(*values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def masked(scores: Tensor) -> Tensor:
    """(N, K, K) with minus infinity where a branch would name its own class."""
    return scores.masked_fill(torch.eye(scores.shape[1], dtype=torch.bool), -math.inf)


def test_step_by_hand() -> None:
    """(1, 2, 0) of class 1. The branches of 0 and of 2 see it; each gives its two classes 1/2, so
    its gradients are (-1/2) x for class 1 and (1/2) x for the other, a mean over two branches.
    The target branch has logits x / 2; epoch 0 of 0: both weights are 1."""
    network, auxiliaries = ThreeScores(), quiet(3, 3)
    x, y = double((1, 2, 0)), torch.tensor([1])
    options = DmueOptions(ramp_epochs=0, **OFF)
    both = MultiBranchNetwork(network, auxiliaries)
    found = dmue_step(both, sgd(network, auxiliaries), x, y, options, epoch=0)
    total = math.exp(0.5) + math.exp(1) + 1
    p = [math.exp(0.5) / total, math.exp(1) / total, 1 / total]
    assert found["loss_s"].item() == pytest.approx(-math.log(p[1]), abs=1e-14)
    assert found["loss_auxiliary"].item() == pytest.approx(math.log(2), abs=1e-14)
    assert found["certainty"].item() == 0.5
    branches = auxiliaries.branches.weight.detach().view(3, 3, 3)
    nothing = [0.0, 0.0, 0.0]
    for branch, other in ((0, 2), (2, 0)):
        expected = [nothing, nothing, nothing]
        expected[1] = [ETA / 4 * value for value in (1, 2, 0)]
        expected[other] = [-ETA / 4 * value for value in (1, 2, 0)]
        for row, wanted in zip(branches[branch].tolist(), expected, strict=True):
            assert row == pytest.approx(wanted, abs=1e-14)
    assert branches[1].tolist() == [nothing] * 3
    for k, row in enumerate(network.fc.weight.tolist()):
        slope = 0.5 * (p[k] - (k == 1))  # the confidence scales the logits
        start = [float(k == j) for j in range(3)]
        wanted = [w - ETA * slope * x for w, x in zip(start, (1, 2, 0), strict=True)]
        assert row == pytest.approx(wanted, abs=1e-14)


def test_a_latent_distribution_by_hand() -> None:
    """Label 0, the branch without it says (1, 3) of the others at T = 1, roots of it at T = 2."""
    scores = masked(double((9, 0, math.log(3))).repeat(3, 1)[None])
    label = torch.tensor([0])
    assert latent_distribution(scores, label, 1.0)[0].tolist() == pytest.approx([0, 0.25, 0.75])
    root = math.sqrt(3)
    assert latent_distribution(scores, label, 2.0)[0].tolist() == pytest.approx(
        [0, 1 / (1 + root), root / (1 + root)]
    )


def test_the_soft_loss_leaves_the_label_out() -> None:
    """Probabilities 1/2, 1/4, 1/4 against 0, 1/4, 3/4: one square of 1/2 in three."""
    logits = double((math.log(2), 0, 0))
    found = soft_loss(logits, torch.tensor([0]), double((0, 0.25, 0.75)))
    assert found.item() == pytest.approx(0.25 / 3)


def test_likeness_by_hand() -> None:
    """Cosines of (1, 0) with the two of class 0, itself and (1, 1): 1 and r; with class 2: 0. The
    means are (1 + r) / 2 and 0, spread to 1 and 0; class 1 is not shown."""
    features, one_hot = double((1, 0), (1, 1), (0, 2)), torch.eye(3).double()[[0, 0, 2]]
    r = math.sqrt(0.5)
    found = class_likeness(features, one_hot)
    assert found[0].tolist() == [1, 0, 0]
    assert found[1].tolist() == pytest.approx([1, 0, 0])  # (r + 1) / 2 over r
    assert found[2].tolist() == [0, 0, 1]
    assert r < (r + 1) / 2
    alone = class_likeness(features[:1], one_hot[:1])
    assert alone.tolist() == [[0, 0, 0]]  # one class has no spread


def test_likeness_of_features_and_branches_by_hand() -> None:
    """Two images of class 2. Branches 0 and 1 see both; their scores are (0, s, t) and (s, 0, t)
    without their own class, so of (1, 0) and (0, 1) the Gram rows are (1, 0) and (0, 1). Features
    alike have rows of r: four squares of (1 - r) or r, a mean of both. Branch 2 sees none."""
    each = torch.stack(
        [double((5, 1, 0), (1, 5, 0), (0, 0, 5)), double((5, 0, 1), (0, 5, 1), (0, 0, 5))]
    )
    labels, r = torch.tensor([2, 2]), math.sqrt(0.5)
    found = similarity_loss(double((1, 1), (1, 1)), masked(each), labels)
    assert found.item() == pytest.approx(((1 - r) ** 2 + r**2) / 2)
    assert similarity_loss(double((1, 0), (0, 1)), masked(each), labels).item() == 0


def test_the_rows_of_likeness_have_length_1() -> None:
    """Scores (1, 0) and (1, 1): rows (r, r) and (a, b), a and 2 a. Features 1 and 2: both rows are
    (a, b)."""
    each = torch.stack(
        [double((5, 1, 0), (1, 5, 0), (0, 0, 5)), double((5, 1, 1), (1, 5, 1), (0, 0, 5))]
    )
    r, a, b = math.sqrt(1 / 2), math.sqrt(1 / 5), math.sqrt(4 / 5)
    found = similarity_loss(double((1,), (2,)), masked(each), torch.tensor([2, 2]))
    assert found.item() == pytest.approx(((a - r) ** 2 + (b - r) ** 2) / 4)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, (math.exp(-5), 1)),
        (3, (math.exp(-5 / 4), 1)),
        (6, (1, 1)),
        (12, (1, math.exp(-1 / 4))),
    ],
)
def test_ramps_by_hand(epoch: int, expected: tuple[float, float]) -> None:
    assert ramps(epoch, 6) == pytest.approx(expected)
    assert ramps(0, 0) == (1, 1)


def test_a_batch_of_one_class_is_learnt_from() -> None:
    """The branch of that class sees nothing, and nothing is infinite."""
    scores, labels = masked(torch.zeros(2, 3, 3)), torch.tensor([1, 1])
    assert auxiliary_loss(scores, labels).item() == pytest.approx(math.log(2))
    network, auxiliaries = ThreeScores(), quiet(3, 3)
    both = MultiBranchNetwork(network, auxiliaries)
    found = dmue_step(
        both, sgd(both), double((1, 0, 0), (2, 1, 0)), torch.tensor([1, 1]), DmueOptions(), 0
    )
    assert all(torch.isfinite(value) for value in found.values())
    assert all(torch.isfinite(value).all() for value in state(both))


def test_two_classes_are_refused() -> None:
    with pytest.raises(Face2ExpError, match="of 2 classes a branch without one has a single"):
        build_auxiliaries(build_network("small", 2, pretrained=False, seed=0), 0)


def test_without_its_terms_and_sure_of_all_it_is_the_supervised_step_bit_for_bit() -> None:
    auxiliaries = build_auxiliaries(small(), seed=0)
    last = auxiliaries.certainty[2]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(100.0)  # sigmoid(100) is 1

    def step(network: FaceNetwork, optimiser: torch.optim.SGD, batch: object) -> None:
        if len(optimiser.param_groups) == 1:
            optimiser.add_param_group({"params": list(auxiliaries.parameters())})
        x_fer, y_fer = batch.x_fer, batch.y_fer  # type: ignore[attr-defined]
        options = DmueOptions(w_auxiliary=0.0, ramp_epochs=0, **OFF)
        both = MultiBranchNetwork(network, auxiliaries)
        dmue_step(both, optimiser, x_fer, y_fer, options, epoch=1)

    assert_supervised(step)


def test_auxiliaries_are_a_function_of_their_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(build_auxiliaries(small(), seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, state(build_auxiliaries(small(), seed=5)))
    assert not same(first, state(build_auxiliaries(small(), seed=6)))


def test_a_mixed_face_is_mined() -> None:
    """Faces of three classes, and one labelled 0 that is half 1 and nothing of 2. The branch that
    never saw label 0 finds the 1, and the target branch learns it beside the label."""
    pure = torch.eye(3, dtype=torch.float64).repeat(4, 1)
    x = torch.cat([pure, double((1, 1, 0))])
    y = torch.cat([torch.arange(3).repeat(4), torch.tensor([0])])
    shares = []
    for w_soft in (0.0, 10.0):
        torch.manual_seed(0)
        network, auxiliaries = ThreeScores(), Auxiliaries(3, 3).double()
        both = MultiBranchNetwork(network, auxiliaries)
        optimiser = torch.optim.SGD(both.parameters(), lr=0.5)
        options = DmueOptions(w_soft=w_soft, w_similarity=1.0, ramp_epochs=0)
        for _ in range(300):
            dmue_step(both, optimiser, x, y, options, epoch=0)
        _, scores, _ = both.parts(both(x))
        latent = latent_distribution(scores, y, 1.2)[-1]
        assert latent[0] == 0
        assert latent[1] > 0.9
        mixed = network(x).softmax(1)[-1]
        assert mixed[0] > mixed[1] > mixed[2]
        shares.append(mixed[1].item())
    without, with_it = shares
    assert without < 0.1
    assert with_it > 0.3
