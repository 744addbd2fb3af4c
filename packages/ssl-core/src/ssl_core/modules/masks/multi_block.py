"""Multi-block masks of I-JEPA: target blocks, and a context without them.

The masks are drawn on the device and are a pure function of ``(seed, epoch, sample id)``, as those of
:mod:`ssl_core.modules.masks.patch_masks`.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from ssl_core.modules.masks.patch_masks import Grid, rectangles
from ssl_core.modules.random_numbers import Stream, uniform

_NUM_REFERENCES = 256  # draws that fix the length of a context


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
        As in :func:`~ssl_core.modules.masks.patch_masks.random_mask`.
    num_targets : int
        T, number of target blocks in an image. They may overlap.
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
    noise = uniform(ids, rows * columns, seed, epoch, Stream.CONTEXT_CUT)
    order = (noise + ~visible).argsort(dim=1)[:, :length]
    available = visible.sum(1, keepdim=True).clamp(min=1)
    order = order.gather(1, torch.arange(length, device=ids.device) % available)
    indices = blocks.byte().argsort(dim=2, stable=True, descending=True)[:, :, : target[0] * target[1]]
    return MultiBlockMask(order.sort(dim=1).values, indices)


def _multi_blocks(
    ids: Tensor, grid: Grid, seed: int, epoch: int, num_targets: int, target: Grid, context: Grid
) -> tuple[Tensor, Tensor]:
    """Return the target blocks ``(N, T, L) bool`` and the context without them ``(N, L) bool``."""
    top, left = uniform(ids, 2 * (num_targets + 1), seed, epoch, Stream.BLOCK_PLACES).view(len(ids), -1, 2).unbind(-1)
    sizes = torch.tensor([target] * num_targets + [context], device=ids.device)
    covered = rectangles(grid, sizes[:, 0].expand_as(top), sizes[:, 1].expand_as(top), top, left)
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
    sizes = uniform(torch.zeros(1, dtype=torch.int64), 3, seed, epoch, Stream.BLOCK_SIZES)[0].tolist()
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
