"""ResNet-9, the small residual network that won DAWNBench: fast on a CPU."""

from torch import Tensor, nn

from ssl_core.errors import ConfigError

_MIN_SIDE = 8  # pixels: the three poolings leave one
_LARGEST_FULL_RESOLUTION = 64  # pixels: the same cut-off as in torchvision_resnet


class ResNet9(nn.Module):
    """ResNet-9 without its linear layer: a stem and three levels that halve the image, two of them with a residual pair.

    The network of David Page's "How to train your ResNet" (2018, https://myrtle.ai/learn/how-to-train-your-resnet/). Two
    deviations: the maximum is taken over the last feature map of any size; and for images above 64 pixels (the shorter side)
    the stem reduces the image four times, as ResNet's does, because 224 pixels would otherwise cost 49 times 32 pixels.

    Parameters
    ----------
    image_shape : tuple of int
        ``(C, H, W)``, height and width at least 8.
    width : int
        Channels w of the stem; the levels have 2w, 4w and 8w. ``num_features`` is 8w.
    """

    def __init__(self, image_shape: tuple[int, int, int], width: int = 64) -> None:
        super().__init__()
        channels, height, widthwise = image_shape
        large = min(height, widthwise) > _LARGEST_FULL_RESOLUTION
        self.num_features = 8 * width
        self.stem = nn.Sequential(
            _convolution(channels, width, kernel_size=7, stride=2) if large else _convolution(channels, width),
            nn.MaxPool2d(2) if large else nn.Identity(),
        )
        self.levels = nn.Sequential(
            _convolution(width, 2 * width, pool=True),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width, pool=True),
            _convolution(4 * width, 8 * width, pool=True),
            _Residual(8 * width),
        )
        self.layer_prefixes = [("stem",), *((f"levels.{level}",) for level in range(len(self.levels)))]

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(N, 8 * width)`` of images ``(N, C, H, W)``."""
        return self.forward_dense(x)[0]

    def forward_dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features ``(N, D)`` and the feature map ``(N, D, h, w)`` whose maximum they are."""
        feature_map = self.levels(self.stem(x))
        return feature_map.amax((2, 3)), feature_map


class _Residual(nn.Module):
    """``x + f(x)``. Here f ends in a ReLU, so its last gamma must not start at 0: ReLU has no gradient there, ever."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def _convolution(channels: int, out: int, kernel_size: int = 3, stride: int = 1, pool: bool = False) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel_size, stride, padding=kernel_size // 2, bias=False)
    # The maximum before the ReLU is the same number, and the ReLU has a quarter of the map to go through.
    pooling = [nn.MaxPool2d(2)] if pool else []
    return nn.Sequential(convolution, nn.BatchNorm2d(out), *pooling, nn.ReLU(inplace=True))


def resnet9(name: str, image_shape: tuple[int, int, int], *, width: int = 64) -> ResNet9:
    """Return a :class:`ResNet9`; ``width`` is that of the stem, in channels."""
    if min(image_shape[1:]) < _MIN_SIDE:
        raise ConfigError(
            f"the images have {image_shape[1]} x {image_shape[2]} pixels",
            key="model.backbone", value=name, expected=f"images of at least {_MIN_SIDE} x {_MIN_SIDE} pixels",
        )  # fmt: skip
    return ResNet9(image_shape, width)
