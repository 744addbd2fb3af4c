"""Prefilter of the nearest-neighbour search: coarse products with error bounds, which never lose a neighbour."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.probes.vectors import Vectors

GROUP = 32  # columns of which only the maximum is compared at first


@dataclass
class Queries:
    """Rounded queries and their rounding errors."""

    rows: Tensor  # (Q, D + parts): less the centre, and ones for the parts of the bias
    length: Tensor  # (Q,) of the rows less the centre
    error: Tensor  # (Q,) length of the rounding error

    def part(self, tile: slice) -> "Queries":
        """Return some of them."""
        return Queries(self.rows[tile], self.length[tile], self.error[tile])


@dataclass
class Pairs:
    """The pairs that pass the filter."""

    rows: Tensor  # (n,) int64, ascending: queries
    columns: Tensor  # (n,) int64, ascending within a row: references
    best: Tensor  # (Q, k) the highest coarse similarities so far, or lower bounds of them
    crowded: Tensor  # (Q,) bool: queries with too many pairs, whose pairs are not included


class Prefilter:
    r"""Selects the pairs that can be among the k nearest references of a query, and few others.

    With a centre c taken from a query, q, and from a reference, r, their similarity is :math:`q \cdot r + b_r` up to a
    number that depends on the query alone: :math:`b_r = c \cdot r` for the cosine of rows of length one,
    :math:`b_r = -|r|^2 / 2` for ``-distance² / 2``. Processors that multiply bfloat16 take less than half the time for
    it, and what the products are wrong by is bounded: with :math:`\tilde q, \tilde r` for the rounded rows,

    .. math:: |q \cdot r - \tilde q \cdot \tilde r| \le |q - \tilde q| |r| + |\tilde q| |r - \tilde r|

    by Cauchy and Schwarz, all lengths measured; sums in float32 and the rounding of the result add their worst case. No
    reference that lies further below the k-th highest coarse similarity than twice the bound is one of the k nearest.
    The centre alters no order, but keeps rows short, and the bound tight, where features have a large mean in common.

    Parameters
    ----------
    center : Tensor
        ``(D,)``, on the processor: anything near the mean of the references.
    metric : {"cosine", "euclidean"}
        For the cosine, rows have length one, or zero.
    k : int
        Neighbours.
    dtype : torch.dtype, optional
        dtype of the products, bfloat16 or float32; by default bfloat16 where the processor has it.
    """

    def __init__(self, center: Tensor, metric: str, k: int, dtype: torch.dtype | None = None) -> None:
        # If the user allows float32 products of lower precision, bfloat16 is taken: its error is bounded.
        in_full = torch.get_float32_matmul_precision() == "highest" and not has_bf16()
        self.dtype = dtype or (torch.float32 if in_full else torch.bfloat16)
        self.parts = 1 if self.dtype == torch.float32 else 3  # of the bias: 3 times 8 bits are the 24 of a float32
        self.center, self.metric, self.k = center, metric, k
        self.length = self.error = self.bias = 0.0  # the largest of all references so far

    def queries(self, vectors: Vectors) -> Queries:
        """Round queries ``(Q, D)``."""
        rounded, length, error, _ = self._round(vectors, len(vectors))
        rounded[:, -self.parts :] = 1
        return Queries(rounded, length, error)

    def references(self, vectors: Vectors) -> Tensor:
        """Round references ``(R, D)``; they are padded to a multiple of 32 with rows that never pass."""
        num_rows = len(vectors)
        rounded, length, error, bias = self._round(vectors, -(-num_rows // GROUP) * GROUP)
        self.bias = max(self.bias, float(bias.abs().max()))
        self.length, self.error = max(self.length, float(length.max())), max(self.error, float(error.max()))
        rounded[num_rows:] = 0
        rounded[num_rows:, -1] = -torch.inf
        for part in range(-self.parts, 0):
            rounded[:num_rows, part] = bias
            bias = bias - rounded[:num_rows, part].to(bias.dtype)
        return rounded

    def pairs(self, queries: Queries, references: Tensor, best: Tensor, most: int) -> Pairs:
        """Return the pairs that can be among the k nearest.

        Parameters
        ----------
        queries, references
            Rounded by this prefilter: Q and R.
        best : Tensor
            ``(Q, k)``, of the references before these; minus infinity at first.
        most : int
            Pairs of one query; a query with more is marked as crowded.
        """
        # References in rows and not in columns: the search takes 10 to 15 % less time with MKL (runs/bench/RESULTS.rst).
        products = references @ queries.rows.T
        group = GROUP
        while group > 1 and len(references) < 4 * self.k * group:
            group //= 2
        # First the maxima of groups whose members are R / 32 references apart: many times faster than groups of adjacent ones,
        # or topk.
        members = products.view(group, -1, products.shape[1])
        highest = members.amax(0)  # (R / group, Q)
        best = torch.cat([best, highest.T.to(best.dtype)], 1).topk(self.k).values
        bound = self._bound(queries, best[:, -1])
        crowded = torch.isnan(bound)  # something overflowed
        bound = bound.to(self.dtype)
        through = highest >= bound
        crowded |= through.sum(0) > most
        number, query = (through & ~crowded).nonzero(as_tuple=True)
        member, chosen = (members[:, number, query] >= bound[query]).nonzero(as_tuple=True)
        pair = (query[chosen] * len(references) + member * members.shape[1] + number[chosen]).sort().values
        query, column = pair // len(references), pair % len(references)
        too_many = torch.bincount(query, minlength=len(crowded)) > most
        kept = ~too_many[query]
        return Pairs(query[kept], column[kept], best, crowded | too_many)

    def _bound(self, queries: Queries, kth: Tensor) -> Tensor:
        """Return the lowest coarse similarity that one of the k nearest references can have."""
        size = queries.rows.shape[1] + 8
        numbers = torch.finfo(torch.float32)
        wrong = queries.error * self.length + (queries.length + queries.error) * self.error
        # Rounding of sums of so many products, here and in the exact similarities, and of the centre and the bias
        longest = queries.length + self.length + (float(self.center.norm()) if self.metric == "cosine" else 0.0)
        wrong = 1.001 * wrong + size * (numbers.eps * (longest.square() + self.bias) + numbers.tiny)
        bound = kth - 2 * wrong
        if self.dtype == torch.bfloat16:  # the k-th highest and the values compared with it are rounded
            bound = bound - 1.01 * 2**-8 * (kth.abs() + 2 * wrong)
        return bound.clamp(min=torch.finfo(torch.bfloat16).min)  # above the minus infinity of padded rows

    def _round(self, vectors: Vectors, num_rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return rows less the centre, rounded, ``(num_rows, D + parts)``; their lengths, rounding errors and biases."""
        width = len(self.center)
        rounded = torch.empty(num_rows, width + self.parts, dtype=self.dtype)
        length, error = torch.empty(2, len(vectors))
        bias = torch.empty(len(vectors), dtype=vectors.dtype)
        for start in range(0, len(vectors), vectors.chunk):
            stop = min(start + vectors.chunk, len(vectors))
            centred = vectors.rows(start, stop) - self.center
            rounded[start:stop, :width] = centred
            length[start:stop] = lengths = torch.linalg.vector_norm(centred, dim=1)
            bias[start:stop] = centred @ self.center if self.metric == "cosine" else lengths.square() / -2
            error[start:stop] = torch.linalg.vector_norm(centred.sub_(rounded[start:stop, :width]), dim=1)
        return rounded, length, error, bias


def has_bf16() -> bool:
    """Return whether the processor multiplies matrices in bfloat16 itself, rather than emulating it."""
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.4 has no such function
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
