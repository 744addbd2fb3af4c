"""Exact k-nearest-neighbour search in bounded memory: coarse products of all pairs, exact ones of a few.

All of it is behind :func:`nearest`. Hand-written because of its speed: 10,000 queries against 50,000 references take a fifth of
the time of scikit-learn's brute force by cosine, a third by distance (``runs/bench/eval.py``), in 120 instead of 1,590 MB.
"""

import math

import torch
from torch import Tensor

from ssl_eval.probes.knn_prefilter import Prefilter
from ssl_eval.probes.vectors import Vectors
from ssl_eval.validation import computed_in, typical_row

BLOCK_BYTES = 2**25  # of coarse references at a time (their product makes a copy as large), and of queries in float32
MIN_ROWS, MAX_ROWS = 1024, 2**16  # of a block, for any width of the features
TILE_ROWS = 256  # queries that are compared with a block of references at a time
PAIR_ELEMENTS = 2**18  # of pairs compared exactly at a time, so that they stay in the cache
CROWD = 512  # pairs of a query (or 4 k, if that is more) above which a comparison with all references is faster


def nearest(
    train: Tensor, test: Tensor, k: int, metric: str, query_block: int | None = None, reference_block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return similarities ``(M, k)``, descending, and indices ``(M, k) int64`` of the k nearest references of each query.

    On a CPU a :class:`~ssl_eval.probes.knn_prefilter.Prefilter` removes most pairs, and only the rest is compared. On other
    devices, and for queries with many references nearby, all pairs are compared.
    """
    dtype = computed_in(train, test)
    values = torch.empty((len(test), k), dtype=dtype, device=test.device)
    indices = torch.empty((len(test), k), dtype=torch.int64, device=test.device)
    step = query_block or _rows(4 * test.shape[1])
    for start in range(0, len(test), step):
        block = slice(start, start + step)
        queries = Vectors(test[block], dtype, metric).rows()
        if test.device.type == "cpu":
            values[block], indices[block], crowded = _search_prefiltered(train, queries, k, metric, reference_block)
            rest = crowded.nonzero()[:, 0] + start
        else:
            rest = torch.arange(start, start + len(queries), device=test.device)
        if len(rest):
            values[rest], indices[rest] = _search_all(train, queries[rest - start], k, metric, reference_block)
    return values, indices


def _rows(row_bytes: int) -> int:
    """Return how many rows of so many bytes to take at a time."""
    return min(max(BLOCK_BYTES // row_bytes, MIN_ROWS), MAX_ROWS)


def _search_prefiltered(
    train: Tensor, queries: Tensor, k: int, metric: str, step: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return similarities, indices, and ``(Q,) bool``: the queries with too many pairs, for which they are not valid."""
    sample = Vectors(train[:: max(1, len(train) // 4096)], queries.dtype, metric)
    prefilter = Prefilter(sample.rows().mean(0), metric, k)
    coarse = prefilter.queries(Vectors(queries, queries.dtype, "euclidean"))
    best = torch.full((len(queries), k), -math.inf)
    values = torch.full((len(queries), k), -math.inf, dtype=queries.dtype)
    indices = torch.zeros((len(queries), k), dtype=torch.int64)
    crowded = torch.zeros(len(queries), dtype=torch.bool)
    step = step or _rows(prefilter.dtype.itemsize * train.shape[1])
    for start in range(0, len(train), step):
        references = Vectors(train[start : start + step], queries.dtype, metric)
        coarse_references = prefilter.references(references)
        for first in range(0, len(queries), TILE_ROWS):
            tile = slice(first, first + TILE_ROWS)
            pairs = prefilter.pairs(coarse.part(tile), coarse_references, best[tile], max(CROWD, 4 * k))
            best[tile], crowded[tile] = pairs.best, crowded[tile] | pairs.crowded
            similarity = _similarity(queries[tile], pairs.rows, references, pairs.columns)
            found = _padded(pairs.rows, similarity, pairs.columns + start, len(values[tile]))
            values[tile], indices[tile] = _first(values[tile], indices[tile], *found, k)
        if crowded.sum() > len(crowded) // 2:  # the prefilter takes longer than it saves
            return values, indices, torch.ones_like(crowded)
    return values, indices, crowded


def _similarity(queries: Tensor, rows: Tensor, references: Vectors, columns: Tensor) -> Tensor:
    """Return the similarities ``(n,)`` of pairs, each summed in the same order: equal references are equally near."""
    parts = []
    step = max(1, PAIR_ELEMENTS // queries.shape[1])
    for row, column in zip(rows.split(step), columns.split(step)):
        query, pairs = queries.index_select(0, row), references.at(column)
        cosine = references.metric == "cosine"
        parts.append(pairs.mul_(query).sum(1) if cosine else pairs.sub_(query).square_().sum(1) / -2)
    return torch.cat(parts)


def _padded(rows: Tensor, values: Tensor, indices: Tensor, num_rows: int) -> tuple[Tensor, Tensor]:
    """Return values and indices of pairs, ``(n,)`` with rising rows, as ``(num_rows, longest)``; the rest is minus infinity."""
    counts = torch.bincount(rows, minlength=num_rows)
    place = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows]
    longest = int(counts.max())
    padded = values.new_full((num_rows, longest), -math.inf), indices.new_zeros((num_rows, longest))
    padded[0][rows, place], padded[1][rows, place] = values, indices
    return padded


def _first(values: Tensor, indices: Tensor, new_values: Tensor, new_indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the first k of each row by falling value, then rising index."""
    values, indices = torch.cat([values, new_values], 1), torch.cat([indices, new_indices], 1)
    order = indices.argsort(1)
    values, indices = values.gather(1, order), indices.gather(1, order)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    return values.gather(1, order), indices.gather(1, order)


def _search_all(train: Tensor, queries: Tensor, k: int, metric: str, step: int | None) -> tuple[Tensor, Tensor]:
    """Return similarities and indices ``(Q, k)`` by comparing all pairs."""
    values = queries.new_full((len(queries), k), -math.inf)
    indices = torch.zeros_like(values, dtype=torch.int64)
    # Distances do not depend on a shift, and |a|² - 2ab + |b|² cancels far from the origin. The shift is a reference and not
    # the mean, so that integers stay integers and equal distances exactly equal.
    origin = typical_row(train).to(queries.dtype) if metric == "euclidean" else None
    if origin is not None:
        queries = queries - origin
    step = step or min(_rows(4 * train.shape[1]), MAX_ROWS // 4)  # similarities take twice the memory here
    for start in range(0, len(train), step):
        references = Vectors(train[start : start + step], queries.dtype, metric).rows()
        if origin is not None:
            references = references - origin
            penalty = references.square().sum(1) / 2
        for first in range(0, len(queries), TILE_ROWS):
            tile = slice(first, first + TILE_ROWS)
            similarity = queries[tile] @ references.T
            if origin is not None:
                similarity -= penalty
            found, columns = _top(similarity, k)
            values[tile], indices[tile] = _first(values[tile], indices[tile], found, columns + start, k)
    return values if origin is None else values - queries.square().sum(1, keepdim=True) / 2, indices


def _top(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest of each row and their columns; of equal ones the lower columns. In no particular order."""
    width = similarity.shape[1]
    if k >= width:
        return similarity, torch.arange(width, device=similarity.device).expand(similarity.shape)
    values, columns = similarity.topk(k + 1)  # descending; which of several equal values topk takes is not documented
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]
    values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
    for rows in tied.split(max(1, 2**22 // width)):  # many only if the run has collapsed: a few rows at a time
        last = values[rows, -1:]
        above = similarity[rows] > last
        equal = similarity[rows] == last
        chosen = above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))
        columns[rows] = chosen.nonzero()[:, 1].view(len(rows), k)
        values[rows] = similarity[rows].gather(1, columns[rows])
    return values, columns
