"""Agreement of two groupings of the same samples, e.g. clusters and classes."""

import math

import torch
from torch import Tensor

from ssl_eval.metrics.confusion import contingency_table
from ssl_eval.validation import check_labels, check_real, check_tensor, in_one_line


def normalized_mutual_information(first: Tensor, second: Tensor) -> float:
    """Return the mutual information of two groupings ``(M,)`` over the mean of their entropies, in 0..1.

    1: the same groups under other numbers. 0: independent; it does not correct for chance (:func:`adjusted_rand_index`
    does). Two groupings of one group each agree: 1.

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
    """Return the share of pairs that two groupings ``(M,)`` treat alike, corrected for chance: 1 equal, 0 as by chance.

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

    Clusters beyond the number of classes have no name: their samples are wrong. The naming is the optimal assignment
    (Kuhn: The Hungarian method, 1955), as in Xie, Girshick & Farhadi: Unsupervised Deep Embedding, ICML 2016.

    Examples
    --------
    >>> cluster_accuracy(torch.tensor([2, 2, 0, 0]), torch.tensor([0, 0, 1, 0]))
    0.75
    """
    check_tensor("assignments", assignments)
    check_labels("labels", labels, len(assignments))
    table = contingency_table(assignments, labels)
    size = max(table.shape)
    square = torch.zeros(size, size, dtype=torch.float64)
    square[: table.shape[0], : table.shape[1]] = table.double()
    chosen = best_assignment(-square)
    return float(square[torch.arange(size), chosen].sum() / len(labels))


def best_assignment(cost: Tensor) -> Tensor:
    """Return ``(n,) int64``: the column of each row of ``cost (n, n)``, every column once, of the least total cost.

    Shortest augmenting paths (Jonker & Volgenant 1987), O(n³), each step over all columns at once. Raises ``ValueError``
    unless ``cost`` is square and finite.

    Examples
    --------
    >>> best_assignment(torch.tensor([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0], [3.0, 2.0, 2.0]]))
    tensor([1, 0, 2])
    """
    check_real("cost", cost)
    if cost.ndim != 2 or cost.shape[0] != cost.shape[1] or not bool(torch.isfinite(cost).all()):
        raise ValueError(f"cost must be (n, n) and finite, got shape {tuple(cost.shape)}: {in_one_line(cost)}")
    cost = cost.double().cpu()
    n = len(cost)
    row_of = torch.full((n,), -1)  # of each column
    row_price, column_price = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    for first in range(n):
        distance = torch.full((n,), math.inf, dtype=torch.float64)
        before = torch.full((n,), -1)  # the column that the path comes from
        done = torch.zeros(n, dtype=torch.bool)
        row, column, reached = first, -1, 0.0
        while True:
            longer = reached + cost[row] - row_price[row] - column_price
            nearer = (longer < distance) & ~done
            distance[nearer], before[nearer] = longer[nearer], column
            column = int(distance.masked_fill(done, math.inf).argmin())
            reached = float(distance[column])
            done[column] = True
            row = int(row_of[column])
            if row < 0:
                break
        ahead = done.clone()
        ahead[column] = False  # the end of the path keeps its price
        row_price[row_of[ahead]] += reached - distance[ahead]
        row_price[first] += reached
        column_price[ahead] -= reached - distance[ahead]
        while column >= 0:  # turn the path over
            previous = int(before[column])
            row_of[column] = first if previous < 0 else row_of[previous]
            column = previous
    return row_of.argsort()
