"""Welch's test and Student's interval, against their formulas."""

import math

import pytest
import torch
from scipy import stats
from scipy.integrate import quad

from ssl_eval import mean_interval, welch_test


def student_within(t, freedom):
    """Return the probability that Student's t is within ``-t..t``: the integral of its density."""
    norm = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    return 2 * quad(lambda x: norm * (1 + x * x / freedom) ** (-(freedom + 1) / 2), 0, t, epsabs=1e-12)[0]


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (3, 10), (5, 2)])
def test_welch_equals_its_formula(sizes):
    """Oracle: Welch 1947, and the density of Student's distribution, integrated numerically."""
    generator = torch.Generator().manual_seed(sum(sizes))
    first = 0.90 + 0.01 * torch.randn(sizes[0], generator=generator, dtype=torch.float64)
    second = 0.91 + 0.03 * torch.randn(sizes[1], generator=generator, dtype=torch.float64)
    a, b = (float(values.var()) / len(values) for values in (first, second))
    freedom = (a + b) ** 2 / (a**2 / (sizes[0] - 1) + b**2 / (sizes[1] - 1))
    difference = float(second.mean() - first.mean())
    found = welch_test(first, second)
    assert found.difference == pytest.approx(difference)
    assert found.p_value == pytest.approx(1 - student_within(abs(difference) / math.sqrt(a + b), freedom), rel=1e-6)
    low, high = found.interval
    assert (low + high) / 2 == pytest.approx(difference)
    assert student_within((high - low) / 2 / math.sqrt(a + b), freedom) == pytest.approx(0.95, rel=1e-8)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_of_a_mean_has_its_confidence(n):
    """Oracle: the density of Student's distribution, integrated numerically."""
    values = torch.rand(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    for confidence in (0.95, 0.99):
        low, high = mean_interval(values, confidence)
        assert (low + high) / 2 == pytest.approx(float(values.mean()))
        t = (high - low) / 2 / float(values.std()) * math.sqrt(n)
        assert student_within(t, n - 1) == pytest.approx(confidence, rel=1e-8)
    assert mean_interval(values[:1]) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([0.9], [0.8, 0.7], "first must be"),
        ([0.9, 0.8], [0.8, float("nan")], "second must be"),
        ([0.9, 0.9], [0.8, 0.8], "both sets have a variance of 0"),
    ],
)
def test_welch_without_variance_raises(first, second, message):
    with pytest.raises(ValueError, match=message):
        welch_test(torch.tensor(first), torch.tensor(second))


def test_welch_test_of_one_constant_set_is_silent():
    """Runs of several seeds can agree exactly. Warnings are errors here. Oracle: scipy, from means and deviations."""
    first, second = torch.tensor([0.9, 0.9]), torch.tensor([0.80, 0.85])
    ours = welch_test(first, second)
    theirs = stats.ttest_ind_from_stats(0.825, second.double().std().item(), 2, 0.9, 0.0, 2, equal_var=False)
    assert ours.p_value == pytest.approx(theirs.pvalue)
