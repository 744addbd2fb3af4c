"""Rank correlations against scipy, with ties."""

import math

import pytest
import torch
from scipy import stats

from ssl_eval import kendall, spearman


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("levels", [1000, 4])
def test_rank_correlations_are_scipys(n, levels):
    generator = torch.Generator().manual_seed(n)
    first = torch.randint(levels, (n,), generator=generator).double()
    second = first + torch.randint(levels, (n,), generator=generator)
    first[0], second[0] = -1, -2  # never all equal
    assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    assert kendall(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)


def test_constant_has_no_correlation():
    assert math.isnan(spearman(torch.ones(3), torch.arange(3)))
    assert math.isnan(kendall(torch.ones(3), torch.arange(3)))


@pytest.mark.parametrize("second", [torch.ones(2), torch.tensor([1.0, 2.0, math.nan]), torch.ones(3, 1)])
def test_invalid_rank_correlation_raises(second):
    with pytest.raises(ValueError, match="must be"):
        spearman(torch.arange(3.0), second)
