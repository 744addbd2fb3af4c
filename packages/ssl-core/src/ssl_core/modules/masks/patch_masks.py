"""Masks over the patches of a ViT, drawn on the device.

Every mask is a pure function of ``(seed, epoch, sample id)``: see :mod:`ssl_core.modules.random_numbers`. A mask is
``(N, L) bool``, True for a masked patch, over the L = rows x columns patches of an image, row by row. :func:`split_mask` turns
it into indices for encoders that compute the visible patches only.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_core.modules.random_numbers import Stream, uniform

Grid = tuple[int, int]  # rows and columns of patches


class SplitMask(NamedTuple):
    """Indices of visible and masked patches. Every row has the same number of each.

    Attributes
    ----------
    keep : Tensor
        Visible patches, ascending, ``(N, L - M) int64``.
    drop : Tensor
        Masked patches, ascending, ``(N, M) int64``.
    inverse : Tensor
        Position of each patch in ``cat([keep, drop], dim=1)``, ``(N, L) int64``: ``gather`` with it restores the order.
    """

    keep: Tensor
    drop: Tensor
    inverse: Tensor


def split_mask(mask: Tensor, num_masked: int) -> SplitMask:
    """Return the indices of visible and masked patches.

    Parameters
    ----------
    mask : Tensor
        ``(N, L) bool``, with ``num_masked`` True values in each row.
    num_masked : int
        M, number of masked patches in a row: an argument, because reading it from ``mask`` would wait for the device.
    """
    order = mask.byte().argsort(dim=1, stable=True)
    visible = mask.shape[1] - num_masked
    return SplitMask(order[:, :visible], order[:, visible:], order.argsort(dim=1))


def random_mask(ids: Tensor, grid: Grid, ratio: float, seed: int, epoch: int) -> Tensor:
    """Mask patches uniformly at random, as MAE (He et al. 2022) and the token drop of MSN (Assran et al. 2022).

    Parameters
    ----------
    ids : Tensor
        Sample ids ``(N,) int64``, on the device of the result.
    grid : tuple of int
        Rows and columns of patches.
    ratio : float
        Share of patches that are masked, in [0, 1). See :func:`num_masked`.
    seed, epoch : int
        Seed of the run, and the epoch.

    Returns
    -------
    Tensor
        ``(N, L) bool``, True for a masked patch; the same number in every row.

    Raises
    ------
    ValueError
        For a ratio outside [0, 1).
    """
    rows, columns = grid
    noise = uniform(ids, rows * columns, seed, epoch, Stream.MASK)
    return _lowest(noise, num_masked(grid, ratio))


def block_mask(
    ids: Tensor, grid: Grid, ratio: float | Tensor, seed: int, epoch: int, min_patches: int = 4, min_aspect: float = 0.3
) -> Tensor:
    """Mask rectangles of patches until the ratio is reached, as BEiT (Bao et al. 2022) and iBOT (Zhou et al. 2022).

    Parameters
    ----------
    ids : Tensor
        Sample ids ``(N,) int64``.
    grid : tuple of int
        Rows and columns of patches.
    ratio : float or Tensor
        Share of patches that are masked, in [0, 1); or one for each sample, ``(N,) float``. See :func:`masked_ratios`.
    seed, epoch : int
        Seed of the run, and the epoch.
    min_patches : int
        Smallest area of a rectangle, in patches.
    min_aspect : float
        Aspect ratios are log-uniform between this and its inverse.

    Returns
    -------
    Tensor
        ``(N, L) bool``, True for a masked patch.

    Notes
    -----
    The papers stop when no further rectangle fits, so that the number of masked patches varies. Here the last rectangle is
    cut, at random, so that each row has exactly the number of its ratio.
    """
    total = grid[0] * grid[1]
    ratios = torch.as_tensor(ratio, device=ids.device).expand(len(ids))
    count = (ratios * total).round().long().clamp(max=total - 1)
    return _blocks(ids, grid, count, seed, epoch, min_patches, min_aspect)


def inverse_block_mask(ids: Tensor, grid: Grid, ratio: float, seed: int, epoch: int, roll: bool = True) -> Tensor:
    """Keep rectangles visible and mask the rest, as CAPI (Darcet et al. 2025).

    Parameters
    ----------
    ids, grid, ratio, seed, epoch
        As in :func:`random_mask`.
    roll : bool
        Shift the mask cyclically by a random offset, so that patches at the border are visible as often as the others.

    Returns
    -------
    Tensor
        ``(N, L) bool``, True for a masked patch; the same number in every row.
    """
    rows, columns = grid
    total = rows * columns
    visible = torch.full_like(ids, total - num_masked(grid, ratio))
    mask = ~_blocks(ids, grid, visible, seed, epoch)
    if not roll:
        return mask
    down, right = (uniform(ids, 2, seed, epoch, Stream.ROLL) * torch.tensor(grid, device=ids.device)).long().T
    row = (torch.arange(rows, device=ids.device) - down[:, None]) % rows
    column = (torch.arange(columns, device=ids.device) - right[:, None]) % columns
    return mask.gather(1, (row[:, :, None] * columns + column[:, None, :]).flatten(1))


def masked_ratios(ids: Tensor, low: float, high: float, probability: float, seed: int, epoch: int) -> Tensor:
    """Draw the ratio of each sample: uniform in [low, high) with this probability, else 0 (iBOT, DINOv2).

    Returns
    -------
    Tensor
        ``(N,) float32``, for :func:`block_mask`.
    """
    draw, share = uniform(ids, 2, seed, epoch, Stream.MASK_RATIO).T
    return torch.where(draw < probability, low + share * (high - low), 0.0)


def view_ids(ids: Tensor, num_views: int) -> Tensor:
    """Return an id ``(V N,) int64`` for each of V views of samples ``(N,) int64``, so that their masks differ."""
    return torch.cat([ids * num_views + view for view in range(num_views)])


def random_subset(indices: Tensor, ids: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    """Return ``count`` of the indices ``(N, M)`` of each sample, ascending: the masked patches that CAPI predicts."""
    noise = uniform(ids, indices.shape[1], seed, epoch, Stream.SUBSET)
    return indices.gather(1, noise.argsort(dim=1)[:, :count]).sort(dim=1).values


def num_masked(grid: Grid, ratio: float) -> int:
    """Return the number of patches that a ratio masks: ``round(ratio * L)``, and at least one visible.

    Raises
    ------
    ValueError
        For a ratio outside [0, 1).
    """
    if not 0 <= ratio < 1:
        raise ValueError(f"ratio={ratio}: expected a number in [0, 1)")
    total = grid[0] * grid[1]
    return min(round(ratio * total), total - 1)


_NUM_RECTANGLES = 32  # candidates of a block mask


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Return ``(N, L) bool``: the ``count`` lowest scores of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.argsort(dim=1)[:, :count], True)


def _blocks(
    ids: Tensor, grid: Grid, count: Tensor, seed: int, epoch: int, min_patches: int = 4, min_aspect: float = 0.3
) -> Tensor:
    """Return a union of rectangles of exactly ``count`` ``(N,) int64`` patches, ``(N, L) bool``."""
    rows, columns = grid
    candidates = _NUM_RECTANGLES
    draws = uniform(ids, 4 * candidates, seed, epoch, Stream.MASK).view(len(ids), candidates, 4).unbind(-1)
    area = min_patches + draws[0] * (count[:, None] - min_patches).clamp(min=0)
    aspect = torch.exp((2 * draws[1] - 1) * math.log(1 / min_aspect))
    heights = (area * aspect).sqrt().round().long().clamp(1, rows)
    widths = (area / aspect).sqrt().round().long().clamp(1, columns)
    covered = rectangles(grid, heights, widths, draws[2], draws[3])  # (N, candidates, L)
    number = torch.arange(candidates, device=ids.device)[:, None]
    first = torch.where(covered, number, candidates).amin(dim=1)  # the first rectangle that covers a patch
    noise = uniform(ids, rows * columns, seed, epoch, Stream.CUT)
    return (first + noise).argsort(dim=1).argsort(dim=1) < count[:, None]


def rectangles(grid: Grid, heights: Tensor, widths: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return which patches rectangles cover, ``(..., L) bool``; ``top`` and ``left`` are uniform in [0, 1)."""
    rows, columns = grid
    row, column = torch.arange(rows, device=top.device), torch.arange(columns, device=top.device)
    first_row = (top * (rows - heights + 1)).long()[..., None]
    first_column = (left * (columns - widths + 1)).long()[..., None]
    in_rows = (row >= first_row) & (row < first_row + heights[..., None])
    in_columns = (column >= first_column) & (column < first_column + widths[..., None])
    return (in_rows[..., :, None] & in_columns[..., None, :]).flatten(-2)
