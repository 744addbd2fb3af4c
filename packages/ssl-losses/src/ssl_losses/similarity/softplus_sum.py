r"""Sums of softplus over the products of rows, in tiles: the sums of a sigmoid loss without its similarity matrix.

.. math:: \ell_i = \sum_{k \notin E_i} \log(1 + \exp(q_i \cdot k_k))

The backward pass computes each tile again: exact, in memory that grows with the rows and not with their square. Written by hand
because torch has no such reduction without the matrix.
"""

from typing import Any

import torch
from torch import Tensor

from ssl_losses.ops.softplus import softplus
from ssl_losses.similarity.operators import differentiate, not_differentiable, operator
from ssl_losses.similarity.tiles import blocks, products


def softplus_sum(queries: Tensor, keys: Tensor, excluded: Tensor) -> Tensor:
    """Return the sum of softplus over each query's products with the keys.

    Parameters
    ----------
    queries, keys : Tensor
        ``(M, D)`` and ``(K, D)`` of one type, float32 or float64.
    excluded : Tensor
        ``(M, E)`` int64, the keys that a query leaves out.

    Returns
    -------
    Tensor
        ``(M,)``, differentiable once in queries and keys.
    """
    return _forward(queries, keys, excluded)


@operator(
    "softplus_sum(Tensor queries, Tensor keys, Tensor excluded) -> Tensor",
    fake=lambda queries, keys, excluded: queries.new_empty(queries.shape[0]),
)
def _forward(queries: Tensor, keys: Tensor, excluded: Tensor) -> Tensor:
    total = queries.new_zeros(len(queries))
    for rows in blocks(queries):
        for columns in blocks(keys):
            tile = products(queries, keys, rows, columns, excluded, 1.0)
            total[rows] += softplus(tile).sum(1)
    return total


@operator(
    "softplus_sum_backward(Tensor gradient, Tensor queries, Tensor keys, Tensor excluded) -> (Tensor, Tensor)",
    fake=lambda gradient, queries, keys, excluded: (torch.empty_like(queries), torch.empty_like(keys)),
)
def _backward(gradient: Tensor, queries: Tensor, keys: Tensor, excluded: Tensor) -> tuple[Tensor, Tensor]:
    to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
    for rows in blocks(queries):
        for columns in blocks(keys):
            tile = products(queries, keys, rows, columns, excluded, 1.0).sigmoid_().mul_(gradient[rows, None])
            to_queries[rows].addmm_(tile, keys[columns])
            to_keys[columns].addmm_(tile.T, queries[rows])
    return to_queries, to_keys


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return *_backward(gradient, *ctx.saved_tensors), None


differentiate("softplus_sum", _gradients, _keep)
not_differentiable("softplus_sum_backward")
