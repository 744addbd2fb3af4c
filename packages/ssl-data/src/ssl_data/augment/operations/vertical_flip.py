"""Vertical flip, for images without an up and a down: satellites, microscopes, skin."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from ssl_data.augment.jit import compiled
from ssl_data.augment.operations.operation import Operation
from ssl_data.errors import ArgumentError


@dataclass(frozen=True)
class VerticalFlip(Operation):
    """Mirror an image top to bottom. Oracle: torchvision's ``vertical_flip``."""

    probability: float = 0.5

    num_uniforms: ClassVar[int] = 1
    moves_pixels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ArgumentError("vertical_flip: probability", self.probability, "expected 0 to 1")

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return ``vertical_flip (n,) bool``."""
        return {"vertical_flip": u[:, 0] < self.probability}

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return ``x (C, size, size)`` mirrored where that was drawn."""
        return tv.vertical_flip(x) if p["vertical_flip"] else x

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Mirror ``x (n, size, size, C)`` in place."""
        _flip(x.reshape(*x.shape[:2], -1), p["vertical_flip"])

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return ``x (n, C, size, size)`` mirrored."""
        return x.where(~p["vertical_flip"][:, None, None, None], x.flip(2))


@compiled
def _flip(x, flipped):
    """Exchange the rows of ``x (n, size, numbers)``."""
    size = x.shape[1]
    for i in range(len(x)):
        if flipped[i]:
            for row in range(size // 2):
                upper, lower = x[i, row], x[i, size - 1 - row]
                for j in range(len(upper)):
                    upper[j], lower[j] = lower[j], upper[j]
