"""TiCo beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import TiCoLoss, tico


def test_lightly_agrees_in_value_and_state():
    """Oracle: lightly 1.6, in three steps. Its loss is larger by 1, a constant that the paper does not have."""
    from lightly.loss import TiCoLoss as LightlyLoss

    ours, theirs = TiCoLoss(5, momentum=0.7, contrast=3.0).double(), LightlyLoss(beta=0.7, rho=3.0)
    a, b = pair()
    for views in ((a, b), (b, a**2), (a, b)):
        assert ours(*views).item() == pytest.approx(theirs(*views).item() - 1, rel=1e-10)
        torch.testing.assert_close(ours.covariance, theirs.C)


def test_lightly_s_gradient_agrees_but_for_this_batch_s_share():
    """Oracle: lightly 1.6, which holds the batch's share of the covariance constant. Where the past has the whole weight they
    are equal; in the paper's pseudo-code, as here, the share has a gradient, so that what differs is of that size."""
    from lightly.loss import TiCoLoss as LightlyLoss

    a, b = (z.requires_grad_() for z in pair())
    covariance = torch.eye(5, dtype=torch.float64) + torch.ones(5, 5, dtype=torch.float64) / 9
    theirs = LightlyLoss(beta=1.0, rho=3.0)
    theirs.C = covariance
    ours = tico(a, b, covariance, momentum=1.0, contrast=3.0)
    for mine, other in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs(a, b), (a, b))):
        torch.testing.assert_close(mine, other)
    half = LightlyLoss(beta=0.5, rho=3.0)
    half.C = covariance
    mine, other = (torch.autograd.grad(loss, a)[0] for loss in (tico(a, b, covariance, 0.5, contrast=3.0), half(a, b)))
    own_share = LightlyLoss(beta=0.0, rho=1.5)(a, a.detach()) - LightlyLoss(beta=0.0, rho=0.0)(a, a.detach())
    torch.testing.assert_close(mine - other, torch.autograd.grad(own_share, a)[0])


def test_values_equal_manual_calculation():
    """Orthogonal rows: agreement 1, covariance I / 4 now; with none in the past a tenth of it counts."""
    eye, zeros = torch.eye(4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)
    assert tico(eye, eye, zeros).item() == pytest.approx(-1 + 8 * 0.1 / 4)
    assert tico(eye, -eye, eye / 4).item() == pytest.approx(1 + 8 / 4)


def test_update_alone_moves_the_covariance():
    loss, (a, _) = TiCoLoss(5).double(), pair()
    loss.update(a)
    rows = a / a.norm(dim=1, keepdim=True)
    torch.testing.assert_close(loss.covariance, 0.1 * rows.T @ rows / 16)


def test_covariance_keeps_its_digits_under_autocast():
    loss, (a, _) = TiCoLoss(5), pair()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss.update(a.float())
    rows = a / a.norm(dim=1, keepdim=True)
    torch.testing.assert_close(loss.covariance, (0.1 * rows.T @ rows / 16).float(), rtol=1e-5, atol=1e-7)


def test_covariance_of_another_width_raises_with_both():
    with pytest.raises(ValueError, match=r"\(16, 5\), got shape \(6, 6\); build the loss for as many dimensions"):
        TiCoLoss(6).double()(*pair())
    with pytest.raises(ValueError, match=r"momentum must be between 0 and 1, got 1\.5"):
        TiCoLoss(6, momentum=1.5)
    with pytest.raises(ValueError, match="dimensions must be at least 1, got 0"):
        TiCoLoss(0)
