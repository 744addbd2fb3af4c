r"""Log-sum-exp over the products of rows, in tiles: the sums of contrastive losses without the similarity matrix.

.. math:: \ell_i = \log \sum_{k \notin E_i} \exp(\mathrm{scale} \cdot q_i \cdot k_k)

The forward pass keeps a sum for each row, the backward pass computes each tile again: exact, in memory that grows with the
rows and not with their square. :func:`self_logsumexp` uses that the products of a batch with itself are symmetric, and
computes half of the tiles; :func:`two_way_logsumexp` reads each tile both by rows and by columns.

Where all exponents are known to be small (the rows are short, the temperature moderate) the exponentials are summed as they
are, and one serves both directions. Elsewhere each sum has a maximum that grows with the tiles (an online log-sum-exp).

Written by hand because torch has no log-sum-exp of products without the matrix that can be trained on a CPU: FlexAttention
returns it on other devices only.

All three are one operator, so that ``torch.compile`` sees a single node and does not unroll the tiles.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ssl_losses.similarity.operators import differentiate, not_differentiable, operator
from ssl_losses.similarity.tiles import blocks, no_keys, products

LOG2_E = 1 / math.log(2)  # exp(x) is exp2(x / log 2), and torch's exp2 takes a third of exp's time on the CPU

# bits of the largest power, and of the smallest, that may be summed as it is: what remains to the ends of the type is room
# for the number of summands and for the gradient divided by their sum
MAX_BITS = {torch.float32: 60.0, torch.float64: 500.0}


def logsumexp(queries: Tensor, keys: Tensor, scale: float, excluded: Tensor | None = None) -> Tensor:
    """Return the log-sum-exp of each query's products with the keys.

    Parameters
    ----------
    queries, keys : Tensor
        ``(M, D)`` and ``(K, D)`` of one type, float32 or float64.
    scale : float
        Factor of the products, a temperature's inverse.
    excluded : Tensor, optional
        ``(M, E)`` int64, the keys that a query leaves out; every query keeps at least one.

    Returns
    -------
    Tensor
        ``(M,)``, differentiable once in queries and keys.
    """
    return _sum_up(queries, keys, no_keys(queries) if excluded is None else excluded, scale, False, False)[0]


def self_logsumexp(z: Tensor, scale: float, excluded: Tensor) -> Tensor:
    """Return ``logsumexp(z, z, scale, excluded)`` in half of the time.

    ``excluded`` must be symmetric: where row i leaves out k, row k leaves out i.
    """
    return _sum_up(z, z, excluded, scale, True, True)[0]


def two_way_logsumexp(a: Tensor, b: Tensor, scale: float, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``logsumexp(a, b, scale, excluded)`` and the same of b with a, ``(M,)`` and ``(K,)``, in half of the time.

    A row of b leaves out the rows of a that leave it out.
    """
    return _sum_up(a, b, excluded, scale, True, False)


class _Sums:
    """The log-sum-exp of rows whose powers arrive tile by tile, none of them too large or too small to be summed."""

    def __init__(self, like: Tensor) -> None:
        self.sum = like.new_zeros(len(like))

    def add(self, rows: slice, powers: Tensor, dim: int) -> None:
        """Take in a tile's entries along ``dim``, for these rows."""
        self.sum[rows] += powers.sum(dim)

    def result(self) -> Tensor:
        """Return the log-sum-exp of all rows."""
        return self.sum.log()


class _RunningSums(_Sums):
    """The log-sum-exp of rows whose exponents arrive tile by tile: each row has the maximum so far as its unit."""

    def __init__(self, like: Tensor) -> None:
        super().__init__(like)
        # the lowest number instead of -inf: where all entries so far are left out, -inf - -inf would be NaN
        self.maximum = like.new_full((len(like),), torch.finfo(like.dtype).min)

    def add(self, rows: slice, exponents: Tensor, dim: int) -> None:
        """Take in a tile's entries along ``dim``, for these rows."""
        maximum = torch.maximum(self.maximum[rows], exponents.amax(dim))
        self.sum[rows] *= (self.maximum[rows] - maximum).exp_()
        self.sum[rows] += (exponents - maximum.unsqueeze(dim)).exp_().sum(dim)
        self.maximum[rows] = maximum

    def result(self) -> Tensor:
        """Return the log-sum-exp of all rows."""
        return self.maximum + self.sum.log()


def _all_small(queries: Tensor, keys: Tensor, scale: float) -> bool:
    """Return whether no product has more bits than ``MAX_BITS``; asked on the CPU only, where an answer costs no wait."""
    if queries.device.type != "cpu" or not len(queries) or not len(keys):
        return False
    longest = torch.linalg.vector_norm(queries, dim=1).max() * torch.linalg.vector_norm(keys, dim=1).max()
    return bool(longest * (scale * LOG2_E) <= MAX_BITS[queries.dtype])


def _pairs(queries: Tensor, keys: Tensor, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Return rows and columns of all tiles, of a symmetric matrix those on its diagonal and above."""
    return ((rows, columns) for rows in blocks(queries) for columns in blocks(keys, rows.start if symmetric else 0))


def _exponents(queries: Tensor, keys: Tensor, rows: slice, columns: slice, excluded: Tensor, scale: float) -> Tensor:
    """Return one tile of exponents, scaled after the product.

    Rows that are scaled before it give gradients with four times the error at a temperature of 0.001. Small exponents have
    no digits to lose, and skip this pass.
    """
    tile = products(queries, keys, rows, columns, excluded, 1.0)
    return tile if scale == 1 else tile.mul_(scale)


@operator(
    "logsumexp(Tensor queries, Tensor keys, Tensor excluded, float scale, bool two_way, bool symmetric) -> (Tensor, Tensor)",
    fake=lambda queries, keys, excluded, scale, two_way, symmetric: (
        queries.new_empty(queries.shape[0]),
        keys.new_empty(keys.shape[0] if two_way and not symmetric else 0),
    ),
)
def _sum_up(
    queries: Tensor, keys: Tensor, excluded: Tensor, scale: float, two_way: bool, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of the queries and, if ``two_way``, of the keys.

    Of a symmetric matrix half of the tiles are enough; the two results are the same, and the second is left out.
    """
    small = _all_small(queries, keys, scale)
    sums = _Sums if small else _RunningSums
    of_queries = sums(queries)
    of_keys = of_queries if symmetric else sums(keys)
    for rows, columns in _pairs(queries, keys, symmetric):
        if small:
            tile = products(queries, keys, rows, columns, excluded, scale * LOG2_E).exp2_()
        else:
            tile = _exponents(queries, keys, rows, columns, excluded, scale)
        of_queries.add(rows, tile, dim=1)
        if two_way and not (symmetric and rows == columns):
            of_keys.add(columns, tile, dim=0)
    return of_queries.result(), of_keys.result() if two_way and not symmetric else queries.new_empty(0)


@operator(
    "logsumexp_backward(Tensor of_queries, Tensor to_queries, Tensor of_keys, Tensor to_keys, Tensor queries, Tensor keys, "
    "Tensor excluded, float scale, bool two_way, bool symmetric, bool for_queries, bool for_keys) -> (Tensor, Tensor)",
    fake=lambda *arguments: (
        torch.empty_like(arguments[4]),
        arguments[5].new_empty(0 if arguments[9] else arguments[5].shape),
    ),
)
def _go_back(
    result: Tensor,
    gradient: Tensor,
    key_result: Tensor,
    key_gradient: Tensor,
    queries: Tensor,
    keys: Tensor,
    excluded: Tensor,
    scale: float,
    two_way: bool,
    symmetric: bool,
    for_queries: bool,
    for_keys: bool,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of queries and keys, given result and gradient of the log-sum-exp of each.

    The last two say which are needed: a queue, for one, needs none, which saves a third of the work. Of a symmetric matrix
    the two gradients are one, and the second is left out.
    """
    small = _all_small(queries, keys, scale)
    to_queries = torch.zeros_like(queries)
    to_keys = to_queries if symmetric else torch.zeros_like(keys)
    sides = [(result, gradient * scale)]
    sides.append((key_result, key_gradient * scale) if two_way and not symmetric else sides[0])
    if small:
        sides = [(result, weight / result.exp()) for result, weight in sides]
    (row_result, row_weight), (column_result, column_weight) = sides
    for rows, columns in _pairs(queries, keys, symmetric):
        if small:
            tile = products(queries, keys, rows, columns, excluded, scale * LOG2_E).exp2_()
            factor = row_weight[rows, None]
            tile.mul_(factor + column_weight[columns] if two_way else factor)
        else:
            tile = _exponents(queries, keys, rows, columns, excluded, scale)
            over_rows = (tile - column_result[columns]).exp_().mul_(column_weight[columns]) if two_way else None
            tile.sub_(row_result[rows, None]).exp_().mul_(row_weight[rows, None])
            if over_rows is not None:
                tile.add_(over_rows)
        if for_queries:
            to_queries[rows].addmm_(tile, keys[columns])
        if for_keys and not (symmetric and rows == columns):
            to_keys[columns].addmm_(tile.T, queries[rows])
    return to_queries, queries.new_empty(0) if symmetric else to_keys


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    *tensors, ctx.scale, ctx.two_way, ctx.symmetric = inputs
    ctx.save_for_backward(*output, *tensors)


def _gradients(ctx: Any, to_queries: Tensor, to_keys: Tensor) -> tuple[Tensor | None, ...]:
    of_queries, of_keys, *tensors = ctx.saved_tensors
    options = ctx.scale, ctx.two_way, ctx.symmetric, *ctx.needs_input_grad[:2]
    gradients = _go_back(of_queries, to_queries, of_keys, to_keys, *tensors, *options)
    return gradients[0], None if ctx.symmetric else gradients[1], None, None, None, None


differentiate("logsumexp", _gradients, _keep)
not_differentiable("logsumexp_backward")
