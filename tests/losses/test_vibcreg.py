"""VIbCReg beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import vibcreg


def test_standardised_embeddings_give_reweighted_vicreg():
    """Oracle: lightly 1.6's VICReg. Correlations are covariances there; VICReg sums them over D, VIbCReg has their mean."""
    from lightly.loss import VICRegLoss

    a, b = ((z - z.mean(0)) / z.std(0) for z in pair())
    theirs = VICRegLoss(lambda_param=25, mu_param=50, nu_param=3)(a, b)
    assert vibcreg(a, b, covariance=3.0 * a.shape[1]).item() == pytest.approx(theirs.item(), rel=1e-10)


def test_values_equal_manual_calculation():
    """Four corners of a square are uncorrelated; a repeated dimension is correlated in 2 of 4 pairs, in both views."""
    square = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]], dtype=torch.float64)
    assert vibcreg(square, square).item() == 0
    assert vibcreg(square[:, [0, 0]], square[:, [0, 0]]).item() == pytest.approx(200)


def test_scale_of_each_dimension_does_not_change_correlations():
    a, b = pair()
    scale = torch.tensor([0.01, 0.1, 1, 10, 100], dtype=torch.float64)
    options = {"invariance": 0.0, "variance": 0.0}
    assert vibcreg(a * scale, b / scale, **options).item() == pytest.approx(vibcreg(a, b, **options).item(), rel=1e-9)


def test_dimension_of_rounding_errors_counts_as_constant():
    """The sum of 0.1 over 7 samples rounds: noise of 1e-9 divided by its own size would have gradients of 1e9."""
    z = pair()[0].float()[:7]
    z[:, 0] = 0.1
    z.requires_grad_()
    loss = vibcreg(z, z.detach())
    loss.backward()
    assert z.grad.abs().max() < 100
    rest = z[:, 1:].detach()
    shared = vibcreg(z, z, invariance=0.0, variance=0.0).item()
    assert shared == pytest.approx(vibcreg(rest, rest, invariance=0.0, variance=0.0).item() * 4**2 / 5**2, rel=1e-5)
