"""Retrieval: recall@k and mean average precision by cosine similarity."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ssl_eval.probes.vectors import unit_rows
from ssl_eval.validation import check_features, check_labels, check_pair, computed_in

CHUNK_ELEMENTS = 2**23  # similarities ranked at a time


@dataclass
class RetrievalResult:
    """Result of :func:`retrieval`, over the queries whose class has an image in the gallery.

    Attributes
    ----------
    recall : dict
        k -> share of the queries with an image of their class among the k nearest (recall@k of metric learning).
    mean_average_precision : float
        Mean over the queries of the average precision: the mean precision at the rank of each image of their class.
    queries : int
        Number of queries counted.
    """

    recall: dict[int, float]
    mean_average_precision: float
    queries: int


@torch.no_grad()
def retrieval(
    query_features: Tensor,
    query_labels: Tensor,
    gallery_features: Tensor | None = None,
    gallery_labels: Tensor | None = None,
    ks: Sequence[int] = (1, 5, 10),
) -> RetrievalResult:
    """Rank a gallery by cosine similarity to each query; return recall@k and mean average precision of its class.

    Parameters
    ----------
    query_features : Tensor
        ``(M, D)``.
    query_labels : Tensor
        ``(M,)`` integer, 0 or more.
    gallery_features, gallery_labels : Tensor, optional
        ``(N, D)`` and ``(N,)``. Default: each query is compared with all others.
    ks : sequence of int
        Values of k of the recall, each at least 1.

    Returns
    -------
    RetrievalResult

    Raises
    ------
    ValueError
        If features hold NaN, labels are missing, shapes disagree, a k is out of range, or no query has an image of its
        class.

    Notes
    -----
    A query without an image of its class in the gallery is left out of all means, and ``queries`` tells how many were counted.
    torchmetrics' ``RetrievalMAP`` counts it as 0 by default and leaves it out with ``empty_target_action="skip"``;
    scikit-learn's ``average_precision_score`` warns and returns 0.

    Of equal similarities the lower index is first. Hand-written: scikit-learn and torchmetrics take one query at a time.
    Memory: ``2**23`` similarities at a time, with their order and counts about 200 MB, for any M; N up to ``2**23``.

    References
    ----------
    Song, Xiang, Jegelka & Savarese: Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016 (recall@k);
    Philbin et al.: Object retrieval with large vocabularies, CVPR 2007 (mean average precision).

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.3, 1.0]])
    >>> retrieval(features, torch.tensor([0, 0, 1, 1]), ks=(1,)).recall
    {1: 1.0}
    """
    check_features("query_features", query_features)
    check_labels("query_labels", query_labels, len(query_features))
    alone = gallery_features is None
    if alone != (gallery_labels is None):
        raise ValueError("gallery_features and gallery_labels belong together: give both, or neither")
    if gallery_features is None or gallery_labels is None:
        gallery_features, gallery_labels = query_features, query_labels
    else:
        check_pair(gallery_features, query_features)
        check_labels("gallery_labels", gallery_labels, len(gallery_features))
    if not ks or min(ks) < 1 or max(ks) > len(gallery_features) - alone:
        raise ValueError(f"ks={tuple(ks)}: expected 1 up to the images to be found, {len(gallery_features) - alone}")
    dtype = computed_in(query_features, gallery_features)
    gallery, labels = unit_rows(gallery_features, dtype), gallery_labels.to(gallery_features.device)
    hits = dict.fromkeys(ks, 0)
    precision, queries = 0.0, 0
    for rows in torch.arange(len(query_features)).split(max(1, CHUNK_ELEMENTS // len(gallery))):
        similarity = unit_rows(query_features[rows], dtype) @ gallery.T
        if alone:
            similarity[torch.arange(len(rows)), rows] = -torch.inf  # last, and not counted
        order = similarity.argsort(dim=1, descending=True, stable=True)
        same = labels[order] == query_labels[rows].to(labels.device)[:, None]
        if alone:
            same = same[:, :-1]
        found = same.cumsum(1)
        known = found[:, -1] > 0
        same, found = same[known], found[known]
        place = torch.arange(1, same.shape[1] + 1, device=same.device)
        precision += float(((found.double() / place) * same).sum(1).div(found[:, -1]).sum())
        queries += len(same)
        for k in ks:
            hits[k] += int((found[:, k - 1] > 0).sum())
    if queries == 0:
        raise ValueError("no query has an image of its class to be found: are these the labels of this gallery?")
    return RetrievalResult({k: hits[k] / queries for k in ks}, precision / queries, queries)
