"""Masks over the patches of a ViT, drawn on the device.

Every mask is a pure function of ``(seed, epoch, sample id)``: the number of ranks, the batch size and the point of resumption
do not change it. A mask is ``(N, L) bool``, True for a masked patch, over the L = rows x columns patches of an image, row by
row. :func:`split_mask` turns it into indices for encoders that compute the visible patches only.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_losses.ops.splitmix64 import shift_right, splitmix64

Grid = tuple[int, int]


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


class MultiBlockMask(NamedTuple):
    """Context and target patches of I-JEPA.

    Attributes
    ----------
    context : Tensor
        Patches that the context encoder sees, ``(N, C) int64``. None of them is in a target.
    targets : Tensor
        Patches of each target block, row by row, ``(N, T, S) int64``.
    """

    context: Tensor
    targets: Tensor


def split_mask(mask: Tensor, num_masked: int) -> SplitMask:
    """Return the indices of visible and masked patches.

    Parameters
    ----------
    mask : Tensor
        ``(N, L) bool``, with ``num_masked`` True values in each row.
    num_masked : int
        M. It is passed, and not read from ``mask``, so that no device waits.
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
    noise = uniform(ids, rows * columns, seed, epoch)
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
    down, right = (uniform(ids, 2, seed, epoch, stream=2) * torch.tensor(grid, device=ids.device)).long().T
    row = (torch.arange(rows, device=ids.device) - down[:, None]) % rows
    column = (torch.arange(columns, device=ids.device) - right[:, None]) % columns
    return mask.gather(1, (row[:, :, None] * columns + column[:, None, :]).flatten(1))


def multi_block_mask(
    ids: Tensor,
    grid: Grid,
    seed: int,
    epoch: int,
    num_targets: int = 4,
    target_scale: tuple[float, float] = (0.15, 0.2),
    target_aspect: tuple[float, float] = (0.75, 1.5),
    context_scale: tuple[float, float] = (0.85, 1.0),
) -> MultiBlockMask:
    """Draw target blocks and a context block without them, as I-JEPA (Assran et al. 2023).

    Parameters
    ----------
    ids, grid, seed, epoch
        As in :func:`random_mask`.
    num_targets : int
        T, target blocks of one image. They may overlap.
    target_scale, context_scale : tuple of float
        Range of a block's share of the image. The context block is square in patches.
    target_aspect : tuple of float
        Range of height / width of a target block, log-uniform.

    Returns
    -------
    MultiBlockMask

    Notes
    -----
    As in the paper, all samples share the sizes of the blocks. They are drawn once an epoch; the paper draws them for each
    batch, which would tie a sample's mask to its batch. The paper cuts every context to the shortest of the batch; here to
    the shortest of 256 draws of the epoch. A sample with a shorter context repeats its patches.
    """
    rows, columns = grid
    target, context, length = _multi_block_sizes(
        grid, seed, epoch, num_targets, target_scale, target_aspect, context_scale
    )
    blocks, visible = _multi_blocks(ids, grid, seed, epoch, num_targets, target, context)
    noise = uniform(ids, rows * columns, seed, epoch, stream=5)
    order = (noise + ~visible).argsort(dim=1)[:, :length]
    available = visible.sum(1, keepdim=True).clamp(min=1)
    order = order.gather(1, torch.arange(length, device=ids.device) % available)
    indices = blocks.byte().argsort(dim=2, stable=True, descending=True)[:, :, : target[0] * target[1]]
    return MultiBlockMask(order.sort(dim=1).values, indices)


def masked_ratios(
    ids: Tensor, low: float, high: float, probability: float, seed: int, epoch: int, view: int = 0
) -> Tensor:
    """Draw the ratio of each sample: uniform in [low, high) with this probability, else 0 (iBOT, DINOv2).

    Returns
    -------
    Tensor
        ``(N,) float32``, for :func:`block_mask`.
    """
    draw, share = uniform(ids, 2, seed, epoch, stream=6 + view).T
    return torch.where(draw < probability, low + share * (high - low), 0.0)


def view_ids(ids: Tensor, num_views: int) -> Tensor:
    """Return an id ``(V N,) int64`` for each of V views of samples ``(N,) int64``, so that their masks differ."""
    return torch.cat([ids * num_views + view for view in range(num_views)])


def random_subset(indices: Tensor, ids: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    """Return ``count`` of the indices ``(N, M)`` of each sample, ascending: the masked patches that CAPI predicts."""
    noise = uniform(ids, indices.shape[1], seed, epoch, stream=_SUBSET)
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


def uniform(ids: Tensor, count: int, seed: int, epoch: int, stream: int = 0) -> Tensor:
    """Return ``count`` numbers for each sample, uniform in [0, 1): ``(N, count) float32``, a function of the arguments alone.

    A counter is mixed by SplitMix64 (Steele, Lea & Flood 2014), in integers: every device gives the same numbers.
    """
    key = torch.tensor([seed, epoch, stream], dtype=torch.int64)
    state = torch.zeros((), dtype=torch.int64)
    for part in key:
        state = splitmix64(state ^ part)
    rows = splitmix64(ids.long() ^ state.to(ids.device))
    bits = splitmix64(rows[:, None] + torch.arange(count, device=ids.device))
    return shift_right(bits, 40).float() * 2.0**-24


_NUM_RECTANGLES = 32  # candidates of a block mask
_NUM_REFERENCES = 256  # draws that fix the length of a context
_SUBSET = -1  # stream; masked_ratios uses 6 and above


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Return ``(N, L) bool``: the ``count`` lowest scores of each row."""
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.argsort(dim=1)[:, :count], True)


def _blocks(
    ids: Tensor, grid: Grid, count: Tensor, seed: int, epoch: int, min_patches: int = 4, min_aspect: float = 0.3
) -> Tensor:
    """Return a union of rectangles of exactly ``count`` ``(N,) int64`` patches, ``(N, L) bool``."""
    rows, columns = grid
    candidates = _NUM_RECTANGLES
    draws = uniform(ids, 4 * candidates, seed, epoch).view(len(ids), candidates, 4).unbind(-1)
    area = min_patches + draws[0] * (count[:, None] - min_patches).clamp(min=0)
    aspect = torch.exp((2 * draws[1] - 1) * math.log(1 / min_aspect))
    heights = (area * aspect).sqrt().round().long().clamp(1, rows)
    widths = (area / aspect).sqrt().round().long().clamp(1, columns)
    covered = _rectangles(grid, heights, widths, draws[2], draws[3])  # (N, candidates, L)
    number = torch.arange(candidates, device=ids.device)[:, None]
    first = torch.where(covered, number, candidates).amin(dim=1)  # the first rectangle that covers a patch
    noise = uniform(ids, rows * columns, seed, epoch, stream=1)
    return (first + noise).argsort(dim=1).argsort(dim=1) < count[:, None]


def _rectangles(grid: Grid, heights: Tensor, widths: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Return which patches rectangles cover, ``(..., L) bool``; ``top`` and ``left`` are uniform in [0, 1)."""
    rows, columns = grid
    row, column = torch.arange(rows, device=top.device), torch.arange(columns, device=top.device)
    first_row = (top * (rows - heights + 1)).long()[..., None]
    first_column = (left * (columns - widths + 1)).long()[..., None]
    in_rows = (row >= first_row) & (row < first_row + heights[..., None])
    in_columns = (column >= first_column) & (column < first_column + widths[..., None])
    return (in_rows[..., :, None] & in_columns[..., None, :]).flatten(-2)


def _multi_blocks(
    ids: Tensor, grid: Grid, seed: int, epoch: int, num_targets: int, target: Grid, context: Grid
) -> tuple[Tensor, Tensor]:
    """Return the target blocks ``(N, T, L) bool`` and the context without them ``(N, L) bool``."""
    top, left = uniform(ids, 2 * (num_targets + 1), seed, epoch, stream=4).view(len(ids), -1, 2).unbind(-1)
    sizes = torch.tensor([target] * num_targets + [context], device=ids.device)
    covered = _rectangles(grid, sizes[:, 0].expand_as(top), sizes[:, 1].expand_as(top), top, left)
    blocks, seen = covered[:, :-1], covered[:, -1]
    return blocks, seen & ~blocks.any(dim=1)


@lru_cache(maxsize=8)
def _multi_block_sizes(
    grid: Grid,
    seed: int,
    epoch: int,
    num_targets: int,
    target_scale: tuple[float, float],
    target_aspect: tuple[float, float],
    context_scale: tuple[float, float],
) -> tuple[Grid, Grid, int]:
    """Return rows and columns of target and context of an epoch, and the number of patches of a context."""
    sizes = uniform(torch.zeros(1, dtype=torch.int64), 3, seed, epoch, stream=3)[0].tolist()
    target = _block_size(grid, _between(target_scale, sizes[0]), math.exp(_between(_logs(target_aspect), sizes[1])))
    context = _block_size(grid, _between(context_scale, sizes[2]), 1.0)
    reference = torch.arange(_NUM_REFERENCES) - _NUM_REFERENCES  # ids that no sample has
    _, visible = _multi_blocks(reference, grid, seed, epoch, num_targets, target, context)
    return target, context, max(1, int(visible.sum(1).min()))


def _block_size(grid: Grid, scale: float, aspect: float) -> Grid:
    """Return rows and columns of a block with this share of the image and this height / width."""
    area = scale * grid[0] * grid[1]
    height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return min(max(height, 1), grid[0]), min(max(width, 1), grid[1])


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + share * (limits[1] - limits[0])


def _logs(limits: tuple[float, float]) -> tuple[float, float]:
    return math.log(limits[0]), math.log(limits[1])
