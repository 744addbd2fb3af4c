"""Nearest-neighbour search in tiles, with memory linear in the number of rows.

Written by hand because ``torch.cdist`` and ``topk`` need the whole matrix, and faiss would be a dependency.
"""

import torch
from torch import Tensor

from ssl_losses.similarity.operators import operator
from ssl_losses.similarity.tiles import blocks, no_keys, products

# keys of a tile by device: with the rows of a tile 2 MiB of float32 on the CPU, 64 MiB on a GPU
MAX_COLUMNS = {"cpu": 1024, "other": 4096}


def nearest(queries: Tensor, keys: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Return for each query the index of the key with the largest product, of equal ones the first.

    Parameters
    ----------
    queries, keys : Tensor
        ``(M, D)`` and ``(K, D)`` of one type, float32 or float64; K > 0.
    excluded : Tensor, optional
        ``(M, E)`` int64, the keys that a query leaves out; every query keeps at least one.

    Returns
    -------
    Tensor
        ``(M,)`` int64.
    """
    return _nearest(queries.detach(), keys.detach(), no_keys(queries) if excluded is None else excluded)


def neighbours(queries: Tensor, keys: Tensor) -> Tensor:
    """Return for each query ``(M, D)`` the row of ``keys`` ``(K, D)`` with the largest product, ``(M, D)``; K > 0."""
    return keys[nearest(queries, keys)]


@operator(
    "nearest(Tensor queries, Tensor keys, Tensor excluded) -> Tensor",
    fake=lambda queries, keys, excluded: queries.new_empty(queries.shape[0], dtype=torch.int64),
)
def _nearest(queries: Tensor, keys: Tensor, excluded: Tensor) -> Tensor:
    index = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    size = MAX_COLUMNS.get(queries.device.type, MAX_COLUMNS["other"])
    if len(keys) <= size:
        for rows in blocks(queries):
            index[rows] = products(queries, keys, rows, slice(0, len(keys)), excluded, 1.0).argmax(1)
        return index
    largest = queries.new_full((len(queries),), -torch.inf)
    for rows in blocks(queries):
        for columns in blocks(keys, size=size):
            tile = products(queries, keys, rows, columns, excluded, 1.0)
            column = tile.argmax(1)  # faster than max(1), which returns both
            value = tile.gather(1, column.unsqueeze(1)).squeeze(1)
            better = value > largest[rows]
            index[rows] = torch.where(better, column + columns.start, index[rows])
            largest[rows] = torch.maximum(value, largest[rows])
    return index
