"""CAKE: its head by hand, its map, and the road of another head through the engine."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from face2exp_lib.config import RunConfig
from face2exp_lib.methods.cake import CakeOptions, EmbeddedHead, cake_step, embed, form
from face2exp_lib.methods.method import FormContext
from face2exp_lib.methods.supervised import supervised_step
from face2exp_lib.networks import FaceNetwork
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.training.loop import train
from face2exp_lib.training.stored_weights import read_backbone
from tests.methods.nets import ETA, TwoWeights, images, rows, same, sgd, sigmoid, small, state

Tiny = Callable[..., RunConfig]


def cake(network: FaceNetwork, dimensions: int = 3, seed: int = 0) -> FaceNetwork:
    return form(FormContext(network, CakeOptions(dimensions), 40, 32, seed))


def test_step_by_hand() -> None:
    """k = 1, W_1 = (1, 2), W_2 = (1, 0)': the image (1, 1) of class 1 lies at 3 on the line and has
    the logits (3, 0). With p = sigmoid(3) the scores' gradients are (p, -p)."""
    network = TwoWeights(0, 0)
    head = EmbeddedHead(2, 1, 2).double()
    with torch.no_grad():
        head.embedding.weight.copy_(rows((1, 2)))
        head.classes.weight.copy_(rows((1, 0)).T)
    network.fc = head  # type: ignore[assignment]
    assert embed(network, rows((1, 1))).tolist() == [[3]]
    found = cake_step(network, sgd(network), rows((1, 1)), torch.tensor([1]))
    p = sigmoid(3)
    assert found["loss_s"].item() == pytest.approx(-math.log(1 - p), abs=1e-14)
    assert head.classes.weight[:, 0].tolist() == pytest.approx(
        [1 - ETA * 3 * p, ETA * 3 * p], abs=1e-14
    )
    on_the_line = p * 1 - p * 0  # through W_2 as it was
    assert head.embedding.weight[0].tolist() == pytest.approx(
        [1 - ETA * on_the_line, 2 - ETA * on_the_line], abs=1e-14
    )


def test_with_as_many_dimensions_as_features_it_can_be_the_supervised_network() -> None:
    """W_1 = 1 held fixed, and the plain head without its bias: bit for bit, over two steps."""
    plain, network = small(), small()
    plain.fc = nn.Linear(128, 7, bias=False)
    with torch.no_grad():
        cake(network, 128)
        head = network.head
        assert isinstance(head, EmbeddedHead)
        head.embedding.weight.copy_(torch.eye(128))
        head.classes.weight.copy_(plain.fc.weight)
    kept = sgd(network, momentum=0.9)
    frozen = {id(head.embedding.weight)}
    kept.param_groups[0]["params"] = [
        p for p in kept.param_groups[0]["params"] if id(p) not in frozen
    ]
    expected = sgd(plain, momentum=0.9)
    for seed in (3, 4):
        batch = images(seed)
        cake_step(network, kept, batch.x_fer, batch.y_fer)
        supervised_step(plain, expected, batch.x_fer, batch.y_fer)
    del head.embedding
    assert same(state(network), state(plain))
    assert not same(state(plain), state(small()))


def test_a_head_has_no_bias_and_is_a_function_of_its_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = cake(small(), seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert [(n, tuple(p.shape)) for n, p in first.head.named_parameters()] == [
        ("embedding.weight", (3, 128)),
        ("classes.weight", (7, 3)),
    ]
    assert same(state(first), state(cake(small(), seed=5)))
    assert not same(state(first), state(cake(small(), seed=6)))
    x = images().x_fer
    assert torch.equal(first.head.classes(embed(first.eval(), x)), first(x))  # type: ignore[operator]


def test_a_map_of_two_dimensions_holds_three_classes_apart() -> None:
    """Three directions of three features, learnt to the last label; one dimension has room for the
    two ends alone."""
    x = torch.eye(3, dtype=torch.float64).repeat(4, 1)
    y = torch.arange(3).repeat(4)
    shares = {}
    for dimensions in (1, 2):

        class Plain(TwoWeights):
            """Three features, the images themselves."""

        network = Plain(0, 0)
        torch.manual_seed(0)
        network.fc = EmbeddedHead(3, dimensions, 3).double()  # type: ignore[assignment]
        for _ in range(300):
            cake_step(network, sgd(network), x, y)
        shares[dimensions] = (network(x).argmax(1) == y).double().mean().item()
    assert shares[2] == 1
    assert shares[1] < 1


def test_a_run_keeps_its_form_and_gives_its_backbone_away(
    tiny: Tiny, squares_root: Path, tmp_path: Path
) -> None:
    train(tiny("method=cake", "cake.dimensions=2"), tmp_path / "run", squares_root)
    config, network, _ = load_trained(tmp_path / "run")
    assert isinstance(network.head, EmbeddedHead)
    assert embed(network.eval(), torch.zeros(4, 3, 32, 32)).shape == (4, 2)
    given = read_backbone(tmp_path / "run").tensors
    assert given.keys() == {n for n in small().state_dict() if not n.startswith("fc.")}
    begun = tiny("method=supervised", f"network.pretrained={tmp_path / 'run'}")
    train(begun, tmp_path / "next", squares_root)
    assert config.cake.dimensions == 2
