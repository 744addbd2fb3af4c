"""Normalised images as a screen shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

TAIL = 0.01  # share of the values at either end that become black or white, of images that are stretched
DARK = 0.1  # highest value of images that are stretched, too: 16 bits of a sensor that are hardly used
MAX_VALUES = 2**20  # that limits are computed from


@dataclass(frozen=True)
class Display:
    """Undoes the normalisation of images: ``images[:, bands] * gain + offset``, clipped to 0..1.

    Attributes
    ----------
    bands : list of int
        The first three of three or more bands, or else the first.
    gain, offset : Tensor
        ``(bands, 1, 1)`` float.
    """

    bands: list[int]
    gain: Tensor
    offset: Tensor

    @classmethod
    def of(cls, images: Tensor, mean: Sequence[float] = (), std: Sequence[float] = ()) -> "Display":
        """Return the display of images ``(N, C, H, W)`` that were normalised by the mean and deviation of each band.

        Images that are then not within 0..1, or dark, are stretched: black and white are their 1st and 99th percentile.
        """
        bands = [0, 1, 2] if images.shape[1] >= 3 else [0]
        known = len(mean) == len(std) == images.shape[1]
        gain, offset = (
            torch.tensor([values[band] if known else default for band in bands]).view(-1, 1, 1)
            for values, default in ((std, 1.0), (mean, 0.0))
        )
        values = (images[:, bands].cpu().float() * gain + offset).transpose(0, 1).flatten(1)
        values = values[:, :: max(1, values.shape[1] // MAX_VALUES)]
        low, high = (torch.quantile(values, share, 1).view(-1, 1, 1) for share in (TAIL, 1 - TAIL))
        if low.min() < -DARK or high.max() > 1 + DARK or high.max() < DARK:
            width = (high - low).clamp(min=1e-12)
            gain, offset = gain / width, (offset - low) / width
        return cls(bands, gain, offset)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images ``(..., C, H, W)`` as ``(..., bands, H, W) float32`` in 0..1, on the CPU."""
        return (images[..., self.bands, :, :].cpu().float() * self.gain + self.offset).nan_to_num(nan=0.5).clamp(0, 1)
