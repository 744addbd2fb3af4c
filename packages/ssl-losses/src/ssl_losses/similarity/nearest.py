"""Nearest-neighbour search in tiles, with memory linear in the number of rows.

Written by hand because ``torch.cdist`` and ``topk`` need the whole matrix, and faiss would be a dependency.
"""

import torch
from torch import Tensor

from ssl_losses.similarity.operators import operator
from ssl_losses.similarity.tiles import blocks, no_keys, products

MAX_COLUMNS = 4096  # keys of a tile: a row is searched in as few parts as memory allows


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
    if len(keys) <= MAX_COLUMNS:
        for rows in blocks(queries):
            index[rows] = products(queries, keys, rows, slice(0, len(keys)), excluded, 1.0).argmax(1)
        return index
    largest = queries.new_full((len(queries),), -torch.inf)
    for rows in blocks(queries):
        for columns in blocks(keys, size=MAX_COLUMNS):
            value, column = products(queries, keys, rows, columns, excluded, 1.0).max(1)
            better = value > largest[rows]
            index[rows] = torch.where(better, column + columns.start, index[rows])
            largest[rows] = torch.maximum(value, largest[rows])
    return index
