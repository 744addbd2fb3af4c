"""Blur and noise: ``x (n, C, size, size) float32`` in [0, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_data.augment.columns import Columns
from ssl_data.augment.operation_parameters import philox

_LOW = 0xFFFFFFFF


class Blur:
    """A separable Gaussian with reflected borders, as a product with a band matrix for each sample.

    Parameters
    ----------
    size : int
        Pixels of an edge.
    kernel_size : int
        Pixels of the kernel.
    device : torch.device
        Where the images are.
    """

    def __init__(self, size: int, kernel_size: int, device: torch.device) -> None:
        half = kernel_size // 2
        self._offsets = torch.arange(-half, half + 1, device=device, dtype=torch.float32)
        place = (torch.arange(size)[:, None] + torch.arange(-half, half + 1)).abs()
        place = torch.where(place >= size, 2 * (size - 1) - place, place)
        # (kernel_size, size * size): which pixel a tap of the kernel reads, for each pixel
        self._taps = F.one_hot(place, size).permute(1, 0, 2).reshape(kernel_size, -1).float().to(device)

    def __call__(self, x: Tensor, p: Columns) -> Tensor:
        """Return ``x`` blurred by ``sigma``; where that is 0 the matrix is the identity."""
        n, channels, size, _ = x.shape
        sigma = p["sigma"].float().clamp(min=1e-3)[:, None]
        kernel = (-0.5 * (self._offsets / sigma) ** 2).exp()
        band = ((kernel / kernel.sum(1, keepdim=True)) @ self._taps).reshape(n, size, size)
        x = torch.bmm(x.reshape(n, channels * size, size), band.mT).reshape(n, channels, size, size)
        x = torch.bmm(band, x.permute(0, 2, 1, 3).reshape(n, size, channels * size))
        return x.reshape(n, size, channels, size).permute(0, 2, 1, 3)


def noise(x: Tensor, p: Columns) -> Tensor:
    """Add Gaussian noise, the same numbers as :func:`ssl_data.augment.rng.normals`."""
    count = x[0].numel()
    key = p["noise_key"][:, None]
    block = torch.arange(-(-count // 4), device=x.device)[None, :].expand(len(x), -1)
    zero = torch.zeros_like(block)
    words = philox([block, zero, zero, zero], key & _LOW, (key >> 32) & _LOW)
    a, b, c, d = ((word >> 8).float() / 16777216 for word in words)
    r0, r1 = (-2 * (1 - a).log()).sqrt(), (-2 * (1 - c).log()).sqrt()
    t0, t1 = 2 * math.pi * b, 2 * math.pi * d
    normals = torch.stack([r0 * t0.cos(), r0 * t0.sin(), r1 * t1.cos(), r1 * t1.sin()], -1)
    deviation = p["noise"].float()[:, None, None, None]
    return (x + deviation * normals.reshape(len(x), -1)[:, :count].reshape(x.shape)).clamp(0, 1)
