"""Weighted k-nearest-neighbour classification in bounded memory."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ssl_eval.checks import check_labels, check_pair, computed_in

METRICS = ("cosine", "euclidean")


@torch.no_grad()
def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int = 20,
    temperature: float = 0.07,
    metric: str = "cosine",
    num_classes: int | None = None,
    query_chunk: int = 1024,
    reference_chunk: int = 16384,
) -> Tensor:
    """Classify by the k nearest training features, each voting with weight ``exp(similarity / temperature)``.

    The similarity is the cosine, or ``-distance² / 2`` for the Euclidean metric: on features of length one both give
    the same votes. Votes are divided by their sum.

    Parameters
    ----------
    train_features : Tensor
        ``(N, D)``, the references.
    train_labels : Tensor
        ``(N,)`` integer, 0 or more.
    test_features : Tensor
        ``(M, D)``, the queries, on the same device.
    k : int
        Neighbours that vote, at most N. 20 and 200 are usual.
    temperature : float
        Smaller lets the nearest decide; ``math.inf`` is the plain majority vote. In units of the similarity.
    metric : {"cosine", "euclidean"}
        A feature of length zero has cosine 0 with every other.
    num_classes : int, optional
        K; by default one more than the largest training label.
    query_chunk, reference_chunk : int
        Rows compared at a time. Beside arguments and result, memory is ``query_chunk * reference_chunk`` similarities
        (64 MiB in float32), as much again in part while they are ranked, one chunk of each set, and M * k neighbours.

    Returns
    -------
    Tensor
        ``(M, K)``, shares of the vote that sum to one; float64 for float64 features, else float32.

    Raises
    ------
    ValueError
        If features hold NaN, labels are missing, shapes disagree, k is larger than N, or an option is out of range.

    Notes
    -----
    Ties. Of references equally near at the k-th place, those of lower index vote. Equality is that of the similarities
    as computed: two that are equal on paper may differ by rounding. Of classes with equal votes, ``argmax`` and
    :func:`ssl_eval.accuracy` take the lower number.

    References
    ----------
    Wu, Xiong, Yu, Lin: Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    https://arxiv.org/abs/1805.01978 (k = 200, temperature 0.07).

    Examples
    --------
    >>> import torch
    >>> references = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> knn(references, torch.tensor([0, 0, 1]), torch.tensor([[2.0, 0.1]]), k=2)
    tensor([[1., 0.]])
    """
    check_pair(train_features, test_features)
    check_labels("train_labels", train_labels, len(train_features), num_classes)
    if not 1 <= k <= len(train_features):
        raise ValueError(f"k={k}: expected 1 up to the number of training samples, {len(train_features)}")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature}: expected above 0 (math.inf for the plain majority vote)")
    if metric not in METRICS:
        raise ValueError(f"metric={metric!r}: expected one of {', '.join(map(repr, METRICS))}")
    if min(query_chunk, reference_chunk) < 1:
        raise ValueError(f"query_chunk={query_chunk}, reference_chunk={reference_chunk}: expected 1 or more")

    values, neighbours = _nearest(train_features, test_features, k, metric, query_chunk, reference_chunk)
    labels = train_labels.to(train_features.device).long()
    # Dividing by the largest weight first leaves the shares as they are and cannot overflow at low temperatures.
    weights = torch.exp((values - values[:, :1]) / temperature)
    votes = weights.new_zeros(len(weights), int(labels.max()) + 1 if num_classes is None else num_classes)
    votes.scatter_add_(1, labels[neighbours], weights)
    return votes / votes.sum(1, keepdim=True)


def _nearest(
    train: Tensor, test: Tensor, k: int, metric: str, query_chunk: int, reference_chunk: int
) -> tuple[Tensor, Tensor]:
    """Return similarities ``(M, k)``, falling, and indices ``(M, k) int64`` of the k nearest references."""
    dtype = torch.promote_types(computed_in(train), computed_in(test))
    # Distances are blind to a shift, and |a|² - 2ab + |b|² cancels far from the origin. A reference, not the mean: then
    # integers stay integers, and equal distances exactly equal.
    origin = train[0].to(dtype) if metric == "euclidean" else None
    values = torch.full((len(test), k), -math.inf, dtype=dtype, device=test.device)
    indices = torch.zeros((len(test), k), dtype=torch.int64, device=test.device)
    for start in range(0, len(train), reference_chunk):
        references = _prepare(train[start : start + reference_chunk], dtype, origin)
        for first in range(0, len(test), query_chunk):
            rows = slice(first, first + query_chunk)
            queries = _prepare(test[rows], dtype, origin)
            similarity = queries @ references.T
            if origin is not None:
                # -distance² / 2 up to |query|² / 2, which is the same for all references of a query
                similarity -= references.square().sum(1) / 2
            new_values, new_indices = _top(similarity, k)
            candidates = torch.cat([values[rows], new_values], 1), torch.cat([indices[rows], new_indices + start], 1)
            values[rows], indices[rows] = _first(*candidates, k)
    return values, indices


def _prepare(features: Tensor, dtype: torch.dtype, origin: Tensor | None) -> Tensor:
    features = features.to(dtype)
    return F.normalize(features) if origin is None else features - origin


def _top(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest of each row and their columns; of equal ones the lower columns. Order is not promised."""
    width = similarity.shape[1]
    if k >= width:
        return similarity, torch.arange(width, device=similarity.device).expand(similarity.shape)
    values, columns = similarity.topk(k + 1)  # falling; which of several equal ones it takes is not documented
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]
    values, columns = values[:, :k].contiguous(), columns[:, :k].contiguous()
    for rows in tied.split(max(1, 2**22 // width)):  # rare, but the rule in a collapsed run: by a few rows at a time
        last = values[rows, -1:]
        above = similarity[rows] > last
        equal = similarity[rows] == last
        chosen = above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))
        columns[rows] = chosen.nonzero()[:, 1].view(len(rows), k)
        values[rows] = similarity[rows].gather(1, columns[rows])
    return values, columns


def _first(values: Tensor, indices: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the first k of each row by falling value, then rising index."""
    order = indices.argsort(1)
    values, indices = values.gather(1, order), indices.gather(1, order)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    return values.gather(1, order), indices.gather(1, order)
