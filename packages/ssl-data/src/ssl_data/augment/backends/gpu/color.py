"""Operations on colours: ``x (n, C, size, size) float32`` in [0, 1]."""

import torch
from torch import Tensor

from ssl_data.augment.columns import Columns
from ssl_data.augment.sampling import ORDERS


class Jitter:
    """Changes brightness, contrast, saturation and hue, in the order of each sample.

    The first three are one blend with something else, the hue is not. A sample has all of its blends before or after its hue:
    three blends, the hues, three blends do them in any order, those that are not due with a factor of 1, which changes nothing.

    Parameters
    ----------
    hues : bool
        Whether hues are changed at all.
    device : torch.device
        Where the images are.
    """

    def __init__(self, hues: bool, device: torch.device) -> None:
        self._hues = hues
        self._orders = torch.from_numpy(ORDERS).to(device)

    def __call__(self, x: Tensor, p: Columns) -> Tensor:
        """Return ``x`` changed."""
        coloured = x.shape[1] == 3
        one = torch.ones_like(p["brightness"])
        factors = torch.stack([p["brightness"], p["contrast"], p["saturation"] if coloured else one, one], 1).float()
        orders = self._orders[p["order"]]  # (n, 4): the operation at each step
        factor = factors.gather(1, orders)
        hue_at = (orders == 3).int().argmax(1)
        for step in range(3):
            x = _blend(x, torch.where(step < hue_at, factor[:, step], 1), orders[:, step])
        if self._hues and coloured:
            x = hue(x, p["hue"].float())
        for step in range(1, 4):
            x = _blend(x, torch.where(step > hue_at, factor[:, step], 1), orders[:, step])
        return x


def _blend(x: Tensor, factor: Tensor, operation: Tensor) -> Tensor:
    """Blend with black (operation 0), the mean grey value (1) or the grey values (2); ``factor`` and ``operation`` ``(n,)``."""
    grey = luma(x)
    mean = grey.mean((1, 2, 3), keepdim=True)
    factor, operation = factor[:, None, None, None], operation[:, None, None, None]
    other = torch.where(operation == 2, grey, torch.where(operation == 1, mean, 0))
    return (x * factor + other * (1 - factor)).clamp(0, 1)


def luma(x: Tensor) -> Tensor:
    """Return the grey values of ITU-R 601-2 (as torchvision), ``(n, 1, size, size)``; without RGB the mean of the bands."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (0.2989 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]


def hue(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue in HSV (Smith 1978) by ``turn (n,)`` of the circle, as the backend for CPUs does."""
    red, green, blue = x.unbind(1)
    high, low = x.amax(1), x.amin(1)
    spread = high - low
    slope = 1 / torch.where(spread > 0, spread, 1)
    sixths = torch.where(
        high == red,
        (green - blue) * slope,
        torch.where(high == green, 2 + (blue - red) * slope, 4 + (red - green) * slope),
    )
    sixths = sixths + 6 * turn[:, None, None]
    k = (torch.arange(5, 0, -2, device=x.device)[:, None, None] + sixths[:, None]).remainder(6)  # 5, 3, 1
    return high[:, None] - spread[:, None] * torch.minimum(k, 4 - k).clamp(0, 1)


def grayscale(x: Tensor, p: Columns) -> Tensor:
    """Replace all channels by the grey values, in the samples that lose their colours."""
    return torch.where(p["grayscale"][:, None, None, None], luma(x), x)


def solarize(x: Tensor, p: Columns) -> Tensor:
    """Invert what is at or above one half, in the samples that are solarised."""
    return torch.where(p["solarize"][:, None, None, None] & (x >= 0.5), 1 - x, x)
