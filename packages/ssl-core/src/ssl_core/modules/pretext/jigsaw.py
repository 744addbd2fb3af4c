"""Patches of a jigsaw puzzle, cut on the device, and the orders in which they are put.

The places of the patches are a pure function of ``(seed, epoch, sample id)``, as masks are: the number of ranks, the batch size
and the point of resumption do not change them.
"""

import itertools
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_core.modules.random_numbers import Stream, uniform
from ssl_losses.ops.splitmix64 import splitmix64

GRID = 3  # rows and columns of cells
NUM_PATCHES = GRID**2


def jigsaw_patches(
    images: Tensor, ids: Tensor, seed: int, epoch: int, share: float = 64 / 75, size: int | None = None
) -> Tensor:
    """Cut a patch out of each of 3 x 3 cells, at a random place in its cell.

    As Noroozi & Favaro 2016 (https://arxiv.org/abs/1603.09246): the gaps between patches prevent that edges are matched.

    Parameters
    ----------
    images : Tensor
        ``(N, C, H, W)`` float, H and W at least 3.
    ids : Tensor
        Sample ids ``(N,) int64``.
    seed, epoch : int
        Seed of the run, and the epoch.
    share : float
        Edge of a patch over that of its cell, rounded down to pixels; the paper's 64 / 75.
    size : int, optional
        Pixels to which the patches are resized, bilinearly. Default: as they are cut.

    Returns
    -------
    Tensor
        ``(N, 9, C, p, q)``, row by row.
    """
    cells = images.shape[2] // GRID, images.shape[3] // GRID
    edges = [patch_edge(side, share) for side in images.shape[2:]]
    draws = uniform(ids, 2 * NUM_PATCHES, seed, epoch, Stream.PATCH_PLACES).view(len(ids), 2, NUM_PATCHES)
    place = torch.arange(NUM_PATCHES, device=ids.device)
    indices = []
    for axis, cell_number in enumerate((place // GRID, place % GRID)):
        first = cell_number * cells[axis] + (draws[:, axis] * (cells[axis] - edges[axis] + 1)).long()
        indices.append(first[..., None] + torch.arange(edges[axis], device=ids.device))  # (N, 9, p)
    sample = torch.arange(len(ids), device=ids.device)[:, None, None, None]
    patches = images.permute(0, 2, 3, 1)[sample, indices[0][..., :, None], indices[1][..., None, :]]
    patches = patches.permute(0, 1, 4, 2, 3)
    if size is None:
        return patches
    return F.interpolate(patches.flatten(0, 1), size=(size, size), mode="bilinear").unflatten(0, patches.shape[:2])


def patch_edge(side: int, share: float) -> int:
    """Return the edge in pixels of a patch out of a view of ``side`` pixels; ``share`` as in :func:`jigsaw_patches`."""
    return max(1, int(share * (side // GRID)))


def standardised(patches: Tensor) -> Tensor:
    """Return patches ``(N, 9, C, p, q)`` with mean 0 and deviation 1 each: their colours do not tell which are neighbours."""
    deviation, mean = torch.std_mean(patches, dim=(2, 3, 4), keepdim=True, correction=0)
    return (patches - mean) / (deviation + 1e-5)


def random_orders(ids: Tensor, seed: int, epoch: int) -> Tensor:
    """Return an order of the patches for each sample: ``(N, 9) int64``."""
    return uniform(ids, NUM_PATCHES, seed, epoch, Stream.PATCH_ORDER).argsort(dim=1)


def random_choices(ids: Tensor, count: int, seed: int, epoch: int) -> Tensor:
    """Return a number below ``count`` for each sample: ``(N,) int64``."""
    return (uniform(ids, 1, seed, epoch, Stream.PATCH_ORDER)[:, 0] * count).long()


def shuffled(patches: Tensor, orders: Tensor) -> Tensor:
    """Return patches ``(N, 9, ...)`` in the orders ``(N, 9) int64``: place k has patch ``orders[:, k]``."""
    return patches[torch.arange(len(patches), device=patches.device)[:, None], orders]


@lru_cache(maxsize=2)
def distant_permutations(count: int) -> Tensor:
    """Return permutations of the 9 patches with a large mean Hamming distance: ``(count, 9) int64``, a function of ``count``.

    Algorithm 1 of Noroozi & Favaro 2016: begin with one of the 362,880, and add again and again the one with the largest
    mean distance from those that are chosen; of equal ones the first, in an arbitrary fixed order.

    Raises
    ------
    ValueError
        For fewer than 2 or more than 362,880.
    """
    with torch.device("cpu"):  # also where modules are built on the device meta, to check a configuration
        every = torch.tensor(list(itertools.permutations(range(NUM_PATCHES))), dtype=torch.uint8)
        if not 2 <= count <= len(every):
            raise ValueError(f"num_permutations={count}: expected 2 to {len(every)}")
        every = every[splitmix64(torch.arange(len(every))).argsort()]
        # [k][v]: the permutations with patch v at place k, to count without a look at the others
        places = [
            [(column == patch).nonzero()[:, 0] for patch in range(NUM_PATCHES)] for column in every.T.contiguous()
        ]
        ones = torch.ones(len(every) // NUM_PATCHES, dtype=torch.int32)
        agreement = torch.zeros(len(every), dtype=torch.int32)  # places that agree with the chosen ones, in total
        chosen = [0]
        while len(chosen) < count:
            for place, patch in zip(places, every[chosen[-1]].tolist()):
                agreement.index_add_(0, place[patch], ones)
            agreement[chosen[-1]] = torch.iinfo(torch.int32).max // 2  # not again
            chosen.append(int(agreement.argmin()))
        return every[chosen].long()
