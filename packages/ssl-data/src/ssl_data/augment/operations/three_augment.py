"""3-Augment of DeiT III (Touvron, Cord & Jegou 2022, https://arxiv.org/abs/2204.07118)."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from ssl_data.augment.backends.cpu.color import grayscale, solarize
from ssl_data.augment.backends.cpu.filters import blur
from ssl_data.augment.backends.gpu import color
from ssl_data.augment.backends.gpu.filters import Blur
from ssl_data.augment.jit import compiled
from ssl_data.augment.operations.operation import Operation
from ssl_data.errors import ArgumentError

_GRAYSCALE, _SOLARIZE, _BLUR, _NOTHING = range(4)
_REACH = 3  # deviations of the blur that its kernel covers


@dataclass(frozen=True)
class ThreeAugment(Operation):
    """Apply one of grayscale, solarization and Gaussian blur, each with probability 1/3. Oracle: torchvision's functions.

    DeiT III combines it with crop, flip and a color jitter: ``ViewSpec(size=224, crop_scale=(0.08, 1.0), flip=0.5, jitter=1.0,
    brightness=0.3, contrast=0.3, saturation=0.3, operations=(ThreeAugment(),))``. There the color jitter comes last; here it
    comes before all operations.
    """

    probability: float = 1.0
    sigma: tuple[float, float] = (0.1, 2.0)  # pixels: of the blur, drawn uniformly

    num_uniforms: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ArgumentError("three_augment: probability", self.probability, "expected 0 to 1")
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ArgumentError(
                "three_augment: sigma", self.sigma, "expected two numbers above 0, the smaller one first"
            )

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return ``three_augment (n,) int64`` (0 grayscale, 1 solarize, 2 blur, 3 nothing) and ``three_augment_sigma``."""
        kind = torch.where(u[:, 0] < self.probability, (3 * u[:, 1]).long(), _NOTHING)
        low, high = self.sigma
        return {"three_augment": kind, "three_augment_sigma": low + (high - low) * u[:, 2]}

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return ``x (C, size, size)`` after the operation that was drawn."""
        if p["three_augment"] == _GRAYSCALE:
            return tv.rgb_to_grayscale(x, num_output_channels=3) if len(x) == 3 else x
        if p["three_augment"] == _SOLARIZE:
            return tv.solarize(x, 0.5)
        if p["three_augment"] == _BLUR:
            return tv.gaussian_blur(x, [self._kernel_size(x.shape[-1])] * 2, [p["three_augment_sigma"]] * 2)
        return x

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Change ``x (n, size, size, C)`` in place."""
        _three_augment(x, p["three_augment"], p["three_augment_sigma"], self._kernel_size(x.shape[1]))

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return ``x (n, C, size, size)`` after the operations."""
        kind = p["three_augment"]
        if x.shape[1] == 3:
            x = color.grayscale(x, {"grayscale": kind == _GRAYSCALE})
        x = color.solarize(x, {"solarize": kind == _SOLARIZE})
        sigma = torch.where(kind == _BLUR, p["three_augment_sigma"], 0)
        return _blur(x.shape[-1], self._kernel_size(x.shape[-1]), x.device)(x, {"sigma": sigma})

    def _kernel_size(self, size: int) -> int:
        """Return the width of the blur's kernel in pixels; borders are reflected, so that it is less than twice ``size``."""
        return 2 * min(math.ceil(_REACH * self.sigma[1]), size - 1) + 1


@cache
def _blur(size: int, kernel_size: int, device: torch.device) -> Blur:
    return Blur(size, kernel_size, device)


@compiled
def _three_augment(x, kinds, sigmas, kernel_size):
    n, size, _, channels = x.shape
    planes, scratch = np.empty((channels, size, size), np.float32), np.empty((size, size), np.float32)
    for i in range(n):
        if kinds[i] == _NOTHING:
            continue
        for channel in range(channels):
            for row in range(size):
                for column in range(size):
                    planes[channel, row, column] = x[i, row, column, channel]
        flat = planes.reshape(channels, size * size)
        if kinds[i] == _SOLARIZE:
            solarize(flat)
        elif kinds[i] == _BLUR:
            blur(planes, sigmas[i], kernel_size, scratch)
        elif channels == 3:
            grayscale(flat, scratch.reshape(-1))
        for channel in range(channels):
            for row in range(size):
                for column in range(size):
                    x[i, row, column, channel] = planes[channel, row, column]
