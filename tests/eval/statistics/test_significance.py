"""Student's distribution and Welch's test, against scipy."""

import pytest
import torch
from scipy import stats

from ssl_eval import welch_test
from ssl_eval.statistics.student import student_quantile, student_tail


@pytest.mark.parametrize("freedom", [1, 1.3, 2, 2.5, 4, 17.2, 300])
def test_student_is_scipys(freedom):
    for t in (0.0, 0.3, 1.0, 4.0, 40.0):
        assert student_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-6, abs=1e-30)
    for probability in (0.6, 0.975, 0.999):
        assert student_quantile(probability, freedom) == pytest.approx(stats.t.ppf(probability, freedom), rel=1e-6)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (3, 10), (5, 2)])
def test_welch_is_scipys(sizes):
    generator = torch.Generator().manual_seed(sum(sizes))
    first = 0.90 + 0.01 * torch.randn(sizes[0], generator=generator, dtype=torch.float64)
    second = 0.91 + 0.03 * torch.randn(sizes[1], generator=generator, dtype=torch.float64)
    ours, theirs = welch_test(first, second), stats.ttest_ind(second, first, equal_var=False)
    assert ours.difference == pytest.approx(float(second.mean() - first.mean()))
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert ours.interval == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-6)


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
