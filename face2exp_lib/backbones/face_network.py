"""What all backbones have in common: images to features, and a last layer from these to logits."""

from torch import Tensor, nn


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
        """The last layer whose outputs still have a place in the image: (N, D, h, w).

        Raises:
            Face2ExpError: if the backbone has none.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, s, s) images to (N, K) logits."""
        logits: Tensor = self.fc(self.features(x))
        return logits
