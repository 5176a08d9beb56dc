"""SCN: importance, rank regularisation and relabelling by hand."""

import math

import pytest
import torch

from face2exp_lib.methods.scn import (
    ImportanceHead,
    ScaledNetwork,
    ScnOptions,
    build_importance_head,
    rank_loss,
    relabelled,
    scn_step,
)
from face2exp_lib.networks import FaceNetwork
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


def head_of(weight: tuple[float, float], bias: float) -> ImportanceHead:
    head = ImportanceHead(2).double()
    with torch.no_grad():
        head.linear.weight.copy_(rows(weight))
        head.linear.bias.fill_(bias)
    return head


def test_step_by_hand() -> None:
    """w = (1, 0). Two images, (1, 1) of class 1 and (2, 1) of class 0. The head (1/10, 0) gives
    importances a = sigmoid(0.1) and b = sigmoid(0.2), logits (a, 0) and (2 b, 0). Of two images one
    is the high group, the second: the regularisation is 0.15 - (b - a)."""
    network, head = TwoWeights(1.0, 0.0), head_of((0.1, 0.0), 0.0)
    result = scn_step(
        ScaledNetwork(network, head),
        sgd(network, head),
        rows((1, 1), (2, 1)),
        torch.tensor([1, 0]),
        ScnOptions(w_rank=2.0),
        epoch=1,
    )
    a, b = sigmoid(0.1), sigmoid(0.2)
    p, q = sigmoid(a), sigmoid(2 * b)
    loss_s = (-math.log(1 - p) - math.log(q)) / 2
    assert result["loss_s"].item() == pytest.approx(loss_s, abs=1e-14)
    assert result["loss_rank"].item() == pytest.approx(0.15 - (b - a), abs=1e-14)
    assert result["importance"].item() == pytest.approx((a + b) / 2, abs=1e-14)
    grad_w = [(a * p * 1 + b * (q - 1) * 2) / 2, (a * -p * 1 + b * (1 - q) * 1) / 2]
    assert network.weights() == pytest.approx(descended([1, 0], grad_w), abs=1e-14)
    # d loss / d importance: of the cross entropy (1/2) sum_k (p_k - y_k) z_k with the unscaled
    # logits (1, 0) and (2, 0), of 2 L_RR +2 for the low and -2 for the high one
    grad_a, grad_b = p * 1 / 2 + 2, (q - 1) * 2 / 2 - 2
    slope_a, slope_b = a * (1 - a), b * (1 - b)
    grad_head = grad_a * slope_a * 1 + grad_b * slope_b * 2
    assert head.linear.weight[0, 0].item() == pytest.approx(0.1 - ETA * grad_head, abs=1e-14)
    grad_bias = grad_a * slope_a + grad_b * slope_b
    assert head.linear.bias.item() == pytest.approx(-ETA * grad_bias, abs=1e-14)


def test_rank_loss_by_hand() -> None:
    """0.7 of 4 is 2.8: two high ones, mean 0.8, and two low ones, mean 0.5; 0.4 - 0.3."""
    importance = torch.tensor([0.6, 0.9, 0.4, 0.7], dtype=torch.float64)
    assert rank_loss(importance, 0.7, 0.4).item() == pytest.approx(0.1, abs=1e-12)
    assert rank_loss(importance, 0.7, 0.15).item() == 0.0


def test_a_batch_of_one_has_no_groups() -> None:
    with pytest.raises(ValueError, match="no two groups"):
        rank_loss(torch.tensor([0.5]), 0.7, 0.15)


def test_relabelling_by_hand() -> None:
    """Four images said to be of class 0. High group: the first two. In the low one class 1 leads by
    tanh(z / 2) = 0.197 at z = 0.4 and by 0.245 at z = 0.5: over 0.2 only there."""
    logits = rows((0, 9), (0, 9), (0, 0.4), (0, 0.5))
    importance = torch.tensor([0.9, 0.8, 0.2, 0.1])
    labels = torch.tensor([0, 0, 0, 0])
    assert relabelled(logits, labels, importance, 0.5, 0.2).tolist() == [0, 0, 0, 1]
    assert relabelled(logits, labels, importance.flip(0), 0.5, 0.2).tolist() == [1, 1, 0, 0]
    importance = torch.tensor([0.2, 0.9, 0.1, 0.8])
    assert relabelled(logits, labels, importance, 0.5, 0.2).tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("epoch", "changed"), [(9, False), (10, True)])
def test_labels_change_from_the_tenth_epoch(epoch: int, changed: bool) -> None:
    """Importances 0.5 of both: the second image is the low group, its class 1 far ahead."""
    network, head = TwoWeights(1.0, 1.0), head_of((0.0, 0.0), 0.0)
    labels = torch.tensor([0, 0])
    result = scn_step(
        ScaledNetwork(network, head),
        sgd(network, head),
        rows((1, 0), (0, 9)),
        labels,
        ScnOptions(),
        epoch=epoch,
    )
    assert result["y_new"].tolist() == [0, int(changed)]
    assert result["relabelled"].item() == changed / 2
    assert labels.tolist() == [0, 0]


def test_at_importance_one_it_is_the_supervised_step_bit_for_bit() -> None:
    """SCN has no unlabelled weight: without its regularisation, and with a head that is sure of
    every image (sigmoid(100) is 1), what remains is the cross entropy."""
    head = build_importance_head(small(), seed=0)
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.fill_(100.0)

    def step(network: FaceNetwork, optimiser: torch.optim.SGD, batch: object) -> None:
        if len(optimiser.param_groups) == 1:
            optimiser.add_param_group({"params": list(head.parameters())})
        x_fer, y_fer = batch.x_fer, batch.y_fer  # type: ignore[attr-defined]
        scn_step(
            ScaledNetwork(network, head), optimiser, x_fer, y_fer, ScnOptions(w_rank=0.0), epoch=1
        )

    assert_supervised(step)
    assert head.linear.bias.item() == 100.0


def test_the_head_does_not_change_the_most_probable_class() -> None:
    network, batch = small().eval(), images()
    outputs = ScaledNetwork(network, build_importance_head(network, seed=0))(batch.x_fer)
    assert outputs.shape == (6, 8)
    assert torch.equal(outputs[:, :-1].argmax(1), network(batch.x_fer).argmax(1))
    assert 0 < outputs[:, -1].min() < outputs[:, -1].max() < 1


def test_a_head_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(build_importance_head(small(), seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, state(build_importance_head(small(), seed=5)))
    assert not same(first, state(build_importance_head(small(), seed=6)))
