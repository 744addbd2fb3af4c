"""Rank correlation of two measures."""

import math

from torch import Tensor

from ssl_eval.validation import check_values


def spearman(first: Tensor, second: Tensor) -> float:
    r"""Return Spearman's :math:`\rho`: Pearson's correlation of the ranks, equal values sharing their mean rank.

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

    References
    ----------
    Spearman: The proof and measurement of association between two things, 1904.

    Examples
    --------
    >>> import torch
    >>> spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.2, 0.9]))
    1.0
    """
    ranks = [_ranks(values) for values in _checked(first, second)]
    centred = [r - r.mean() for r in ranks]
    norm = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / norm if norm else math.nan


def kendall(first: Tensor, second: Tensor) -> float:
    r"""Return Kendall's :math:`\tau_b`: pairs in the same order less pairs in the opposite one, corrected for equal values.

    .. math:: \tau_b = \frac{C - D}{\sqrt{(P - T_1)(P - T_2)}}

    of P pairs, T of which are equal in the first, or in the second. Arguments, errors and NaN as in :func:`spearman`.

    References
    ----------
    Kendall: The treatment of ties in ranking problems, 1945.

    Examples
    --------
    >>> import torch
    >>> round(kendall(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 0.9, 0.2])), 3)
    0.333
    """
    signs = [(values[:, None] - values[None]).sign() for values in _checked(first, second)]
    norm = math.sqrt(float(signs[0].abs().sum() * signs[1].abs().sum()))
    return float((signs[0] * signs[1]).sum()) / norm if norm else math.nan


def _ranks(values: Tensor) -> Tensor:
    below = (values[:, None] > values[None]).sum(1)
    equal = (values[:, None] == values[None]).sum(1)
    return below + (equal + 1) / 2


def _checked(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    check_values("first", first, least=2)
    check_values("second", second, least=2)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"both must be (n,) with the same n of at least 2, got {tuple(first.shape)}, {tuple(second.shape)}"
        )
    return first.double(), second.double()
