"""Rows of features whose images the pictures of an evaluation show."""

from typing import Any

import torch
from torch import Tensor

from ssl_eval.features import Features
from ssl_eval.probes.knn_search import nearest
from ssl_eval.probes.linear import draw_by_class

NEIGHBOURS = 8  # of a query


def nearest_rows(features: Features, count: int, seed: int) -> dict[str, list[Any]]:
    """Return test rows of as many classes as possible, and the nearest training rows of each, the nearest first.

    Parameters
    ----------
    features : Features
        All labelled.
    count : int
        Number of queries, at least 1; fewer if there are fewer test samples.
    seed : int
        Random seed of the queries.

    Returns
    -------
    dict
        ``queries``: test rows; ``rows``: for each query up to eight training rows, by the cosine.
    """
    labels = features.test_labels
    counts = torch.bincount(labels)
    # One sample of each class, then a second of each, ...
    each = next(n for n in range(1, len(labels) + 1) if counts.clamp(max=n).sum() >= min(count, len(labels)))
    order, drawn = draw_by_class(labels, torch.full_like(counts, each), seed)
    queries = order[drawn][:: max(1, int(drawn.sum()) // count)][:count]
    _, rows = nearest(features.train, features.test[queries], min(NEIGHBOURS, len(features.train)), "cosine")
    return {"queries": queries.tolist(), "rows": rows.tolist()}


def confident_errors(scores: Tensor, labels: Tensor, most: int) -> dict[str, list[Any]]:
    """Return the wrong predictions of the highest probability, the highest first, ``most`` at most.

    Parameters
    ----------
    scores : Tensor
        ``(M, K)`` logits.
    labels : Tensor
        ``(M,) int64``.
    most : int
        Number of rows.

    Returns
    -------
    dict
        ``rows``, their ``predicted`` classes, and the ``confidence`` in these, a fraction in 0..1.
    """
    confidence, predicted = scores.softmax(1).max(1)
    wrong = (predicted != labels.to(predicted.device)).nonzero()[:, 0]
    rows = wrong[confidence[wrong].argsort(descending=True, stable=True)[:most]]
    return {"rows": rows.tolist(), "predicted": predicted[rows].tolist(), "confidence": confidence[rows].tolist()}
