"""Inception-ResNet-V1 (Szegedy et al.: Inception-v4, AAAI 2017), as facenet-pytorch has it with
weights that tell persons apart."""

from typing import Any

import torch
from torch import Tensor, nn

from face2exp_lib.augmentation.apply import MEAN, STD
from face2exp_lib.backbones.face_network import FaceNetwork
from face2exp_lib.runtime.errors import Face2ExpError

NAME = "inception_resnet_v1"
MISSING = f"{NAME} needs facenet-pytorch: pip install 'face2exp-lib[landmarks]'"


class InceptionResnet(FaceNetwork):
    """Its 512 features behind the last batch norm, and a last layer of ours.

    Its weights were made on pixels (p - 127.5) / 128, which it makes of the views here. They saw
    faces of 160 px, with some room around; it takes 75 px and more.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, num_classes: int) -> None:
        super().__init__()
        network.dropout = nn.Identity()  # see `torchvision_models`
        network.classify, network.logits = True, nn.Identity()  # it ends with its features
        self.network = network
        self.fc = nn.Linear(512, num_classes)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def features(self, x: Tensor) -> Tensor:
        pixels = 255 * (x * self.std + self.mean)
        found: Tensor = self.network((pixels - 127.5) / 128)
        return found

    @property
    def last_maps(self) -> nn.Module:
        return self.get_submodule("network.block8")


def build_facenet(num_classes: int, weights: str | None) -> InceptionResnet:
    """The network.

    Args:
        num_classes: K.
        weights: `vggface2`, `casia-webface`, or None for fresh ones.

    Raises:
        Face2ExpError: if facenet-pytorch is missing.
        OSError, RuntimeError, EOFError, UnpicklingError: if the weights cannot be fetched.
    """
    try:
        from facenet_pytorch import InceptionResnetV1
    except ImportError as error:
        raise Face2ExpError(f"network.backbone: {MISSING}") from error
    return InceptionResnet(InceptionResnetV1(pretrained=weights), num_classes)
