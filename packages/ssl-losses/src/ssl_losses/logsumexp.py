r"""Log-sum-exp over the products of rows, in tiles: what contrastive losses ask of a similarity matrix, without the matrix.

.. math:: \ell_i = \log \sum_{k \notin E_i} \exp(\mathrm{scale} \cdot q_i \cdot k_k)

The forward pass keeps a running maximum and sum for each row (an online log-sum-exp), the backward pass computes each tile
again: exact, in memory that grows with the rows and not with their square. :func:`self_logsumexp` uses that the products
of a batch with itself are symmetric, and computes half of the tiles.

Both are operators, so that ``torch.compile`` sees one node each and does not unroll the tiles.
"""

from typing import Any

import torch
from torch import Tensor

from ssl_losses.operators import differentiate, operator, refuse_to_differentiate
from ssl_losses.tiles import blocks, products


def logsumexp(queries: Tensor, keys: Tensor, scale: float, excluded: Tensor) -> Tensor:
    """Return the log-sum-exp of each query's products with the keys.

    Parameters
    ----------
    queries, keys : Tensor
        ``(M, D)`` and ``(K, D)`` of one type, float32 or float64.
    scale : float
        Factor of the products, a temperature's inverse.
    excluded : Tensor
        ``(M, E)`` int64, the keys that a query leaves out; every query keeps at least one.

    Returns
    -------
    Tensor
        ``(M,)``, differentiable once in queries and keys.
    """
    return _forward(queries, keys, excluded, scale)


def self_logsumexp(z: Tensor, scale: float, excluded: Tensor) -> Tensor:
    """Return ``logsumexp(z, z, scale, excluded)`` in about half of the time.

    ``excluded`` must be symmetric: where row i leaves out k, row k leaves out i.
    """
    return _self_forward(z, excluded, scale)


class _Running:
    """The log-sum-exp of rows whose entries arrive tile by tile."""

    def __init__(self, like: Tensor) -> None:
        # the lowest number instead of -inf: where all entries so far are left out, -inf - -inf would be NaN
        self.maximum = like.new_full((len(like),), torch.finfo(like.dtype).min)
        self.sum = like.new_zeros(len(like))

    def add(self, rows: slice, tile: Tensor, dim: int) -> None:
        """Take in a tile's entries along ``dim``, for these rows."""
        maximum = torch.maximum(self.maximum[rows], tile.amax(dim))
        self.sum[rows] *= (self.maximum[rows] - maximum).exp_()
        self.sum[rows] += (tile - maximum.unsqueeze(dim)).exp_().sum(dim)
        self.maximum[rows] = maximum

    def result(self) -> Tensor:
        """Return the log-sum-exp of all rows."""
        return self.maximum + self.sum.log()


@operator(
    "logsumexp(Tensor queries, Tensor keys, Tensor excluded, float scale) -> Tensor",
    fake=lambda queries, keys, excluded, scale: queries.new_empty(queries.shape[0]),
)
def _forward(queries: Tensor, keys: Tensor, excluded: Tensor, scale: float) -> Tensor:
    running = _Running(queries)
    for rows in blocks(queries):
        for columns in blocks(keys):
            running.add(rows, products(queries, keys, rows, columns, excluded, scale), dim=1)
    return running.result()


@operator(
    "logsumexp_backward(Tensor gradient, Tensor result, Tensor queries, Tensor keys, Tensor excluded, float scale, "
    "bool for_queries, bool for_keys) -> (Tensor, Tensor)",
    fake=lambda gradient, result, queries, keys, excluded, scale, for_queries, for_keys: (
        torch.empty_like(queries),
        torch.empty_like(keys),
    ),
)
def _backward(
    gradient: Tensor,
    result: Tensor,
    queries: Tensor,
    keys: Tensor,
    excluded: Tensor,
    scale: float,
    for_queries: bool,
    for_keys: bool,
) -> tuple[Tensor, Tensor]:
    to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
    weight = gradient * scale
    for rows in blocks(queries):
        for columns in blocks(keys):
            tile = products(queries, keys, rows, columns, excluded, scale)
            tile.sub_(result[rows, None]).exp_().mul_(weight[rows, None])
            if for_queries:
                to_queries[rows].addmm_(tile, keys[columns])
            if for_keys:  # a queue, for one, wants none: a third of the work
                to_keys[columns].addmm_(tile.T, queries[rows])
    return to_queries, to_keys


@operator(
    "self_logsumexp(Tensor z, Tensor excluded, float scale) -> Tensor",
    fake=lambda z, excluded, scale: z.new_empty(z.shape[0]),
)
def _self_forward(z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    running = _Running(z)
    for rows in blocks(z):
        for columns in blocks(z, first=rows.start):
            tile = products(z, z, rows, columns, excluded, scale)
            running.add(rows, tile, dim=1)
            if columns != rows:  # the tile on the other side of the diagonal is this one's transpose
                running.add(columns, tile, dim=0)
    return running.result()


@operator(
    "self_logsumexp_backward(Tensor gradient, Tensor result, Tensor z, Tensor excluded, float scale) -> Tensor",
    fake=lambda gradient, result, z, excluded, scale: torch.empty_like(z),
)
def _self_backward(gradient: Tensor, result: Tensor, z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    total = torch.zeros_like(z)
    weight = gradient * scale
    for rows in blocks(z):
        for columns in blocks(z, first=rows.start):
            tile = products(z, z, rows, columns, excluded, scale)
            mirrored = (tile - result[columns]).exp_().mul_(weight[columns]) if columns != rows else None
            tile.sub_(result[rows, None]).exp_().mul_(weight[rows, None])
            if mirrored is not None:
                tile.add_(mirrored)
            total[rows].addmm_(tile, z[columns])
            total[columns].addmm_(tile.T, z[rows])
    return total


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(output, *tensors)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return *_backward(gradient, *ctx.saved_tensors, ctx.scale, *ctx.needs_input_grad[:2]), None, None


def _self_gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _self_backward(gradient, *ctx.saved_tensors, ctx.scale), None, None


differentiate("logsumexp", _gradients, _keep)
differentiate("self_logsumexp", _self_gradients, _keep)
refuse_to_differentiate("logsumexp_backward")
refuse_to_differentiate("self_logsumexp_backward")
