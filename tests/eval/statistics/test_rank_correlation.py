"""Rank correlations against their formulas, with ties."""

import math

import pytest
import torch

from ssl_eval import kendall, spearman


def pair_signs(values):
    return (values[:, None] - values).sign()


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("levels", [1000, 4])
def test_rank_correlations_equal_their_formulas(n, levels):
    """Oracle: Kendall 1945 over all pairs; Pearson's correlation (torch.corrcoef) of mean ranks, counted over all pairs."""
    generator = torch.Generator().manual_seed(n)
    first = torch.randint(levels, (n,), generator=generator).double()
    second = first + torch.randint(levels, (n,), generator=generator)
    first[0], second[0] = -1, -2  # never all equal
    a, b = pair_signs(first), pair_signs(second)
    tau = (a * b).sum() / (a.abs().sum() * b.abs().sum()).sqrt()
    assert kendall(first, second) == pytest.approx(float(tau))
    rho = torch.corrcoef(torch.stack([a.sum(1), b.sum(1)]))[
        0, 1
    ]  # smaller minus larger ones: twice the mean rank, shifted
    assert spearman(first, second) == pytest.approx(float(rho))


@pytest.mark.filterwarnings("error")
def test_constant_has_no_correlation():
    assert math.isnan(spearman(torch.ones(3), torch.arange(3)))
    assert math.isnan(kendall(torch.ones(3), torch.arange(3)))


@pytest.mark.parametrize("second", [torch.ones(2), torch.tensor([1.0, 2.0, math.nan]), torch.ones(3, 1)])
def test_invalid_rank_correlation_raises(second):
    with pytest.raises(ValueError, match="must"):
        spearman(torch.arange(3.0), second)
