"""Uniformity beyond the contract; lightly's oracle is in test_alignment."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import UniformityLoss, uniformity


@pytest.mark.parametrize("t", [0.5, 2.0])
def test_authors_formula_agrees(t):
    """Oracle: torch.pdist, as in the authors' README; all N (N - 1) / 2 distances at once."""
    z = F.normalize(pair()[0]).requires_grad_()
    ours, theirs = uniformity(z, t=t), torch.pdist(z).pow(2).mul(-t).exp().mean().log()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_values_equal_manual_calculation():
    """Equal rows are at 0, a right angle at -2t, opposite rows at -4t."""
    x, y = torch.eye(2, dtype=torch.float64)
    for other, expected in ((x, 0), (y, -6), (-x, -12)):
        assert uniformity(torch.stack([x, other]), t=3.0).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("t", [1e-3, 50.0, 1e4])
def test_any_t_is_finite(t):
    """exp(-4t) underflows from t = 26 on in float32: here it is a log-sum-exp."""
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.1]], requires_grad=True)
    value = uniformity(opposite, t=t)
    value.backward()
    assert value.item() == pytest.approx(-4 * t, rel=0.01)
    assert opposite.grad.isfinite().all()


def test_one_view_is_enough_and_more_are_the_mean():
    a, b = pair()
    assert uniformity(a, b).item() == pytest.approx((uniformity(a).item() + uniformity(b).item()) / 2)


def test_invalid_input_raises():
    with pytest.raises(ValueError, match="t must be finite and above 0, got 0"):
        UniformityLoss(t=0.0)
    with pytest.raises(ValueError, match="at least 1 views, got 0"):
        uniformity()
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        uniformity(torch.ones(1, 3))


def test_infinite_t_raises():
    with pytest.raises(ValueError, match="t must be finite and above 0, got inf"):
        uniformity(pair()[0], t=math.inf)
