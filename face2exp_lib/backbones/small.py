"""The backbone for CPU work; `benchmarks/backbone.py` holds it against others in equal time."""

import torch.nn.functional as F
from torch import Tensor, nn

from face2exp_lib.backbones.face_network import FaceNetwork

WIDTHS = (16, 32, 64, 128)  # of the stem and of each block


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """With batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2016, basic block), both at half the
    resolution of what goes in; the shortcut halves it by an average (ResNet-D, He et al. 2019)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, stride=2)
        self.second = convolution(outputs, outputs)
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True), convolution(inputs, outputs, size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + self.shortcut(x))


class SmallResNet(FaceNetwork):
    """A residual net for CPU work on faces of 40 to 70 px: 3 blocks, 0.3 M weights.

    Its stem halves the resolution at once: at full resolution it would take half of the time.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        narrow = WIDTHS[0] // 2
        self.stem = nn.Sequential(
            convolution(3, narrow, stride=2), nn.ReLU(), convolution(narrow, WIDTHS[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*map(ResidualBlock, WIDTHS, WIDTHS[1:]))
        self.fc = nn.Linear(WIDTHS[-1], num_classes)

    def features(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x)).mean((2, 3))

    @property
    def last_maps(self) -> nn.Module:
        return self.blocks
