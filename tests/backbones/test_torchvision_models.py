"""Models of torchvision: one of each family, at a size that it takes."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model, vgg11
from torchvision.ops import StochasticDepth

from face2exp_lib.backbones.torchvision_models import (
    NAMES,
    WITH_SIDE_OUTPUTS,
    TorchvisionNetwork,
    build_torchvision,
    last_layer,
)
from face2exp_lib.config import RunConfig
from face2exp_lib.data.sets.labels import class_names
from face2exp_lib.networks import (
    build_network,
    forward_operations,
    frozen_running_stats,
    must_take,
)
from face2exp_lib.runs.explain import explain
from face2exp_lib.runs.trained import load_trained
from face2exp_lib.runtime.errors import Face2ExpError
from face2exp_lib.training.loop import train

Tiny = Callable[..., RunConfig]
# Family: a small member, a side that it takes, its last layer there, and its last maps; by a look
# at torchvision's source.
FAMILIES: dict[str, tuple[str, int, str, str | None]] = {
    "alexnet": ("alexnet", 64, "classifier.6", "features"),
    "convnext": ("convnext_tiny", 48, "classifier.2", "features"),
    "densenet": ("densenet121", 48, "classifier", "features"),
    "efficientnet": ("efficientnet_b0", 48, "classifier.1", "features"),
    "googlenet": ("googlenet", 48, "fc", "inception5b"),
    "inception": ("inception_v3", 96, "fc", "Mixed_7c"),
    "maxvit": ("maxvit_t", 224, "classifier.5", "blocks.3"),
    "mnasnet": ("mnasnet0_5", 48, "classifier.1", "layers"),
    "mobilenet_v2": ("mobilenet_v2", 48, "classifier.1", "features"),
    "mobilenet_v3": ("mobilenet_v3_small", 48, "classifier.3", "features"),
    "regnet": ("regnet_y_400mf", 48, "fc", "trunk_output"),
    "shufflenet": ("shufflenet_v2_x0_5", 48, "fc", "conv5"),
    "squeezenet": ("squeezenet1_1", 48, "classifier.1", "classifier.2"),
    "swin": ("swin_t", 48, "head", "permute"),
    "vgg": ("vgg11_bn", 48, "classifier.6", "features"),
    "vit": ("vit_b_32", 224, "heads.head", None),
}
HEAVY = ("maxvit", "vgg", "inception")
ONE_OF_EACH = [
    pytest.param(name, marks=pytest.mark.full if name in HEAVY else ()) for name in FAMILIES
]


def test_every_family_of_torchvision_is_here() -> None:
    """But the ResNets, which are `LargeResNet`."""
    families = {name.split("_")[0].rstrip("0123456789") for name in NAMES}
    families -= {"resnet", "resnext", "wide", "efficientnet", "mobilenet"}
    assert families <= {name.split("_")[0].rstrip("0123456789") for name in FAMILIES}
    assert {member for member, *_ in FAMILIES.values()} <= set(NAMES)


@pytest.mark.parametrize("family", ONE_OF_EACH)
def test_a_family(family: str) -> None:
    name, side, layer, maps = FAMILIES[family]
    network = build_network(name, 5, pretrained=False, seed=0).train()
    assert isinstance(network, TorchvisionNetwork)
    assert isinstance(network.network.get_submodule(layer), nn.Identity)
    must_take(network, name, side)
    assert network.training
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), frozen_running_stats(network):
        features = network.features(images)
        assert features.shape == (2, network.head.in_features)
        logits = network(images)
        assert logits.shape == (2, 5)
        # A pass draws nothing: the next one is the same.
        state = torch.get_rng_state()
        assert torch.equal(network.head(network.features(images)), logits)
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.isfinite(value).all() for value in (features, logits))
    if maps is None:
        with pytest.raises(Face2ExpError, match="no maps behind its first layers"):
            _ = network.last_maps
    else:
        assert network.last_maps is network.network.get_submodule(maps)
    assert network.network.training
    assert not any(part._forward_hooks for part in network.modules())


@pytest.mark.parametrize("family", ["mobilenet_v3", "densenet", "vit"])
def test_it_is_torchvision_s_with_another_last_layer(family: str) -> None:
    """The same weights give the same features, up to the layer that was found."""
    name, side, layer, _ = FAMILIES[family]
    network = build_torchvision(name, 5, pretrained=False).eval()
    published = get_model(name, num_classes=5).eval()
    state = {key.removeprefix("network."): value for key, value in network.state_dict().items()}
    state |= {f"{layer}.{kind}": state.pop(f"fc.{kind}") for kind in ("weight", "bias")}
    published.load_state_dict(state)
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network(images), published(images))


def test_squeezenet_s_convolution_is_a_linear_layer_behind_the_mean() -> None:
    network = build_torchvision("squeezenet1_1", 5, pretrained=False).eval()
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    seen: list[Tensor] = []
    network.get_submodule("network.features").register_forward_hook(
        lambda _, __, made: seen.append(made)
    )
    with torch.no_grad():
        features = network.features(images)
    torch.testing.assert_close(features, seen[0].mean((2, 3)))


def test_nothing_is_dropped() -> None:
    """Where the published models drop something."""
    published = get_model("efficientnet_b0")
    network = build_torchvision("efficientnet_b0", 5, pretrained=False)
    for made, none in ((published, False), (network, True)):
        rates = [m.p for m in made.modules() if isinstance(m, nn.Dropout | StochasticDepth)]
        assert rates
        assert (set(rates) == {0.0}) == none


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in NAMES if "_h_" not in name])
def test_one_layer_alone_has_an_output_a_class(name: str) -> None:
    """Of all models, in all sizes, but one of 2.5 GB."""
    options = {"aux_logits": False, "init_weights": False} if name in WITH_SIDE_OUTPUTS else {}
    network = get_model(name, **options)
    sizes = [getattr(m, "out_features", getattr(m, "out_channels", 0)) for m in network.modules()]
    assert sizes.count(1000) == 1
    assert last_layer(network)


def test_sizes_that_do_not_fit_are_named() -> None:
    for name, side in (("vit_b_32", 48), ("alexnet", 32), ("squeezenet1_1", 16)):
        network = build_network(name, 7, pretrained=False, seed=0)
        with pytest.raises(
            Face2ExpError, match=rf"data\.view_size: the backbone {name} takes no images of {side}"
        ):
            must_take(network, name, side)


def test_a_run_asks_for_the_size_first(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    with pytest.raises(Face2ExpError, match=r"data\.view_size: the backbone alexnet takes"):
        train(tiny("network.backbone=alexnet"), tmp_path / "run", squares_root)


def test_a_run_with_one(tiny: Tiny, squares_root: Path, tmp_path: Path) -> None:
    """Through training, checkpoint, inference and Grad-CAM."""
    config = tiny("network.backbone=squeezenet1_1", "method=supervised", "training.num_steps=1")
    train(config, tmp_path / "run", squares_root)
    _, network, state = load_trained(tmp_path / "run")
    assert state["network"].keys() == network.state_dict().keys()
    code, _, heat = explain(config, network, torch.full((1, 3, 40, 40), 90, dtype=torch.uint8))
    assert 0 <= code < len(class_names(7))
    assert heat.shape == (32, 32)


def test_operations_of_a_model_that_needs_numbers_to_be_built() -> None:
    """RegNetY-400MF: 0.4e9 multiplications with additions (torchvision's table: 0.4 GFLOPS)."""
    operations = forward_operations("regnet_y_400mf", 1000, 224)
    assert operations == pytest.approx(2 * 0.40e9, rel=0.05)


def test_weights_that_do_not_exist() -> None:
    with pytest.raises(Face2ExpError, match="no weights IMAGENET1K_V1 of vit_h_14"):
        build_torchvision("vit_h_14", 7, pretrained=True)


def test_no_layer_is_guessed() -> None:
    """VGG's three linear layers: the one with an output a class, not the widest or the first."""
    assert last_layer(vgg11(num_classes=1000, init_weights=False)) == "classifier.6"


@pytest.mark.parametrize(
    ("name", "proposed"),
    [("resnet51", "did you mean resnet50 or"), ("smal", "did you mean small"), ("x", "take small")],
)
def test_names_that_are_none(tiny: Tiny, name: str, proposed: str) -> None:
    with pytest.raises(
        Face2ExpError, match=rf"network\.backbone: no backbone '{name}': .*{proposed}"
    ):
        tiny(f"network.backbone={name}")
