"""Rank correlation of two measures."""

import math

from torch import Tensor

from ssl_eval.optional import optional_import
from ssl_eval.validation import check_values


def spearman(first: Tensor, second: Tensor) -> float:
    r"""Return Spearman's :math:`\rho`: Pearson's correlation of the ranks, equal values sharing their mean rank.

    Computed by ``scipy.stats.spearmanr``.

    Parameters
    ----------
    first, second : Tensor
        ``(n,)``, n at least 2.

    Returns
    -------
    float
        In -1..1; NaN where all values of one are equal.

    Raises
    ------
    ValueError
        If a value is not finite, or the two are not equally long.
    ImportError
        Without scipy.

    References
    ----------
    Spearman: The proof and measurement of association between two things, 1904.

    Examples
    --------
    >>> import torch
    >>> round(spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.9])), 3)
    1.0
    """
    return _rank_correlation("spearmanr", first, second)


def kendall(first: Tensor, second: Tensor) -> float:
    r"""Return Kendall's :math:`\tau_b`: concordant minus discordant pairs, corrected for ties.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(P - T_1)(P - T_2)}}

    of P pairs, T of which are equal in the first, or in the second. Computed by ``scipy.stats.kendalltau``. Arguments, errors
    and NaN as in :func:`spearman`.

    References
    ----------
    Kendall: The treatment of ties in ranking problems, 1945.

    Examples
    --------
    >>> import torch
    >>> round(kendall(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.9, 0.2])), 3)
    0.333
    """
    return _rank_correlation("kendalltau", first, second)


def _rank_correlation(function: str, first: Tensor, second: Tensor) -> float:
    check_values("first", first, least=2)
    check_values("second", second, least=2)
    if first.shape != second.shape:
        raise ValueError(f"both must have the same number of values, got {len(first)} and {len(second)}")
    with optional_import("a rank correlation"):
        from scipy import stats
    if any(bool((values == values[0]).all()) for values in (first, second)):
        return math.nan  # where scipy warns
    return float(getattr(stats, function)(first.tolist(), second.tolist()).statistic)
