"""RAN: attentions and the biased loss by hand, its reduction, and a crop that it finds."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.method import FormContext
from face2exp_lib.methods.ran import (
    FIXED,
    RanOptions,
    RegionNetwork,
    WithWeights,
    form,
    ran_step,
    region_loss,
)
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.training.loop import train
from face2exp_lib.training.stored_weights import read_backbone
from tests.methods.nets import ETA, assert_supervised, images, same, sgd, sigmoid, small, state

Tiny = Callable[..., RunConfig]


class Colours(FaceNetwork):
    """Two classes, two features: the mean colours of an image's two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Linear = nn.Linear(2, 2).double()

    def features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def ran(network: FaceNetwork, seed: int = 0, **options: Any) -> RegionNetwork:
    made = form(FormContext(network, RanOptions(**options), 40, 32, seed))
    assert isinstance(made, RegionNetwork)
    return made


def zeroed(network: RegionNetwork) -> RegionNetwork:
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    return network


def test_attention_by_hand() -> None:
    """q_0 = (1, 0): regions (0, 2) and (1, 0) have mu = 1/2 and s = sigmoid(1). q_1 looks at the
    second feature alone: nu = t = sigmoid(2) and 1/2."""
    network = zeroed(ran(Colours(), crops="none"))
    with torch.no_grad():
        network.self_attention.weight[0, 0] = 1
        network.relation_attention.weight[0, 1] = 1
    regions = torch.tensor([[[0, 2], [1, 0]]], dtype=torch.float64)
    read, mu = network.weigh(regions)
    s, t = sigmoid(1), sigmoid(2)
    assert mu[0].tolist() == pytest.approx([0.5, s])
    mean = [s / (0.5 + s), 1 / (0.5 + s)]
    a, b = 0.5 * t, s * 0.5
    assert read[0].tolist() == pytest.approx([b / (a + b), 2 * a / (a + b), *mean])
    network.options = RanOptions(attention="self")
    assert network.weigh(regions)[0][0].tolist() == pytest.approx(mean)
    network.options = RanOptions(attention="none")
    assert network.weigh(regions)[0][0].tolist() == [0.5, 1]


def test_regions_that_count_next_to_nothing_still_have_a_mean() -> None:
    """All mu round to 0; what counts is how they compare: e^-200 beside e^-201."""
    network = zeroed(ran(Colours(), crops="none")).float()
    with torch.no_grad():
        network.self_attention.weight[0, 0] = 1
        network.self_attention.bias[0] = -200
    read, mu = network.weigh(torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]]))
    assert mu.tolist() == [[0, 0]]
    share = sigmoid(1)
    assert read[0].tolist() == pytest.approx([-(1 - share), share, -(1 - share), share])


def test_the_biased_loss_by_hand() -> None:
    """The best crop leads by 0.3 and by -0.1: over the margin, and 0.12 short of it."""
    mu = torch.tensor([[0.5, 0.8, 0.1], [0.5, 0.2, 0.4]])
    assert region_loss(mu, 0.02).item() == pytest.approx(0.06)
    assert region_loss(mu[:, :1], 0.02).item() == 0


def test_step_by_hand() -> None:
    """An image of one colour, (1, 3) of class 0: all regions have its features, weigh alike, and
    P_RAN = (1, 3, 1, 3). Scores are 0, so the last layer learns by 1/2; the biased loss is its
    margin, and pulls the best of equal crops as far up as the face down."""
    network = zeroed(ran(Colours()))
    x = torch.tensor([1.0, 3.0], dtype=torch.float64).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    both = WithWeights(network)
    found = ran_step(both, sgd(both), x, torch.tensor([0]), RanOptions(margin=0.1))
    assert found["loss_s"].item() == pytest.approx(math.log(2), abs=1e-12)
    assert found["loss_region"].item() == pytest.approx(0.1, abs=1e-12)
    assert found["whole_face"].item() == pytest.approx(1 / 6)
    step = [ETA / 2 * value for value in (1, 3, 1, 3)]
    assert network.fc.weight.tolist()[0] == pytest.approx(step, abs=1e-12)
    assert network.fc.weight.tolist()[1] == pytest.approx([-value for value in step], abs=1e-12)
    assert network.fc.bias.tolist() == pytest.approx([ETA / 2, -ETA / 2], abs=1e-12)
    assert network.self_attention.weight.abs().max().item() < 1e-12


def test_the_biased_loss_moves_the_attention() -> None:
    """By its own gradient times its weight, beside that of the cross entropy."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(4, 2, 8, 8, generator=generator, dtype=torch.float64)
    y, found = torch.tensor([0, 1, 0, 1]), []
    for w_region in (0.0, 3.0):
        both = WithWeights(ran(Colours()))
        if w_region:
            mu = both.network.weigh(both.network.regions(x))[1]
            weight = both.network.self_attention.weight
            (slope,) = torch.autograd.grad(region_loss(mu, 0.5), weight)
        ran_step(both, sgd(both), x, y, RanOptions(w_region=w_region, margin=0.5))
        found.append(both.network.self_attention.weight.detach())
    assert slope.abs().max() > 1e-4
    torch.testing.assert_close(found[1], found[0] - ETA * 3 * slope, atol=1e-12, rtol=0)


def test_without_crops_and_attention_it_is_the_supervised_step_bit_for_bit() -> None:
    """The last layer is the backbone's own; it is put back where the helper looks for it."""
    options = RanOptions(crops="none", attention="none")
    made: list[WithWeights] = []

    def step(network: FaceNetwork, optimiser: torch.optim.SGD, batch: Any) -> None:
        if not made:
            made.append(WithWeights(ran(network, crops="none", attention="none")))
        both = made[0]
        network.fc = nn.Identity()
        ran_step(both, optimiser, batch.x_fer, batch.y_fer, options)
        network.fc = both.network.fc

    assert_supervised(step)


def test_the_whole_face_comes_first_and_the_crops_are_those_of_the_paper() -> None:
    network, x = ran(small()).eval(), images().x_fer
    regions = network.regions(x)
    assert regions.shape == (6, 6, 128)
    assert torch.allclose(regions[:, 0], network.backbone.features(x), atol=1e-5)
    corner = nn.functional.interpolate(x[..., :24, 8:], size=32, mode="bilinear")
    inner = regions[:, 2] - network.backbone.features(corner)
    assert inner.abs().mean() < 0.1 * regions[:, 2].abs().mean()  # edges apart
    assert torch.equal(network.boxes, torch.tensor(FIXED))
    assert network(x).shape == (6, 7)


def test_points_of_a_face_move_its_crops() -> None:
    """A mark that only crops at the mouth's left corner hold."""
    network = ran(Colours(), crops="landmarks", region=0.25)
    x = torch.zeros(1, 2, 32, 32, dtype=torch.float64)
    x[:, 0, 19:29, 3:13] = 1
    points = torch.full((1, 5, 2), 0.9, dtype=torch.float64)
    points[0, 3] = torch.tensor([8 / 32, 24 / 32])
    regions = network.regions(x, points)
    assert regions[0, :, 0].tolist() == pytest.approx([100 / 1024, 0, 0, 0, 1, 0])
    both = WithWeights(network)
    torch.testing.assert_close(both(x, points)[:, :2], network.head(network.weigh(regions)[0]))


def test_it_finds_the_crop_that_tells() -> None:
    """The class is the colour of a small square; the rest of the face is grey noise of both
    colours. The crop at it comes to count most, and more than the whole face."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(64, 2, 16, 16, generator=generator, dtype=torch.float64)
    y = torch.arange(64) % 2
    told = torch.arange(64)
    x[:, :, :6, :6] = 0
    x[told, y, :6, :6] = 8
    torch.manual_seed(0)
    backbone = Colours()
    boxes = torch.tensor([[0.0, 0.0, 0.375, 0.375], [0.5, 0.5, 1.0, 1.0], [0.5, 0.0, 1.0, 0.5]])
    network = RegionNetwork(backbone, boxes, RanOptions()).double()
    both = WithWeights(network)
    optimiser = torch.optim.SGD(both.parameters(), lr=0.3)
    for _ in range(60):
        found = ran_step(both, optimiser, x, y, RanOptions())
    _, mu = network.weigh(network.regions(x))
    assert (mu.argmax(1) == 1).all()
    assert found["loss_region"].item() == 0
    assert (network(x).argmax(1) == y).all()


@pytest.mark.parametrize("crops", ["fixed", "landmarks"])
def test_a_run_keeps_its_form_and_gives_its_backbone_away(
    tiny: Tiny, squares_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], crops: str
) -> None:
    train(tiny("method=ran", f"ran.crops={crops}"), tmp_path / "run", squares_root)
    assert ("comes without landmarks, so method ran" in capsys.readouterr().err) == (
        crops == "landmarks"
    )
    _, network, state_of = load_trained(tmp_path / "run")
    assert isinstance(network, RegionNetwork)
    assert state_of["network"].keys() == network.state_dict().keys()
    given = read_backbone(tmp_path / "run").tensors
    assert given.keys() == {n for n in small().state_dict() if not n.startswith("fc.")}
    assert same(
        list(given.values()),
        [v for n, v in network.backbone.state_dict().items() if not n.startswith("fc.")],
    )
    begun = tiny("method=ran", f"network.pretrained={tmp_path / 'run'}", "training.num_steps=1")
    train(begun, tmp_path / "next", squares_root)


def test_the_form_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(ran(small(), seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, state(ran(small(), seed=5)))
    assert not same(first, state(ran(small(), seed=6)))
