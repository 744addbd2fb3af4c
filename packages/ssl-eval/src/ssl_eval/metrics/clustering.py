"""Agreement of two groupings of the same samples, e.g. clusters and classes.

Mutual information and Rand index are hand-written, about ten lines each: they need torch only and run on any device.
"""

import torch
from torch import Tensor

from ssl_eval.metrics.confusion import contingency_table
from ssl_eval.optional import optional_import
from ssl_eval.validation import check_labels, check_real, check_tensor, in_one_line


def normalized_mutual_information(first: Tensor, second: Tensor) -> float:
    """Return the mutual information of two groupings ``(M,)`` over the mean of their entropies, in 0..1.

    1: the same groups, numbered in any way. 0: independent. Not corrected for chance, unlike :func:`adjusted_rand_index`.
    Two groupings of a single group each give 1.

    Strehl & Ghosh: Cluster Ensembles, JMLR 2002 (here with the arithmetic mean, as scikit-learn).

    Examples
    --------
    >>> normalized_mutual_information(torch.tensor([0, 0, 1]), torch.tensor([5, 5, 2]))
    1.0
    """
    joint = contingency_table(first, second).double()
    joint = joint / joint.sum()
    rows, columns = joint.sum(1), joint.sum(0)
    entropies = [float(-torch.special.xlogy(share, share).sum()) for share in (rows, columns)]
    if max(entropies) == 0:
        return 1.0
    expected = torch.outer(rows, columns)
    information = float(torch.special.xlogy(joint, joint / expected.where(joint > 0, 1.0)).sum())
    return min(1.0, max(0.0, 2 * information / sum(entropies)))


def adjusted_rand_index(first: Tensor, second: Tensor) -> float:
    """Return the share of pairs on which two groupings ``(M,)`` agree, corrected for chance: 1 if equal, 0 if independent.

    Hubert & Arabie: Comparing partitions, 1985.

    Examples
    --------
    >>> round(adjusted_rand_index(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])), 6)
    -0.5
    """
    table = contingency_table(first, second).double()

    def pairs(counts: Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, rows, columns, every = pairs(table), pairs(table.sum(1)), pairs(table.sum(0)), pairs(table.sum())
    expected = rows * columns / every if every else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def cluster_accuracy(assignments: Tensor, labels: Tensor) -> float:
    """Return the accuracy of clusters ``(M,)`` under the best one-to-one assignment of clusters to classes.

    Clusters beyond the number of classes are assigned to none: their samples are wrong. The assignment is the optimal one
    (Kuhn: The Hungarian method, 1955), as in Xie, Girshick & Farhadi: Unsupervised Deep Embedding, ICML 2016. Needs scipy.

    Examples
    --------
    >>> cluster_accuracy(torch.tensor([2, 2, 0, 0]), torch.tensor([0, 0, 1, 0]))
    0.75
    """
    check_tensor("assignments", assignments)
    check_labels("labels", labels, len(assignments))
    table = contingency_table(assignments, labels)
    square = table.new_zeros((max(table.shape),) * 2)
    square[: table.shape[0], : table.shape[1]] = table
    chosen = best_assignment(-square).to(square.device)
    return float(square.gather(1, chosen[:, None]).sum()) / len(labels)


def best_assignment(cost: Tensor) -> Tensor:
    """Return the assignment of rows to columns of least total cost (Hungarian method): a column for each row, ``(n,) int64``.

    Each column of ``cost (n, n)`` is used once. Computed by ``scipy.optimize.linear_sum_assignment``; an ``ImportError``
    without scipy. Raises ``ValueError`` unless ``cost`` is square and finite.

    Examples
    --------
    >>> best_assignment(torch.tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]))
    tensor([1, 0, 2])
    """
    check_real("cost", cost)
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or not bool(torch.isfinite(cost).all()):
        raise ValueError(f"cost must be (n, n) and finite, got shape {tuple(cost.shape)}: {in_one_line(cost)}")
    with optional_import("an optimal assignment"):
        from scipy.optimize import linear_sum_assignment
    return torch.as_tensor(linear_sum_assignment(cost.double().cpu().numpy())[1])
