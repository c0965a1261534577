"""A small residual classifier of CIFAR-10 whose pooled features stand in for Inception's where its weights are not.

Shapes: N images, 3 channels, 32 x 32 pixels, D features.
"""

from torch import Tensor, nn

__all__ = ["CifarCNN"]


class CifarCNN(nn.Module):
    """Convolutions with two residual blocks: images in [-1, 1], float (N, 3, 32, 32) -> class scores (N, 10).

    After He et al. 2016 (residual blocks) in the shallow form that trains in minutes: `widths` are the channels at
    32 x 32, 16 x 16, 8 x 8 and 4 x 4 pixels; the last of them is the number of features, D.
    """

    def __init__(self, widths: tuple[int, int, int, int] = (32, 64, 128, 128), classes: int = 10) -> None:
        super().__init__()
        stem, quarter, eighth, last = widths
        self.body = nn.Sequential(
            _convolution(3, stem),
            _convolution(stem, quarter),
            nn.MaxPool2d(2),  # (N, quarter, 16, 16)
            _convolution(quarter, eighth),
            nn.MaxPool2d(2),  # (N, eighth, 8, 8)
            _Residual(eighth),
            _convolution(eighth, last),
            nn.MaxPool2d(2),  # (N, last, 4, 4)
            _Residual(last),
        )
        self.head = nn.Linear(last, classes)

    def features(self, x: Tensor) -> Tensor:
        """The means of the last feature maps, (N, D)."""
        maps: Tensor = self.body(x)
        return maps.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes, (N, 10)."""
        scores: Tensor = self.head(self.features(x))
        return scores


class _Residual(nn.Module):
    """x + two convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.branch(x)
        return x + branch


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))
