"""Rotary positions: queries and keys are rotated by angles that depend on the place of their patch."""

import math
from typing import Any

import torch
from torch import Tensor, nn

Rotation = tuple[Tensor, Tensor]  # cosines and sines of the angles, (T, d) or (N, 1, T, d) float


class RotaryPositions(nn.Module):
    """The axial rotary positions of DINOv3 (Siméoni et al. 2025, https://arxiv.org/abs/2508.10104, section 3.2).

    The centres of the patches have coordinates in [-1, 1], for images of any size and aspect ratio. The angles
    of the row and those of the column each take a quarter of the dimensions of a head, and both are repeated for the second
    half. Periods are from 1 to nearly ``base`` in coordinates.

    Parameters
    ----------
    head_width : int
        d, dimensions of an attention head; a multiple of 4.
    base : float
        The periods are ``base ** (4 i / d)`` for i from 0 to d / 4 - 1.
    rescale : float
        In training, all coordinates of a forward pass are multiplied by one factor, log-uniform between ``1 / rescale`` and
        ``rescale``: the features then depend less on the resolution. 1: never, as in a teacher.
    """

    def __init__(self, head_width: int, base: float = 100.0, rescale: float = 2.0) -> None:
        super().__init__()
        if head_width % 4 or rescale < 1:
            raise ValueError(f"head_width={head_width}, rescale={rescale}: expected a multiple of 4, and at least 1")
        self.head_width, self.base, self.rescale = head_width, base, rescale

    def forward(
        self, grid: tuple[int, int], num_prefix_tokens: int, like: Tensor, keep: Tensor | None = None
    ) -> Rotation:
        """Return the rotation of all tokens of a head.

        Parameters
        ----------
        grid : tuple of int
            Rows and columns of patches.
        num_prefix_tokens : int
            Tokens before the patches, which are not rotated.
        like : Tensor
            Gives the device and the dtype of the result, which is float32 or wider.
        keep : Tensor, optional
            Indices of the patches that are computed, ``(N, K) int64``.

        Returns
        -------
        tuple of Tensor
            Cosines and sines, ``(T, d)`` for T tokens, or ``(N, 1, T, d)`` with ``keep``.
        """
        options: Any = {"device": like.device, "dtype": torch.promote_types(like.dtype, torch.float32)}
        row, column = (2 * (torch.arange(count, **options) + 0.5) / count - 1 for count in grid)
        places = torch.cartesian_prod(row, column)
        if self.training and self.rescale > 1:
            limit = math.log(self.rescale)
            places = places * torch.empty(1, **options).uniform_(-limit, limit).exp()
        quarter = torch.arange(self.head_width // 4, **options)
        angles = 2 * math.pi * places[:, :, None] * self.base ** (-4 * quarter / self.head_width)
        angles = angles.flatten(1).repeat(1, 2)
        prefix = angles.new_zeros(num_prefix_tokens, self.head_width)
        if keep is not None:
            angles, prefix = angles[keep], prefix.expand(len(keep), -1, -1)
        angles = torch.cat([prefix, angles], dim=-2)
        if keep is not None:
            angles = angles[:, None]
        return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Return the queries or keys ``(N, heads, T, d)`` rotated: dimension i together with dimension i + d / 2."""
    cosine, sine = rotation  # in float32, also of queries in half precision
    first, second = x.chunk(2, dim=-1)
    return (x * cosine + torch.cat([-second, first], dim=-1) * sine).to(x.dtype)
