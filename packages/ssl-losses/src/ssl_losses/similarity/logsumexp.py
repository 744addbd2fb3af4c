r"""Log-sum-exp over the products of rows, in tiles: the sums of contrastive losses without the similarity matrix.

.. math:: \ell_i = \log \sum_{k \notin E_i} \exp(\mathrm{scale} \cdot q_i \cdot k_k)

The forward pass keeps a sum for each row, the backward pass computes each tile again: exact, in memory that grows with the
rows and not with their square. :func:`self_logsumexp` uses that the products of a batch with itself are symmetric, and
computes half of the tiles; :func:`two_way_logsumexp` reads each tile both by rows and by columns.

Where all exponents are known to be small (the rows are short, the temperature moderate) the exponentials are summed as they
are, and one serves both directions. Elsewhere each sum has a maximum that grows with the tiles (an online log-sum-exp).

All are operators, so that ``torch.compile`` sees one node each and does not unroll the tiles.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ssl_losses.similarity.operators import differentiate, operator, refuse_to_differentiate
from ssl_losses.similarity.tiles import blocks, no_keys, products

LOG2_E = 1 / math.log(2)  # exp(x) is exp2(x / log 2), and torch's exp2 takes a third of exp's time on the CPU

# bits of the largest power, and of the smallest, that may be summed as it is: what remains to the ends of the type is room
# for the number of summands and for the gradient divided by their sum
MOST_BITS = {torch.float32: 60.0, torch.float64: 500.0}


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
    return _forward(queries, keys, no_keys(queries) if excluded is None else excluded, scale)


def self_logsumexp(z: Tensor, scale: float, excluded: Tensor) -> Tensor:
    """Return ``logsumexp(z, z, scale, excluded)`` in half of the time.

    ``excluded`` must be symmetric: where row i leaves out k, row k leaves out i.
    """
    return _self_forward(z, excluded, scale)


def two_way_logsumexp(a: Tensor, b: Tensor, scale: float, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``logsumexp(a, b, scale, excluded)`` and the same of b with a, ``(M,)`` and ``(K,)``, in half of the time.

    A row of b leaves out the rows of a that leave it out.
    """
    return _two_way_forward(a, b, excluded, scale)


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
    """Return whether no product has more bits than ``MOST_BITS``; asked on the CPU only, where an answer costs no wait."""
    if queries.device.type != "cpu" or not len(queries) or not len(keys):
        return False
    longest = torch.linalg.vector_norm(queries, dim=1).max() * torch.linalg.vector_norm(keys, dim=1).max()
    return bool(longest * (scale * LOG2_E) <= MOST_BITS[queries.dtype])


def _pairs(queries: Tensor, keys: Tensor, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Return rows and columns of all tiles, of a symmetric matrix those on its diagonal and above."""
    return ((rows, columns) for rows in blocks(queries) for columns in blocks(keys, rows.start if symmetric else 0))


def _sum_up(
    queries: Tensor, keys: Tensor, excluded: Tensor, scale: float, two_way: bool = False, symmetric: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of the queries and, where it is asked for both ways, of the keys.

    Of a symmetric matrix half of the tiles are enough, and the two results are one.
    """
    small = _all_small(queries, keys, scale)
    sums = _Sums if small else _RunningSums
    of_queries = sums(queries)
    of_keys = of_queries if symmetric else sums(keys)
    for rows, columns in _pairs(queries, keys, symmetric):
        if small:
            tile = products(queries, keys, rows, columns, excluded, scale * LOG2_E).exp2_()
        else:
            tile = products(queries, keys, rows, columns, excluded, scale)
        of_queries.add(rows, tile, dim=1)
        if two_way and not (symmetric and rows == columns):
            of_keys.add(columns, tile, dim=0)
    return of_queries.result(), of_keys.result()


def _go_back(
    queries: Tensor,
    keys: Tensor,
    excluded: Tensor,
    scale: float,
    of_queries: tuple[Tensor, Tensor],
    of_keys: tuple[Tensor, Tensor] | None = None,
    to: tuple[bool, bool] = (True, True),
    symmetric: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the gradients of queries and keys, given result and gradient of the log-sum-exp of each.

    ``to`` says which are wanted: a queue, for one, wants none, which is a third of the work. Of a symmetric matrix the two
    gradients are one.
    """
    small = _all_small(queries, keys, scale)
    to_queries = torch.zeros_like(queries)
    to_keys = to_queries if symmetric else torch.zeros_like(keys)
    sides = [(result, gradient * scale) for result, gradient in (of_queries, of_keys or of_queries)]
    if small:
        sides = [(result, weight / result.exp()) for result, weight in sides]
    (row_result, row_weight), (column_result, column_weight) = sides
    for rows, columns in _pairs(queries, keys, symmetric):
        if small:
            tile = products(queries, keys, rows, columns, excluded, scale * LOG2_E).exp2_()
            factor = row_weight[rows, None]
            tile.mul_(factor + column_weight[columns] if of_keys else factor)
        else:
            tile = products(queries, keys, rows, columns, excluded, scale)
            over_rows = (tile - column_result[columns]).exp_().mul_(column_weight[columns]) if of_keys else None
            tile.sub_(row_result[rows, None]).exp_().mul_(row_weight[rows, None])
            if over_rows is not None:
                tile.add_(over_rows)
        if to[0]:
            to_queries[rows].addmm_(tile, keys[columns])
        if to[1] and not (symmetric and rows == columns):
            to_keys[columns].addmm_(tile.T, queries[rows])
    return to_queries, to_keys


@operator(
    "logsumexp(Tensor queries, Tensor keys, Tensor excluded, float scale) -> Tensor",
    fake=lambda queries, keys, excluded, scale: queries.new_empty(queries.shape[0]),
)
def _forward(queries: Tensor, keys: Tensor, excluded: Tensor, scale: float) -> Tensor:
    return _sum_up(queries, keys, excluded, scale)[0]


@operator(
    "self_logsumexp(Tensor z, Tensor excluded, float scale) -> Tensor",
    fake=lambda z, excluded, scale: z.new_empty(z.shape[0]),
)
def _self_forward(z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    return _sum_up(z, z, excluded, scale, two_way=True, symmetric=True)[0]


@operator(
    "two_way_logsumexp(Tensor a, Tensor b, Tensor excluded, float scale) -> (Tensor, Tensor)",
    fake=lambda a, b, excluded, scale: (a.new_empty(a.shape[0]), b.new_empty(b.shape[0])),
)
def _two_way_forward(a: Tensor, b: Tensor, excluded: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    return _sum_up(a, b, excluded, scale, two_way=True)


@operator(
    "logsumexp_backward(Tensor gradient, Tensor result, Tensor queries, Tensor keys, Tensor excluded, float scale, "
    "bool for_queries, bool for_keys) -> (Tensor, Tensor)",
    fake=lambda gradient, result, queries, keys, *rest: (torch.empty_like(queries), torch.empty_like(keys)),
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
    return _go_back(queries, keys, excluded, scale, (result, gradient), to=(for_queries, for_keys))


@operator(
    "self_logsumexp_backward(Tensor gradient, Tensor result, Tensor z, Tensor excluded, float scale) -> Tensor",
    fake=lambda gradient, result, z, excluded, scale: torch.empty_like(z),
)
def _self_backward(gradient: Tensor, result: Tensor, z: Tensor, excluded: Tensor, scale: float) -> Tensor:
    return _go_back(z, z, excluded, scale, (result, gradient), (result, gradient), symmetric=True)[0]


@operator(
    "two_way_logsumexp_backward(Tensor to_a, Tensor to_b, Tensor of_a, Tensor of_b, Tensor a, Tensor b, "
    "Tensor excluded, float scale) -> (Tensor, Tensor)",
    fake=lambda to_a, to_b, of_a, of_b, a, b, excluded, scale: (torch.empty_like(a), torch.empty_like(b)),
)
def _two_way_backward(
    to_a: Tensor, to_b: Tensor, of_a: Tensor, of_b: Tensor, a: Tensor, b: Tensor, excluded: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    return _go_back(a, b, excluded, scale, (of_a, to_a), (of_b, to_b))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    *tensors, ctx.scale = inputs
    ctx.save_for_backward(*(output if isinstance(output, tuple) else (output,)), *tensors)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return *_backward(gradient, *ctx.saved_tensors, ctx.scale, *ctx.needs_input_grad[:2]), None, None


def _self_gradients(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    return _self_backward(gradient, *ctx.saved_tensors, ctx.scale), None, None


def _two_way_gradients(ctx: Any, to_a: Tensor, to_b: Tensor) -> tuple[Any, ...]:
    return *_two_way_backward(to_a, to_b, *ctx.saved_tensors, ctx.scale), None, None


differentiate("logsumexp", _gradients, _keep)
differentiate("self_logsumexp", _self_gradients, _keep)
differentiate("two_way_logsumexp", _two_way_gradients, _keep)
for _name in ("logsumexp_backward", "self_logsumexp_backward", "two_way_logsumexp_backward"):
    refuse_to_differentiate(_name)
