r"""Log-sum-exp over the products of rows, in tiles: what contrastive losses ask of a similarity matrix, without the matrix.

.. math:: \ell_i = \log \sum_{k \notin E_i} \exp(\mathrm{scale} \cdot q_i \cdot k_k)

The forward pass keeps a running maximum and sum for each row (an online log-sum-exp), the backward pass computes each tile
again: exact, in memory that grows with the rows and not with their square. :func:`self_logsumexp` uses that the products
of a batch with itself are symmetric, and computes half of the tiles.

Both are custom operators, so that ``torch.compile`` sees one node each and does not unroll the tiles.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

# rows of a tile by device: 1 MiB of float32 stays in a core's cache; a GPU wants larger matrices, 64 MiB
TILE_ROWS = {"cpu": 512, "other": 4096}


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


def _blocks(z: Tensor, first: int = 0) -> Iterator[slice]:
    """Return the slices of the rows of ``z``, one tile long each."""
    size = TILE_ROWS.get(z.device.type, TILE_ROWS["other"])
    return (slice(start, min(start + size, len(z))) for start in range(first, len(z), size))


def _products(queries: Tensor, keys: Tensor, rows: slice, columns: slice, excluded: Tensor, scale: float) -> Tensor:
    """Return one tile of scaled products, ``-inf`` where a row leaves the column out."""
    tile = (queries[rows] * scale) @ keys[columns].T
    for column in excluded[rows].unbind(1):
        # a column outside of the tile writes back what it has read: no branch, so that nothing waits for a GPU
        inside = (column >= columns.start) & (column < columns.stop)
        index = (column - columns.start).clamp(0, tile.shape[1] - 1).unsqueeze(1)
        tile.scatter_(1, index, tile.gather(1, index).masked_fill(inside.unsqueeze(1), -torch.inf))
    return tile


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


@custom_op("ssl_losses::logsumexp", mutates_args=())
def _forward(queries: Tensor, keys: Tensor, excluded: Tensor, scale: float) -> Tensor:
    running = _Running(queries)
    for rows in _blocks(queries):
        for columns in _blocks(keys):
            running.add(rows, _products(queries, keys, rows, columns, excluded, scale), dim=1)
    return running.result()


@custom_op("ssl_losses::logsumexp_backward", mutates_args=())
def _backward(
    gradient: Tensor, result: Tensor, queries: Tensor, keys: Tensor, excluded: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    to_queries, to_keys = torch.zeros_like(queries), torch.zeros_like(keys)
    weight = gradient * scale
    for rows in _blocks(queries):
        for columns in _blocks(keys):
            tile = _products(queries, keys, rows, columns, excluded, scale)
            tile.sub_(result[rows, None]).exp_().mul_(weight[rows, None])
            to_queries[rows].addmm_(tile, keys[columns])
            to_keys[columns].addmm_(tile.T, queries[rows])
    return to_queries, to_keys


@custom_op("ssl_losses::self_logsumexp", mutates_args=())
def _self_forward(z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    running = _Running(z)
    for rows in _blocks(z):
        for columns in _blocks(z, first=rows.start):
            tile = _products(z, z, rows, columns, excluded, scale)
            running.add(rows, tile, dim=1)
            if columns != rows:  # the tile on the other side of the diagonal is this one's transpose
                running.add(columns, tile, dim=0)
    return running.result()


@custom_op("ssl_losses::self_logsumexp_backward", mutates_args=())
def _self_backward(gradient: Tensor, result: Tensor, z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    total = torch.zeros_like(z)
    weight = gradient * scale
    for rows in _blocks(z):
        for columns in _blocks(z, first=rows.start):
            tile = _products(z, z, rows, columns, excluded, scale)
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
    return *_backward(gradient, *ctx.saved_tensors, ctx.scale), None, None


def _self_gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _self_backward(gradient, *ctx.saved_tensors, ctx.scale), None, None


# what each operator returns, by shape and type, for torch.compile
_forward.register_fake(lambda queries, keys, excluded, scale: queries.new_empty(queries.shape[0]))
_self_forward.register_fake(lambda z, excluded, scale: z.new_empty(z.shape[0]))
_backward.register_fake(
    lambda gradient, result, queries, keys, excluded, scale: (torch.empty_like(queries), torch.empty_like(keys))
)
_self_backward.register_fake(lambda gradient, result, z, excluded, scale: torch.empty_like(z))
_forward.register_autograd(_gradients, setup_context=_keep)
_self_forward.register_autograd(_self_gradients, setup_context=_keep)
