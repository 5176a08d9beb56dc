"""gaCNN: places and gates by hand, its reduction, and a gate that closes on what covers a face."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.gacnn import (
    PLACES,
    GacnnOptions,
    GatedNetwork,
    find_maps,
    form,
    gacnn_step,
    patch_centres,
)
from face2exp_lib.methods.method import FormContext
from face2exp_lib.methods.passes import Compute
from face2exp_lib.networks import FaceNetwork, build_network
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train
from face2exp_lib.training.plans import initial_form
from face2exp_lib.training.stored_weights import read_backbone
from tests.methods.nets import ETA, assert_supervised, images, same, sgd, sigmoid, small, state

Tiny = Callable[..., RunConfig]


class Pixels(FaceNetwork):
    """Two classes, two features: the mean colours of two channels; the maps are the image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc: nn.Linear = nn.Linear(2, 2)
        self.image, self.slope = nn.Identity(), nn.Parameter(torch.ones(1))

    def features(self, x: Tensor) -> Tensor:
        return self.slope * self.image(x[:, :2]).mean((2, 3))


def gated(network: FaceNetwork, seed: int = 0, **options: Any) -> GatedNetwork:
    made = form(FormContext(network, GacnnOptions(**options), 40, 32, seed))
    assert isinstance(made, GatedNetwork)
    return made


def test_places_by_hand() -> None:
    """Eyes at (2, 1) and (6, 3): across (4, 2), their middle (4, 2); the mouth's middle 5 below it
    and 1 to the left."""
    points = torch.tensor([[2, 1], [6, 3], [9, 9], [2, 6], [4, 8]], dtype=torch.float64)
    found = patch_centres(points[None])[0]
    assert found.shape == (24, 2)
    by_place = dict(zip(PLACES, found.tolist(), strict=True))
    assert by_place[(-0.5, 0.0)] == pytest.approx([2, 1])
    assert by_place[(0.5, 0.0)] == pytest.approx([6, 3])
    assert by_place[(0.0, 1.0)] == pytest.approx([3, 7])
    assert by_place[(0.2, 0.6)] == pytest.approx([4 + 0.2 * 4 - 0.6, 2 + 0.2 * 2 + 0.6 * 5])
    mirrored = {(-across, down) for across, down in PLACES}
    assert mirrored == set(PLACES)


def test_a_gate_scales_what_the_last_layer_reads_by_hand() -> None:
    """The whole face alone: features (1, 3), a gate of s = sigmoid(2), a last layer of zeros. Class
    0 learns (s, 3 s) / 2."""
    network = gated(Pixels(), parts="whole")
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(network.backbone.get_parameter("slope"))
    last = network.whole_gate[2]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, 2.0)
    x = torch.tensor([1.0, 3.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    found = gacnn_step(network, sgd(network), x, torch.tensor([0]))
    s = sigmoid(2)
    assert found["loss_s"].item() == pytest.approx(math.log(2))
    assert network.fc.get_parameter("weight").tolist()[0] == pytest.approx(
        [ETA / 2 * s, ETA / 2 * 3 * s]
    )
    read, alpha = network.look(x)
    assert read[0].tolist() == pytest.approx([s, 3 * s])
    assert alpha.tolist() == [[pytest.approx(s)]]


def test_patches_and_the_whole_face_stand_side_by_side() -> None:
    network = gated(small()).eval()
    x = images().x_fer
    read, alpha = network.look(x)
    assert read.shape == (6, 128 + 24 * 64)
    assert alpha.shape == (6, 25)
    assert 0 < alpha.min() < alpha.max() < 1
    whole = network.backbone.features(x)
    assert torch.allclose(read[:, :128], alpha[:, :1] * whole, atol=1e-6)
    network.options = GacnnOptions(gated=False)
    plain, ones = network.look(x)
    assert (ones == 1).all()
    blocks = (alpha[:, 1:, None] * plain[:, 128:].unflatten(1, (24, 64))).flatten(1)
    assert torch.allclose(read[:, 128:], blocks, atol=1e-6)


def test_a_patch_is_what_lies_around_its_centre() -> None:
    """A mark at the left eye, and the mean of each patch as its vector."""
    network = gated(Pixels(), gated=False)
    network.patch_unit = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.zeros(1, 2, 32, 32)
    column, row = (32 * network.centres[PLACES.index((-0.5, 0.0))]).long().tolist()
    x[0, 1, row - 4 : row + 5, column - 4 : column + 5] = 1
    read, _ = network.look(x)
    means = dict(zip(PLACES, read[0, 2:].view(24, 2)[:, 1].tolist(), strict=True))
    assert means[(-0.5, 0.0)] == pytest.approx(1, abs=0.01)
    assert {place for place, mean in means.items() if mean > 0} <= {
        place for place in PLACES if place[0] < 0.2 and place[1] < 0.7
    }


def test_of_the_whole_face_without_a_gate_it_is_the_supervised_step_bit_for_bit() -> None:
    made: list[GatedNetwork] = []

    def step(network: FaceNetwork, optimiser: torch.optim.SGD, batch: Any) -> None:
        if not made:
            made.append(gated(network, parts="whole", gated=False))
        network.fc = nn.Identity()
        gacnn_step(made[0], optimiser, batch.x_fer, batch.y_fer)
        network.fc = made[0].fc

    assert_supervised(step)


@pytest.mark.parametrize(
    ("backbone", "view", "expected"),
    [
        ("small", 32, ("blocks.1", 64)),  # 4 x 4; the next is 2 x 2
        ("small", 64, ("blocks.1", 64)),
        ("resnet18", 224, ("layer2", 128)),
        ("vgg11", 64, ("network.features.14", 512)),
        ("vgg11", 56, ("network.features.14", 512)),  # its pool repeats 1 x 1 as 7 x 7
    ],
)
def test_maps_are_the_last_that_are_fine_enough(
    backbone: str, view: int, expected: tuple[str, int]
) -> None:
    network = build_network(backbone, 7, pretrained=False, seed=0)
    assert find_maps(network, view) == expected


def test_a_backbone_of_coarse_tokens_is_refused() -> None:
    with pytest.raises(Face2ExpError, match="no maps of 28 x 28 or finer for views of 224 px"):
        find_maps(build_network("vit_b_32", 7, pretrained=False, seed=0), 224)


def test_a_backbone_of_another_size_is_named_first(tiny: Tiny) -> None:
    with pytest.raises(Face2ExpError, match="vit_b_16 takes no images of 32 px"):
        initial_form(tiny("method=gacnn", "network.backbone=vit_b_16"), "base")


def test_points_of_a_face_move_its_patches() -> None:
    network = gated(small()).eval()
    x, average = images().x_fer, network.centres
    with torch.no_grad():
        assert average.shape == (24, 2)
        stored = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        found = network(x, stored.expand(6, 5, 2))
        assert not torch.allclose(found, network(x), atol=1e-4)
        network.centres = patch_centres(stored[None])[0]
        assert torch.allclose(found, network(x), atol=1e-5)


def test_micro_batches_take_their_own_points() -> None:
    x, y = images().x_fer, images().y_fer
    points = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0))
    found = []
    for compute in (Compute(), Compute(micro_batch_size=2)):
        network = gated(small()).double()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()  # parts of a batch know nothing of each other
        gacnn_step(network, sgd(network), x.double(), y, points.double(), compute)
        found.append(list(network.parameters()))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch
def test_it_works_compiled() -> None:
    """What watches the maps, and with it the rest, runs uncompiled."""
    found = []
    for compiled in (False, True):
        network, batch = gated(small()), images()
        if compiled:
            network.compile(backend="eager")
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
        gacnn_step(network, optimiser, batch.x_fer, batch.y_fer)
        points = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0))
        gacnn_step(network, optimiser, batch.x_fer, batch.y_fer, points)
        found.append(state(network))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_gate_closes_on_what_covers_a_patch() -> None:
    """Faces of one of two colours; in each, half of the patches are covered by a bright third
    colour that tells nothing. Their gates come to be lower than those of the open ones."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(32) % 2
    x = torch.rand(32, 3, 32, 32, generator=generator)
    x[torch.arange(32), y] += 1.0
    covered = torch.rand(32, 2, generator=generator) < 0.5
    x[:, :, :16] = torch.where(covered[:, :1, None, None], 0, x[:, :, :16])
    x[:, :, 16:] = torch.where(covered[:, 1:, None, None], 0, x[:, :, 16:])
    x[:, 2, :16] += 3.0 * covered[:, :1, None]
    x[:, 2, 16:] += 3.0 * covered[:, 1:, None]

    class Colours(Pixels):
        def features(self, x: Tensor) -> Tensor:
            return self.slope * self.image(x).mean((2, 3))

    torch.manual_seed(0)
    backbone = Colours()
    backbone.fc = nn.Linear(3, 2)
    network = gated(backbone)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(60):
        gacnn_step(network, optimiser, x, y)
    alpha = network.look(x)[1][:, 1:].detach()
    upper, lower = network.centres[:, 1] < 0.35, network.centres[:, 1] > 0.65
    for places, hidden in ((upper, covered[:, 0]), (lower, covered[:, 1])):
        gates = alpha[:, places].mean(1)
        assert gates[~hidden].mean() > gates[hidden].mean() + 0.05


def test_a_run_keeps_its_form_and_gives_its_backbone_away(
    tiny: Tiny, squares_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny("method=gacnn", "gacnn.points=landmarks"), tmp_path / "run", squares_root)
    assert "comes without landmarks, so method gacnn" in capsys.readouterr().err
    _, network, _ = load_trained(tmp_path / "run")
    assert isinstance(network, GatedNetwork)
    given = read_backbone(tmp_path / "run").tensors
    assert given.keys() == {n for n in small().state_dict() if not n.startswith("fc.")}


def test_the_form_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = state(gated(small(), seed=5))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(first, state(gated(small(), seed=5)))
    assert not same(first, state(gated(small(), seed=6)))
