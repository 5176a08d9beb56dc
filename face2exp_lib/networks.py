"""The backbones of A and B: one architecture, weights of their own (paper 3.1, 4.2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated

import torch
from pydantic import AfterValidator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.backbones.facenet import NAME as FACENET
from face2exp_lib.backbones.facenet import build_facenet
from face2exp_lib.backbones.small import SmallResNet
from face2exp_lib.backbones.torchvision_models import NAMES, build_torchvision
from face2exp_lib.backbones.wide_resnet import NAME as WIDE_RESNET
from face2exp_lib.backbones.wide_resnet import WideResNet
from face2exp_lib.runtime.errors import Face2ExpError

OWN = ("small", WIDE_RESNET, FACENET)  # backbones that are no models of torchvision
FACENET_WEIGHTS = ("vggface2", "casia-webface")
NEAR = 3  # names that a message proposes


def _is_backbone(name: str) -> str:
    if name not in OWN + NAMES:
        near = get_close_matches(name, OWN + NAMES, NEAR)
        asked = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(
            f"no backbone '{name}': {asked}take {', '.join(OWN)} or a classification model of "
            "torchvision such as resnet50"
        )
    return name


Backbone = Annotated[str, AfterValidator(_is_backbone)]


def build_network(
    backbone: Backbone, num_classes: int, *, pretrained: str | bool, seed: int
) -> FaceNetwork:
    """A freshly initialised network.

    Args:
        backbone: the small net, `wide_resnet28_2`, a model of torchvision by its name, or
            `inception_resnet_v1`.
        num_classes: K, outputs of the last layer.
        pretrained: published weights that it starts from (all but the last layer): `none` or False,
            `imagenet` or True, or one of `FACENET_WEIGHTS`.
        seed: of the initial weights; the global random state is left as it was.

    Raises:
        Face2ExpError: if the published weights cannot be fetched, or there are none of this
            backbone.
    """
    weights = pretrained if isinstance(pretrained, str) else ("none", "imagenet")[pretrained]
    if weights == "imagenet" and backbone in OWN:
        raise Face2ExpError(
            f"network.pretrained: there are no ImageNet weights for {backbone}: set it to none or "
            "choose a model of torchvision"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = _built(backbone, num_classes, weights)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            # no network, or a broken download
            named = "ImageNet" if weights == "imagenet" else weights
            cache = Path(torch.hub.get_dir())
            cache = cache.parent if backbone == FACENET else cache
            raise Face2ExpError(
                f"network.pretrained: the {named} weights of {backbone} could not be fetched "
                f"({error}): connect once, or put the file into "
                f"{cache / 'checkpoints'}, or set network.pretrained to none"
            ) from error
        return network.to(memory_format=torch.channels_last)  # the faster layout for convolutions


def _built(backbone: str, num_classes: int, weights: str) -> FaceNetwork:
    if backbone == "small":
        return SmallResNet(num_classes)
    if backbone == WIDE_RESNET:
        return WideResNet(num_classes)
    if backbone == FACENET:
        return build_facenet(num_classes, None if weights == "none" else weights)
    return build_torchvision(backbone, num_classes, pretrained=weights == "imagenet")


def must_take(network: nn.Module, backbone: Backbone, view_size: int) -> None:
    """Make sure that a network takes images of a size.

    Raises:
        Face2ExpError: if they are too small, or it is made for one size alone.
    """
    like, was_training = next(network.parameters()), network.training
    try:
        with torch.no_grad():
            network.eval()(like.new_zeros(1, 3, view_size, view_size))
    except torch.OutOfMemoryError:
        raise
    except (AssertionError, RuntimeError, ValueError) as error:
        raise Face2ExpError(
            f"data.view_size: the backbone {backbone} takes no images of {view_size} px "
            f"({error}): give the size that it is made for, most often 224"
        ) from error
    finally:
        network.train(was_training)


def forward_operations(backbone: Backbone, num_classes: int, view_size: int) -> int:
    """Floating-point operations of one image that goes forward, a multiplication and an addition
    counted as two. Nothing is computed.

    Args:
        backbone: of `build_network`.
        num_classes: K.
        view_size: side of the image in px.
    """
    network = build_network(backbone, num_classes, pretrained=False, seed=0).to("meta")
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, view_size, view_size, device="meta"))
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


@torch.no_grad()
def average_in(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Let an average of weights keep a share of itself and take the rest from a network, in place.

    Batch norm's running statistics are averaged with the weights, its counters copied.
    """
    latest = network.state_dict()
    for key, value in average.state_dict().items():
        if value.is_floating_point():
            value.lerp_(latest[key], 1 - decay)
        else:
            value.copy_(latest[key])


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
