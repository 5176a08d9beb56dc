"""WideResNet-28-2 (Zagoruyko and Komodakis: Wide Residual Networks, BMVC 2016), in which
semi-supervised methods publish their results on images of 32 to 64 px."""

import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib.backbones.face_network import FaceNetwork

NAME = "wide_resnet28_2"
STEM = 16  # channels
WIDTHS = (32, 64, 128)  # of the three groups: 16, 32 and 64, twice as wide
BLOCKS = 4  # in a group; the authors count 28 = 1 + 3 x 4 x 2 + 3 convolutions, shortcuts too


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Padded so that it keeps the side, or with a stride of 2 halves it."""
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


class PreActivationBlock(nn.Module):
    """Two 3 x 3 convolutions, each behind batch norm and ReLU (He et al.: Identity Mappings in Deep
    Residual Networks, ECCV 2016), beside a shortcut. Where the width changes, the shortcut is a
    convolution of one pixel and begins behind the first ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = convolution(inputs, outputs, stride=stride)
        self.conv2 = convolution(outputs, outputs)
        self.shortcut = None if inputs == outputs else convolution(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        activated = F.relu(self.norm1(x))
        beside = x if self.shortcut is None else self.shortcut(activated)
        made: Tensor = self.conv2(F.relu(self.norm2(self.conv1(activated))))
        return made + beside


class WideResNet(FaceNetwork):
    """Depth 28, width 2, without dropout: 1.47 M weights. The side is halved twice.

    Initial weights are those of the authors' code: He et al. 2015, by the number of outputs.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = convolution(3, STEM)
        self.groups = nn.Sequential()
        inputs = STEM
        for group, width in enumerate(WIDTHS):
            for block in range(BLOCKS):
                stride = 2 if group > 0 and block == 0 else 1
                self.groups.append(PreActivationBlock(inputs, width, stride))
                inputs = width
        self.end = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def features(self, x: Tensor) -> Tensor:
        return self.end(self.groups(self.stem(x))).mean((2, 3))

    @property
    def last_maps(self) -> nn.Module:
        return self.end
