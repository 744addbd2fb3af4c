"""KoLeo beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import koleo


def test_lightly_agrees():
    """Oracle: lightly 1.6, values and gradients.

    Deviations of lightly, as of DINOv2's code: 1e-8 is added to each coordinate of the difference and to the distance,
    which is why not closer.
    """
    from lightly.loss import KoLeoLoss

    z = pair()[0].requires_grad_()
    ours, theirs = koleo(z), KoLeoLoss()(z)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(torch.autograd.grad(ours, z), torch.autograd.grad(theirs, z), rtol=1e-5, atol=1e-7)


def test_value_equals_manual_calculation():
    """The corners of a square are the square root of 2 from their neighbours, an octagon's 2 sin(π / 8)."""
    for corners in (4, 8):
        angles = torch.arange(corners, dtype=torch.float64) * 2 * math.pi / corners
        z = torch.stack([angles.cos(), angles.sin()], dim=1)
        assert koleo(3 * z).item() == pytest.approx(-math.log(2 * math.sin(math.pi / corners)))


def test_more_views_are_the_mean_and_never_neighbours():
    a, b = pair()
    assert koleo(a, b).item() == pytest.approx((koleo(a).item() + koleo(b).item()) / 2)
    assert koleo(a, a).item() == pytest.approx(koleo(a).item())


def test_neighbour_is_pushed_as_well():
    """Three rows on a circle, the third far away: it has a neighbour, and is nobody's."""
    angles = torch.tensor([0.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    koleo(torch.stack([angles.cos(), angles.sin()], dim=1)).backward()
    close, middle, far = angles.grad.tolist()
    assert close > 0 > middle  # minus the gradient drives them apart
    assert abs(far) < 0.2 * abs(close)


def test_rows_that_coincide_have_a_finite_loss_and_no_gradient():
    z = torch.ones(4, 3, requires_grad=True)
    value = koleo(z)
    value.backward()
    assert value.item() == pytest.approx(-math.log(1e-8), rel=1e-6)
    assert not z.grad.any()


def test_one_coinciding_pair_leaves_the_others_their_gradient():
    z = pair()[0]
    z = torch.cat([z, z[:1]]).requires_grad_()
    koleo(z).backward()
    assert z.grad.isfinite().all()
    assert not z.grad[-1].any()
    assert z.grad[1:-1].any()


def test_one_row_has_no_neighbour_and_raises():
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        koleo(torch.ones(1, 3))
