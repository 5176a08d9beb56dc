"""Any classification model of torchvision as a backbone, its last layer for other classes.

Dropout and stochastic depth are off in all of them: what they drop would be torch's own draw, which
a resumed run could not repeat, and f would compare two functions where it asks about one.
"""

from typing import Any

import torch
import torchvision.models
from torch import Tensor, nn
from torchvision.models import ResNet, get_model, get_model_weights, list_models
from torchvision.ops import StochasticDepth

from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

NAMES = tuple(list_models(module=torchvision.models))
PUBLISHED_CLASSES = 1000  # of ImageNet; no other layer of these models has as many outputs
WEIGHTS = "IMAGENET1K_V1"
WITH_SIDE_OUTPUTS = ("googlenet", "inception_v3")
USUAL_SIDE = 224  # px; all of them take it
POOLS = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d)


class LargeResNet(FaceNetwork):
    """A ResNet of torchvision with a last layer for other classes, and the two taken apart. Its
    weights have torchvision's own names."""

    def __init__(self, network: ResNet, num_classes: int) -> None:
        super().__init__()
        for name, part in network.named_children():  # in the order in which they follow each other
            self.add_module(name, part)
        self.fc = nn.Linear(network.fc.in_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        *parts, _ = self.children()
        for part in parts:
            x = part(x)
        return x.flatten(1)

    @property
    def last_maps(self) -> nn.Module:
        return self.get_submodule("layer4")


class TorchvisionNetwork(FaceNetwork):
    """Another model of torchvision, whose last layer stands beside the rest.

    SqueezeNet's is a convolution of one pixel before the mean over all places; here it comes behind
    that mean, where it is a linear layer, and without the ReLU that would keep logits from being
    negative.
    """

    def __init__(self, network: nn.Module, num_classes: int) -> None:
        super().__init__()
        name = last_layer(network)
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        width = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        network.set_submodule(name, nn.Identity())
        self.network = network
        self.fc = nn.Linear(width, num_classes)

    def features(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x)
        return found.flatten(1)

    @property
    def last_maps(self) -> nn.Module:
        return last_maps_of(self.network)


def build_torchvision(name: str, num_classes: int, *, pretrained: bool) -> FaceNetwork:
    """A model by its name, one of `NAMES`.

    Raises:
        Face2ExpError: if torchvision has no ImageNet weights of this one.
        OSError, RuntimeError, EOFError, UnpicklingError: if they cannot be fetched.
    """
    if pretrained and not hasattr(get_model_weights(name), WEIGHTS):
        raise Face2ExpError(
            f"network.pretrained: torchvision has no weights {WEIGHTS} of {name}: set it to none "
            "or choose another backbone"
        )
    options: dict[str, Any] = {"weights": WEIGHTS if pretrained else None}
    if name in WITH_SIDE_OUTPUTS:
        # As published; left out, the second one warns that another default will come.
        options |= {"aux_logits": False, "init_weights": not pretrained}
    network = get_model(name, **options)
    for module in network.modules():
        if isinstance(module, nn.Dropout | StochasticDepth):
            module.p = 0.0
    if isinstance(network, ResNet):
        return LargeResNet(network, num_classes)
    return TorchvisionNetwork(network, num_classes)


def last_layer(network: nn.Module) -> str:
    """The name of the layer that makes the logits: the last one with an output a class.

    Args:
        network: with `PUBLISHED_CLASSES` classes.
    """
    found = [
        name
        for name, layer in network.named_modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == PUBLISHED_CLASSES)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == PUBLISHED_CLASSES)
    ]
    return found[-1]


def last_maps_of(network: nn.Module) -> nn.Module:
    """The last layer whose outputs are (N, D, h, w) and no mere pooling, found by a look at a grey
    image.

    Raises:
        Face2ExpError: if there is none: a transformer cuts the image into tokens, and its only maps
            are those at its beginning.
    """
    found: list[nn.Module] = []

    def note(module: nn.Module, given: object, made: object) -> None:
        if not isinstance(made, Tensor):
            return
        if made.ndim == 3:  # tokens: whatever maps there were, they are no longer the last
            found.clear()
        if made.ndim == 4 and made.shape[2] > 1 and not isinstance(module, POOLS):
            found.append(module)

    parts = [part for part in network.modules() if part is not network]
    hooks = [part.register_forward_hook(note) for part in parts]
    was_training, like = network.training, next(network.parameters())
    try:
        with torch.no_grad():
            network.eval()(like.new_zeros(1, 3, USUAL_SIDE, USUAL_SIDE))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    if not found:
        raise Face2ExpError(
            "this backbone has no maps behind its first layers, which Grad-CAM would show: it is "
            "one of tokens; choose a convolutional one"
        )
    return found[-1]
