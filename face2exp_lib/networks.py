"""The backbones of A and B: one architecture, weights of their own (paper 3.1, 4.2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import ResNet, get_model

from face2exp_lib.runtime.errors import Face2ExpError

Backbone = Literal["resnet50", "resnet18", "small"]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, basic block)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class FaceNetwork(nn.Module):
    """A backbone: images to features, and a last layer from these to logits."""

    fc: nn.Module  # the last layer's name in checkpoints

    def features(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, D), what the last layer reads."""
        raise NotImplementedError

    @property
    def head(self) -> nn.Module:
        """The last layer."""
        return self.fc

    @property
    def last_maps(self) -> nn.Module:
        """The last layer whose outputs still have a place in the image: (N, D, h, w)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K) logits."""
        logits: Tensor = self.fc(self.features(x))
        return logits


class SmallResNet(FaceNetwork):
    """A residual net for CPU work on faces of 40 to 70 px: 4 blocks, 0.3 M weights."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(
            ResidualBlock(16, 16, 2),
            ResidualBlock(16, 32, 2),
            ResidualBlock(32, 64, 2),
            ResidualBlock(64, 128, 2),
        )
        self.fc = nn.Linear(128, num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean((2, 3))

    @property
    def last_maps(self) -> nn.Module:
        return self.blocks


class LargeResNet(FaceNetwork):
    """A ResNet of torchvision with a last layer for other classes, and the two taken apart."""

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


def build_network(
    backbone: Backbone, num_classes: int, *, pretrained: bool, seed: int
) -> FaceNetwork:
    """A freshly initialised network.

    Args:
        backbone: a torchvision ResNet or the small net.
        num_classes: K, outputs of the last layer.
        pretrained: start from torchvision's ImageNet weights (all but the last layer).
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        Face2ExpError: if the ImageNet weights cannot be fetched, or the small net is to have some.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone == "small":
            if pretrained:
                raise Face2ExpError(
                    "network.pretrained: there are no ImageNet weights for the small net: set it "
                    "to false or choose resnet18 or resnet50"
                )
            return SmallResNet(num_classes).to(memory_format=torch.channels_last)
        try:
            network = get_model(backbone, weights="IMAGENET1K_V1" if pretrained else None)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            # no network, or a broken download
            raise Face2ExpError(
                f"network.pretrained: the ImageNet weights of {backbone} could not be fetched "
                f"({error}): connect once, or put the file into "
                f"{torch.hub.get_dir()}/checkpoints, or set network.pretrained to false"
            ) from error
        # the faster layout for convolutions
        return LargeResNet(network, num_classes).to(memory_format=torch.channels_last)


def forward_operations(backbone: Backbone, num_classes: int, view_size: int) -> int:
    """Floating-point operations of one image that goes forward, a multiplication and an addition
    counted as two. Nothing is computed, and no weights are made.

    Args:
        backbone: of `build_network`.
        num_classes: K.
        view_size: side of the image in px.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_network(backbone, num_classes, pretrained=False, seed=0)
        network(torch.empty(1, 3, view_size, view_size))
    return int(counter.get_total_flops())


@contextmanager
def frozen_running_stats(network: nn.Module) -> Iterator[None]:
    """Batch norm normalises by the batch at hand, as in training, and forgets it afterwards.

    This is the project's batch-norm policy: every forward pass of training, FER or FR, before or
    after a step, is normalised by its own batch, so that L_u, the labelled loss and f speak of the
    same function. Only one pass a step of each network moves the running statistics that inference
    uses: A's on x_FR in line 7, B's on x_FER in line 9.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    tracked = [norm.track_running_stats for norm in norms]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm, was_tracked in zip(norms, tracked, strict=True):
            norm.track_running_stats = was_tracked


def synchronised(network: nn.Module) -> nn.Module:
    """The same network with batch norm over the images of all processes.

    Raises:
        Face2ExpError: on a CPU, where torch has no such layer.
    """
    if next(network.parameters()).device.type != "cuda":
        raise Face2ExpError("compute.batch_norm sync needs GPUs: set it to local")
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    return converted


def choose_device(name: str) -> torch.device:
    """The device a config names; `auto` takes CUDA, then MPS, then the CPU.

    Raises:
        Face2ExpError: if it is not there.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next((device for device, there in available.items() if there), "cpu")
    if not available.get(name, True):
        raise Face2ExpError(f"device: no {name} on this machine: set device to cpu or auto")
    return torch.device(name)
