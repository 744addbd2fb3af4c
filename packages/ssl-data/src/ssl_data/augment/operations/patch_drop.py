"""Dropping of random patches (Naseer et al. 2021, https://arxiv.org/abs/2105.10497; Singh & Lee 2017, https://arxiv.org/abs/1704.04232)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from ssl_data.augment.jit import compiled
from ssl_data.augment.operations.operation import Operation
from ssl_data.errors import ArgumentError


@dataclass(frozen=True)
class PatchDrop(Operation):
    """Replace a share of the patches of an image by one value. Oracle: torchvision's ``erase`` of each patch.

    The view is divided into ``grid x grid`` patches, of which ``round(share * grid**2)`` are dropped, each set of them with the
    same probability (random PatchDrop of Naseer et al. 2021). Singh & Lee (2017) draw for each patch instead.
    """

    share: float = 0.25  # of the patches
    grid: int = 4  # patches of an edge; where it does not divide the size, patches differ by a pixel
    probability: float = 1.0  # of a sample
    value: float = 0.0  # in the range [0, 1] of the pixels, before the normalisation

    def __post_init__(self) -> None:
        for name in ("share", "probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentError(f"patch_drop: {name}", getattr(self, name), "expected 0 to 1")
        if not isinstance(self.grid, int) or self.grid < 1:
            raise ArgumentError("patch_drop: grid", self.grid, "expected a whole number of at least 1")

    @property
    def num_uniforms(self) -> int:
        """One of each patch, and one of the sample."""
        return self.grid**2 + 1

    def draw(self, u: Tensor, size: int) -> dict[str, Tensor]:
        """Return ``dropped_patches (n, grid**2) bool``, row by row."""
        if self.grid > size:
            raise ArgumentError("patch_drop: grid", self.grid, f"expected at most size={size}")
        ranks = u[:, 1:].argsort(dim=1, stable=True).argsort(dim=1)
        dropped = ranks < round(self.share * self.grid**2)
        return {"dropped_patches": dropped & (u[:, :1] < self.probability)}

    def reference(self, x: Tensor, p: dict[str, Any]) -> Tensor:
        """Return ``x (C, size, size)`` without the dropped patches."""
        edges = [each * x.shape[-1] // self.grid for each in range(self.grid + 1)]
        for patch in p["dropped_patches"].nonzero().flatten().tolist():
            row, column = divmod(patch, self.grid)
            height, width = edges[row + 1] - edges[row], edges[column + 1] - edges[column]
            x = tv.erase(x, edges[row], edges[column], height, width, torch.tensor(self.value))
        return x

    def cpu(self, x: NDArray[np.float32], p: dict[str, NDArray[Any]]) -> None:
        """Fill the dropped patches of ``x (n, size, size, C)`` in place."""
        _drop(x, p["dropped_patches"], self.grid, np.float32(self.value))

    def gpu(self, x: Tensor, p: dict[str, Tensor]) -> Tensor:
        """Return ``x (n, C, size, size)`` without the dropped patches."""
        size = x.shape[-1]
        patch = (torch.arange(size, device=x.device) * self.grid + self.grid - 1) // size  # that a row or column is in
        dropped = p["dropped_patches"].reshape(-1, self.grid, self.grid)[:, patch][:, :, patch]
        return x.masked_fill(dropped[:, None], self.value)


@compiled
def _drop(x, dropped, grid, value):
    n, size, _, channels = x.shape
    for i in range(n):
        for patch in range(grid * grid):
            if dropped[i, patch]:
                row, column = patch // grid, patch % grid
                for y in range(row * size // grid, (row + 1) * size // grid):
                    for z in range(column * size // grid, (column + 1) * size // grid):
                        for channel in range(channels):
                            x[i, y, z, channel] = value
