"""Confusion matrix and contingency table."""

import torch
from torch import Tensor

from ssl_eval.metrics.accuracy import per_class_accuracy, predicted_classes
from ssl_eval.validation import check_labels

MAX_CELLS = 2**28  # of a contingency table: 2 GiB


def confusion_matrix(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the confusion matrix: counts by label (row) and prediction (column).

    Parameters
    ----------
    scores : Tensor
        ``(M, K)``, higher is more likely. If t classes share the highest score, sample i counts for number i mod t of them, so
        that no class is favoured; :func:`ssl_eval.accuracy` counts such a sample as 1 / t of a hit.
    labels : Tensor
        ``(M,)`` integer in ``0..K-1``.

    Returns
    -------
    Tensor
        ``(K, K) int64``; its sum is M.

    Raises
    ------
    ValueError
        If a score is NaN, a label is out of range, or shapes disagree.

    Examples
    --------
    >>> scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    >>> confusion_matrix(scores, torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """
    per_class_accuracy(scores, labels)  # checks both
    num_classes = scores.shape[1]
    pairs = labels.to(scores.device).long() * num_classes + predicted_classes(scores)
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def contingency_table(first: Tensor, second: Tensor) -> Tensor:
    """Return the contingency table of two groupings ``(M,)``: how many samples are in group k of one and group l of the other.

    Returns
    -------
    Tensor
        ``(K, L) int64``; its sum is M.

    Raises
    ------
    ValueError
        If a group number is negative, not an integer or needs too large a table, or the two lengths differ.
    """
    check_labels("first", first, len(first) if isinstance(first, Tensor) else 0)
    check_labels("second", second, len(first))
    first, second = first.long(), second.to(first.device).long()
    rows, columns = (int(groups.max()) + 1 if len(groups) else 0 for groups in (first, second))
    if rows * columns > MAX_CELLS:
        raise ValueError(
            f"a table of {rows} by {columns} groups is too large; renumber the groups: first.unique(return_inverse=True)[1]"
        )
    return torch.bincount(first * columns + second, minlength=rows * columns).view(rows, columns)
