"""Random erasing (Zhong et al. 2017, https://arxiv.org/abs/1708.04896)."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from ssl_data.augment.jit import compiled
from ssl_data.augment.operations.operation import Operation
from ssl_data.errors import ArgumentError


@dataclass(frozen=True)
class RandomErasing(Operation):
    """Replace a rectangle of an image by one value. Oracle: torchvision's ``RandomErasing`` and ``erase``.

    torchvision draws up to ten times until the rectangle fits; here one that does not fit is cut to the size of the image.
    """

    probability: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)  # share of the area
    ratio: tuple[float, float] = (0.3, 3.3)  # height divided by width, drawn log-uniformly
    value: float = 0.0  # in the range [0, 1] of the pixels, before the normalisation

    num_uniforms: ClassVar[int] = 5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ArgumentError("random_erasing: probability", self.probability, "expected 0 to 1")
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if not 0 < low <= high:
                raise ArgumentError(f"random_erasing: {name}", (low, high), "expected two numbers above 0")

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return ``erase_top``, ``erase_left``, ``erase_height``, ``erase_width (n,) int64``; a height of 0 erases nothing."""
        area = size * size * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 1])
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = (low + (high - low) * u[:, 2]).exp()
        height, width = ((area * each).sqrt().round().clamp(1, size) for each in (ratio, 1 / ratio))
        top, left = ((u[:, at] * (size - edge + 1)).floor() for at, edge in ((3, height), (4, width)))
        height = torch.where(u[:, 0] < self.probability, height, 0)
        names = ("erase_top", "erase_left", "erase_height", "erase_width")
        return {name: each.long() for name, each in zip(names, (top, left, height, width))}

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return ``x (C, size, size)`` with the rectangle erased."""
        top, left, height, width = (int(p[f"erase_{name}"]) for name in ("top", "left", "height", "width"))
        return tv.erase(x, top, left, height, width, torch.tensor(self.value)) if height else x

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Erase the rectangles of ``x (n, size, size, C)`` in place."""
        _erase(x, p["erase_top"], p["erase_left"], p["erase_height"], p["erase_width"], np.float32(self.value))

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return ``x (n, C, size, size)`` with the rectangles erased."""
        line = torch.arange(x.shape[-1], device=x.device)
        rows, columns = (
            (line >= p[f"erase_{first}"][:, None]) & (line < (p[f"erase_{first}"] + p[f"erase_{length}"])[:, None])
            for first, length in (("top", "height"), ("left", "width"))
        )
        return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], self.value)


@compiled
def _erase(x, tops, lefts, heights, widths, value):
    for i in range(len(x)):
        for row in range(tops[i], tops[i] + heights[i]):
            for column in range(lefts[i], lefts[i] + widths[i]):
                for channel in range(x.shape[3]):
                    x[i, row, column, channel] = value
