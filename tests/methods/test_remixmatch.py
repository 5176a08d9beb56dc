"""ReMixMatch: guesses, mixing, turns and step by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.methods.method import Preparation, StepBatch
from face2exp_lib.methods.remixmatch import (
    ReMixMatchOptions,
    TurnedNetwork,
    guessed,
    mixed,
    prepare,
    remixmatch_step,
    shares_so_far,
    turned,
)
from face2exp_lib.methods.uda import UdaOptions, uda_step
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
from tests.methods.toy import accuracy

ALONE = {"mixup": 0.0, "w_rotation": 0.0, "ramp": 0.0}  # neither mixed nor turned


class TwoPixels(TwoWeights):
    """Of images (N, 2, 1, 1), which look the same however they are turned."""

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def with_turns(network: FaceNetwork, width: int) -> TurnedNetwork:
    """Whose turns are all alike at first."""
    layer = nn.Linear(width, 4).to(next(network.parameters()))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return TurnedNetwork(network, layer)


def drawn(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_guesses_by_hand() -> None:
    """Probabilities 3/4 and 1/4; labels show class 0 half as often as guesses so far do, class 1 in
    three halves: 3/8 and 3/8. Then 9/10 and 1/10, which is 81 to 1 at T = 1/2."""
    logits = rows((math.log(3), 0))
    halves, wanted, said = rows((0.5, 0.5))[0], rows((0.25, 0.75))[0], rows((0.5, 0.5))[0]
    even = guessed(logits, wanted, said, 0.5)
    assert even.tolist()[0] == pytest.approx([0.5, 0.5], abs=1e-5)
    nine = guessed(rows((math.log(9), 0)), halves, halves, 0.5)
    assert nine.tolist()[0] == pytest.approx([81 / 82, 1 / 82], abs=1e-14)
    never = guessed(logits, rows((0, 1))[0], halves, 1.0)
    assert never[0, 0] < 1e-5  # no label shows it


def test_shares_are_those_of_the_last_128_batches_before() -> None:
    seen: dict[str, Tensor] = {}
    first = rows((1, 0), (1, 0), (0, 1), (0, 1), (0, 1))
    assert shares_so_far(seen, "x", first).tolist() == [0.5, 0.5]
    found = shares_so_far(seen, "x", rows((1, 0)))
    assert found.tolist() == pytest.approx([(127 * 0.5 + 0.4) / 128, (127 * 0.5 + 0.6) / 128])
    for _ in range(127):
        shares_so_far(seen, "x", rows((1, 0)))
    assert seen["x"].shape == (128, 2)
    assert shares_so_far(seen, "x", rows((0, 1))).tolist() == [1, 0]


class Draws:
    """What would be drawn at random."""

    def beta(self, *_: Any) -> np.ndarray:
        return np.array([0.25, 0.5, 1.0])

    def permutation(self, _: int) -> np.ndarray:
        return np.array([2, 0, 1])


def test_mixing_by_hand() -> None:
    """The first drew a quarter: it keeps three of its own and takes one of the third."""
    x = [rows((8, 0))[:, :, None, None], rows((0, 4), (16, 16))[:, :, None, None]]
    p = [rows((1, 0)), rows((0, 1), (0.5, 0.5))]
    images, targets = mixed(x, p, 0.75, Draws())  # type: ignore[arg-type]
    assert images.flatten(1).tolist() == [[10, 4], [4, 2], [16, 16]]
    assert targets.tolist() == [[0.875, 0.125], [0.5, 0.5], [0.5, 0.5]]
    unmixed, _ = mixed(x, p, 0.0, np.random.default_rng(0))
    assert torch.equal(unmixed, torch.cat(x))


def test_shares_are_drawn_from_a_beta_distribution_for_each_image() -> None:
    """Images 0 and 1 by turns: what is left of each is its larger share, or all of it."""
    x = (torch.arange(4000) % 2).double()[:, None, None, None]
    found, _ = mixed([x], [x[:, :, 0, 0]], 0.75, np.random.default_rng(0))
    share = torch.where(x == 1, found, 1 - found).flatten()
    assert share.min() >= 0.5
    assert len(share[share < 1].unique()) > 1900
    drawn = np.random.default_rng(1).beta(0.75, 0.75, 100_000)
    expected = (1 + np.maximum(drawn, 1 - drawn).mean()) / 2  # half have a partner like themselves
    assert share.mean().item() == pytest.approx(expected, abs=0.01)


def test_turns_by_hand() -> None:
    """Against the clock."""
    x = rows((1, 2), (3, 4)).expand(4, 1, 2, 2)
    found = turned(x, torch.tensor([0, 1, 2, 3]))[:, 0].tolist()
    assert found == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]


def test_step_by_hand() -> None:
    """w = (1, 0), nothing is mixed. x_FER = (1, 1) of class 1; the plain view (2, 1) is class 0 by
    sigmoid(2), at T = 1/2 by q = sigmoid(4); its augmented view is (-1, 1). Turns are as likely as
    each other, so their layer alone learns, the one that was drawn by -3/4."""
    two = TwoPixels(1.0, 0.0)
    network = with_turns(two, 2)
    x_fer, x_fr, x_aug = (rows(x)[:, :, None, None] for x in ((1, 1), (2, 1), (-1, 1)))
    batch = StepBatch(x_fer, torch.tensor([1]), x_fr, x_aug)
    options = ReMixMatchOptions(w_u=3.0, w_anchor=5.0, w_rotation=2.0, mixup=0.0, ramp=0.2)
    seen: dict[str, Tensor] = {}
    result = remixmatch_step(
        network, sgd(network), batch, options, seen, progress=0.1, generator=drawn()
    )
    p, q, a, b = sigmoid(1), sigmoid(4), sigmoid(-1), sigmoid(2)

    def entropy(target: float, of: float) -> float:
        return -target * math.log(of) - (1 - target) * math.log(1 - of)

    assert result["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    loss_u = (entropy(q, a) + entropy(q, b)) / 2
    assert result["loss_u"].item() == pytest.approx(loss_u, abs=1e-14)
    assert result["loss_anchor"].item() == pytest.approx(entropy(q, a), abs=1e-14)
    assert result["loss_rotation"].item() == pytest.approx(math.log(4), abs=1e-14)
    assert result["y_hat_fr"].tolist() == [0]
    assert result["confidence_fr"].item() == pytest.approx(b)
    assert result["y_learner_fr"].tolist() == [1]
    # Half of the ramp: 3/2 for the two views together, 5/2 for the augmented one alone.
    on_aug, on_plain = (1.5 / 2 + 2.5) * (a - q), 1.5 / 2 * (b - q)
    grad_u = [on_aug * -1 + on_plain * 2, -on_aug * 1 - on_plain * 1]
    assert two.weights() == pytest.approx(descended([1, 0], [p, -p], grad_u), abs=1e-14)
    draws = np.random.default_rng(drawn().initial_seed())
    draws.permutation(3)
    expected = torch.full((4,), 2 * 0.25).double()
    expected[draws.integers(4)] -= 2
    torch.testing.assert_close(network.turns.bias.detach(), -ETA * expected)
    assert seen["seen_fer"][-1].tolist() == [0, 1]
    assert seen["seen_fr"][-1].tolist() == pytest.approx([b, 1 - b])
    assert seen["seen_fr"][-2].tolist() == [0.5, 0.5]


def test_before_the_ramp_turns_alone_are_learnt_beside_labels() -> None:
    network, expected = (with_turns(small(), 128) for _ in range(2))
    options = ReMixMatchOptions(w_rotation=0.0, mixup=0.0)
    remixmatch_step(network, sgd(network), images(), options, {}, progress=0.0, generator=drawn())
    none = ReMixMatchOptions(w_u=0.0, w_anchor=0.0, w_rotation=0.0, mixup=0.0)
    remixmatch_step(expected, sgd(expected), images(), none, {}, progress=1.0, generator=drawn())
    assert same(state(network), state(expected))


def test_without_mixing_turns_and_classes_to_align_it_is_uda() -> None:
    """Whose confidence all images reach. The labels of UDA are indices, not probabilities."""
    one, other = small(), small()
    network = with_turns(one, 128)
    options = ReMixMatchOptions(w_u=0.0, w_anchor=0.7, **ALONE)
    remixmatch_step(network, sgd(network), images(), options, {}, progress=0.5, generator=drawn())
    like = UdaOptions(w_u=0.7, temperature=0.5, confidence=0.0)
    uda_step(other, sgd(other), images(), like, 0.5)
    for value, wanted in zip(state(one), state(other), strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-6, rtol=1e-5)


def test_defaults_are_the_papers() -> None:
    assert ReMixMatchOptions() == ReMixMatchOptions(
        w_u=1.5, w_anchor=0.5, w_rotation=0.5, temperature=0.5, mixup=0.75, ramp=1 / 64
    )


def test_at_weights_zero_and_unmixed_it_is_the_supervised_step_bit_for_bit() -> None:
    options, turns = ReMixMatchOptions(w_u=0.0, w_anchor=0.0, **ALONE), nn.Linear(128, 4)
    before = state(turns)

    def step(network: FaceNetwork, optimiser: torch.optim.SGD, batch: StepBatch) -> None:
        if len(optimiser.param_groups) == 1:
            optimiser.add_param_group({"params": list(turns.parameters())})
        remixmatch_step(
            TurnedNetwork(network, turns),
            optimiser,
            batch,
            options,
            {},
            progress=1.0,
            generator=drawn(),
        )

    assert_supervised(step)
    assert same(before, state(turns))


def test_only_the_labelled_pass_moves_the_running_statistics() -> None:
    one, expected, batch = small(), small(), images()
    network = with_turns(one, 128)
    options = ReMixMatchOptions(mixup=0.0)
    remixmatch_step(network, sgd(network), batch, options, {}, progress=1.0, generator=drawn())
    expected(batch.x_fer)
    for buffer, wanted in zip(one.buffers(), expected.buffers(), strict=True):
        assert torch.equal(buffer, wanted)


def test_the_layer_of_turns_is_a_function_of_its_seed_alone() -> None:
    def layer(seed: int) -> list[Tensor]:
        networks: dict[str, nn.Module] = {"base": small()}
        run = Preparation(networks, dict(networks), {}, None, torch.zeros(1), None, 1, seed)
        prepare(run)
        assert networks["base"] is run.networks["base"]  # as it was, and deployed
        assert isinstance(run.trained["base"], TurnedNetwork)
        return state(networks["turns"])

    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = layer(5)
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, layer(5))
    assert not same(first, layer(6))


def test_where_faces_without_labels_decide_it_is_far_ahead() -> None:
    assert accuracy("supervised", 0) < 0.75
    assert accuracy("remixmatch", 0) > 0.95
