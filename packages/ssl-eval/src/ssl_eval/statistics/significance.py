"""Welch's t-test: the difference of two settings with a few runs each."""

import math
import warnings
from dataclasses import dataclass

from torch import Tensor

from ssl_eval.optional import optional_import
from ssl_eval.validation import check_values, in_one_line


@dataclass
class WelchTest:
    """Result of :func:`welch_test`.

    Attributes
    ----------
    difference : float
        Mean of the second minus mean of the first.
    interval : tuple of float
        95 % confidence interval of the difference of the means.
    p_value : float
        Two-sided: the probability of a difference at least this large if both settings have the same mean.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float


def welch_test(first: Tensor, second: Tensor) -> WelchTest:
    r"""Compare the means of two sets of runs whose variances may differ.

    .. math:: t = \frac{\bar b - \bar a}{\sqrt{s_a^2 / n_a + s_b^2 / n_b}}

    against Student's distribution with the degrees of freedom of Welch and Satterthwaite. Computed by
    ``scipy.stats.ttest_ind``.

    Parameters
    ----------
    first, second : Tensor
        ``(n,)`` and ``(m,)``: one number per run, at least two runs each.

    Returns
    -------
    WelchTest

    Raises
    ------
    ValueError
        If a set has fewer than two numbers or one that is not finite, or both sets have a variance of 0.
    ImportError
        Without scipy.

    References
    ----------
    Welch: The generalization of "Student's" problem when several different population variances are involved, 1947.

    Examples
    --------
    >>> import torch
    >>> test = welch_test(torch.tensor([0.90, 0.91, 0.92]), torch.tensor([0.93, 0.94, 0.95]))
    >>> round(test.difference, 3), round(test.p_value, 3)
    (0.03, 0.021)
    """
    for name, values in (("first", first), ("second", second)):
        check_values(name, values, least=2)
    first, second = first.double(), second.double()
    errors = [float(values.var()) / len(values) for values in (first, second)]
    if not math.isfinite(sum(errors) ** 2):
        raise ValueError(f"the variances do not fit into float64, rescale the numbers: {in_one_line(first)}")
    if sum(errors) ** 2 == 0:
        raise ValueError(
            "both sets have a variance of 0, for which the test is not defined: "
            f"{in_one_line(first)}, {in_one_line(second)}"
        )
    with optional_import("Welch's test"):
        from scipy import stats
    with warnings.catch_warnings():  # scipy warns if the values of one set are equal, where the test is defined
        warnings.simplefilter("ignore", RuntimeWarning)
        result = stats.ttest_ind(second.tolist(), first.tolist(), equal_var=False)
    low, high = result.confidence_interval(0.95)
    return WelchTest(float(second.mean() - first.mean()), (float(low), float(high)), float(result.pvalue))
