"""Ada-CM: margins, contrast and step by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from face2exp_lib.methods.ada_cm import (
    AdaCmOptions,
    ada_cm_step,
    contrastive_loss,
    margins,
    named_rightly,
)
from face2exp_lib.methods.fixmatch import FixMatchOptions, fixmatch_step
from face2exp_lib.methods.method import StepBatch
from face2exp_lib.methods.passes import Compute
from tests.methods.nets import (
    ETA,
    TwoWeights,
    assert_supervised,
    descended,
    images,
    rows,
    same,
    sgd,
    sigmoid,
    small,
    state,
)
from tests.methods.toy import Flat, accuracy, taken


def test_margins_by_hand() -> None:
    """Two images of class 0 are named rightly, by sigmoid(2) and sigmoid(1); one of class 1 is
    named 0, and of class 2 there is none. After the first epoch 1 / (1 + 1 / e) of 0.97 of the mean
    is the margin, after many all of it."""
    logits = torch.tensor([[2.0, 0, -99], [1, 0, -99], [1, 0, -99]], dtype=torch.float64)
    right = named_rightly(logits, torch.tensor([0, 0, 1]))
    assert right.tolist() == [[pytest.approx(sigmoid(2) + sigmoid(1)), 0, 0], [2, 0, 0]]
    options = AdaCmOptions(floor=0.3)
    mean = (sigmoid(2) + sigmoid(1)) / 2
    first = 0.97 * mean / (1 + math.exp(-1))
    assert margins(right, 1, options).tolist() == pytest.approx([first, 0.3, 0.3])
    assert margins(right, 99, options).tolist() == pytest.approx([0.97 * mean, 0.3, 0.3])
    assert margins(right, 1, AdaCmOptions()).tolist() == pytest.approx([0.8] * 3)
    assert margins(right, 2, AdaCmOptions(gamma=2.0, beta=0.5, floor=0.0))[0] == pytest.approx(
        0.5 * mean / 1.25
    )


def test_contrast_by_hand() -> None:
    """Two faces whose views are alike and lie across those of the other: of three others, one has
    the product 1 and two have 0."""
    corners = rows((1, 0), (0, 1))
    expected = -math.log(math.e / (math.e + 2))
    assert contrastive_loss(corners, corners, 1.0).item() == pytest.approx(expected, abs=1e-14)
    half = -math.log(math.exp(2) / (math.exp(2) + 2))
    assert contrastive_loss(corners, corners, 0.5).item() == pytest.approx(half, abs=1e-14)
    crossed = -math.log(1 / (math.e + 2))
    assert contrastive_loss(corners, corners.flip(0), 1.0).item() == pytest.approx(crossed)
    assert contrastive_loss(corners[:1], corners[:1], 1.0).item() == 0  # nobody to tell it from
    assert contrastive_loss(corners[:0], corners[:0], 1.0).item() == 0


def test_step_by_hand() -> None:
    """w = (1, 0). Plain views (2, 1), (2, -3), (-2, 1): class 0 by 0.88 and, since -3 w_1 is 0, the
    same, and class 1 by 0.88. Of class 0 that is over its margin, of class 1 it is under. Features
    are the pixels, which no weight moves, so the contrast of one face is 0 and moves none either.
    """
    network = TwoWeights(1.0, 0.0)
    batch = StepBatch(
        rows((1, 1)),
        torch.tensor([1]),
        rows((2, 1), (2, -3), (-2, 1)),
        rows((-1, 1), (3, 1), (9, 1)),
    )
    options = AdaCmOptions(w_s=2.0, w_u=3.0)
    margin = torch.tensor([0.85, 0.9], dtype=torch.float64)
    result = ada_cm_step(network, sgd(network), batch, options, margin)
    p, q, r = sigmoid(1), sigmoid(-1), sigmoid(3)
    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    loss_u = (-math.log(q) - math.log(r)) / 3
    assert result["loss_u"].item() == pytest.approx(loss_u, abs=1e-14)
    assert result["loss_c"].item() == 0
    assert result["kept_fr"].item() == pytest.approx(2 / 3)
    assert result["right"].tolist() == [[0, 0], [0, 0]]
    assert result["y_hat_fr"].tolist() == [0, 0, 1]
    assert result["y_learner_fr"].tolist() == [1, 0, 0]
    grad_s = [2 * p * 1, -2 * p * 1]
    grad_u = [3 / 3 * ((q - 1) * -1 + (r - 1) * 3), 3 / 3 * ((1 - q) * 1 + (1 - r) * 1)]
    assert network.weights() == pytest.approx(descended([1, 0], grad_s, grad_u), abs=1e-14)


def doubled(batch: StepBatch) -> StepBatch:
    return StepBatch(
        batch.x_fer.double(), batch.y_fer, batch.x_fr.double(), batch.x_fr_aug.double()
    )


@pytest.mark.parametrize("compute", [Compute(), Compute(micro_batch_size=4)])
def test_the_step_is_along_the_gradient_of_the_whole_loss(compute: Compute) -> None:
    """Beside one graph over both views of all images."""
    batch, options = doubled(images()), AdaCmOptions(w_s=0.3, w_u=0.7, w_c=2.0, temperature=0.5)
    network, whole = (Flat(3 * 32 * 32, 7, seed=0).double() for _ in range(2))
    margin = torch.full((7,), whole(batch.x_fr).softmax(1).amax(1).median().item()).double()
    found = ada_cm_step(network, sgd(network), batch, options, margin, compute)

    confidence, y_hat = whole(batch.x_fr).detach().softmax(1).max(1)
    kept = confidence >= margin[0]
    assert 0 < kept.sum() < 6
    first, second = (
        F.normalize(whole.features(x), dim=1)[~kept] for x in (batch.x_fr, batch.x_fr_aug)
    )
    loss_c = contrastive_loss(first, second, 0.5)
    loss_u = F.cross_entropy(whole(batch.x_fr_aug), y_hat, reduction="none")[kept].sum() / 6
    loss = 0.3 * F.cross_entropy(whole(batch.x_fer), batch.y_fer) + 0.7 * loss_u + 2 * loss_c
    gradients = torch.autograd.grad(loss, list(whole.parameters()))
    assert found["loss_c"].item() == pytest.approx(loss_c.item(), abs=1e-12)
    assert found["loss_u"].item() == pytest.approx(loss_u.item(), abs=1e-12)
    parameters = zip(network.parameters(), whole.parameters(), gradients, strict=True)
    for moved, start, gradient in parameters:
        torch.testing.assert_close(moved, start - ETA * gradient, atol=1e-12, rtol=0)


def test_margins_change_after_each_pass_over_the_labelled_set() -> None:
    """Batches of 4 of 8 labelled faces, at rate 0: the third step has the margins of two steps'
    names, the fifth those of the next two at the factor of the second epoch."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 1])

    def batch() -> StepBatch:
        x_fer, x_fr, x_aug = torch.randn(3, 4, 2, 1, 1, generator=generator)
        return StepBatch(x_fer, labels, x_fr, x_aug)

    network, batches = Flat(2, 2, seed=0), [batch() for _ in range(6)]
    run, told = taken("ada_cm", network, batches, [4, 4], {"floor": 0.1}, eta=0.0)

    def of(first: int, epoch: int) -> Tensor:
        found = [named_rightly(network(b.x_fer), labels) for b in batches[first : first + 2]]
        return margins(found[0] + found[1], epoch, AdaCmOptions(floor=0.1))

    means = [losses["margin"].item() for losses in told]
    expected = [0.1, 0.1, *[of(0, 1).mean().item()] * 2, *[of(2, 2).mean().item()] * 2]
    assert means == pytest.approx(expected, abs=1e-6)
    assert means[1] != means[2] != means[4]
    torch.testing.assert_close(run.extra["margin"], of(2, 2))
    assert run.extra["epoch"] == 3


def test_a_batch_larger_than_the_labelled_set_is_several_passes() -> None:
    x = torch.randn(3, 4, 2, 1, 1, generator=torch.Generator().manual_seed(0))
    batch = StepBatch(x[0], torch.tensor([0, 0, 1, 1]), x[1], x[2])
    run, told = taken("ada_cm", Flat(2, 2, seed=0), [batch] * 3, [1, 1], {"floor": 0.1}, eta=0.0)
    assert run.extra["epoch"] == 5
    assert told[1]["margin"] > 0.1


def test_at_a_margin_that_is_given_and_without_contrast_it_is_fixmatch_bit_for_bit() -> None:
    looked = fixmatch_step(one := small(), sgd(one), images(), FixMatchOptions())
    middle = looked["confidence_fr"].median().item()
    one, other = small(), small()
    options = AdaCmOptions(w_s=1.0, w_c=0.0)
    found = ada_cm_step(one, sgd(one), images(), options, torch.full((7,), middle))
    expected = fixmatch_step(other, sgd(other), images(), FixMatchOptions(confidence=middle))
    assert 0 < found["kept_fr"] < 1
    assert same(state(one), state(other))
    assert torch.equal(found["kept_fr"], expected["kept_fr"])


def test_defaults_are_those_of_the_authors() -> None:
    assert AdaCmOptions() == AdaCmOptions(
        w_s=0.5, w_u=1.0, w_c=0.1, beta=0.97, gamma=math.e, floor=0.8, temperature=0.07
    )


def test_at_weights_zero_it_is_the_supervised_step_bit_for_bit() -> None:
    options, margin = AdaCmOptions(w_s=1.0, w_u=0.0, w_c=0.0), torch.full((7,), 0.2)
    assert_supervised(
        lambda network, optimiser, batch: ada_cm_step(network, optimiser, batch, options, margin)
    )


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    network, expected, batch = small(), small(), images()
    ada_cm_step(network, sgd(network), batch, AdaCmOptions(), torch.full((7,), 0.2))
    expected(batch.x_fer)
    for buffer, wanted in zip(network.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)


@pytest.mark.parametrize("options", [{}, {"w_u": 0.0}])
def test_where_faces_without_labels_decide_it_is_far_ahead(options: dict[str, float]) -> None:
    """By both subsets together, and by the contrast alone."""
    assert accuracy("supervised", 0) < 0.75
    assert accuracy("ada_cm", 0, **options) > 0.95
