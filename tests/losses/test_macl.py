"""MACL beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import MACLLoss, macl, nt_xent


@pytest.mark.parametrize("options", [(0.1, 0.5, 0.0), (0.3, 1.0, 0.2), (0.2, 0.0, 1.0)])
def test_lightly_agrees(options):
    """Oracle: lightly 1.6, values and gradients. It adds 1e-8 to 1 - P, which is why not closer."""
    from lightly.loss import MACLLoss as Lightly

    a, b = (z.requires_grad_() for z in pair())
    ours, theirs = macl(a, b, *options), Lightly(*options)(a, b)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8)
    for one, other in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b))):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_value_equals_manual_calculation():
    """Four orthogonal images, views that agree: P is e of e + 6, and the alignment 1 makes τ of 0.5 a whole 1."""
    eye = torch.eye(4, dtype=torch.float64)
    p = math.e / (math.e + 6)
    assert macl(eye, eye, temperature=0.5, alpha=1.0).item() == pytest.approx(-math.log(p) / (1 - p))


def test_without_its_weight_and_temperature_it_is_nt_xent():
    """One weight for all samples (four orthogonal images), α = 0: the ratio of the losses is that weight."""
    eye = torch.eye(4, dtype=torch.float64)
    weight = (math.e + 6) / 6
    assert macl(eye, eye, 1.0, alpha=0.0).item() == pytest.approx(weight * nt_xent(eye, eye, 1.0).item())


def test_gradient_does_not_fade_where_nt_xents_does():
    """At P = 1 to the last digit: NT-Xent's gradient is 0, MACL's is that of the similarities."""
    eye = torch.eye(4).requires_grad_()
    off = torch.eye(4) + 0.01
    faded, kept = (torch.autograd.grad(loss(eye, off, 0.005), eye)[0].norm() for loss in (nt_xent, macl))
    assert faded < 1e-6
    assert kept > 1


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_opposite_views_are_finite(alpha):
    """An alignment of -1 makes the paper's τ zero at α = 1, and negative with a threshold."""
    a, _ = (z.requires_grad_() for z in pair())
    for a_0 in (0.0, 1.0):
        value = macl(a, -a.detach(), alpha=alpha, a_0=a_0)
        value.backward()
        assert value.isfinite()
        assert a.grad.isfinite().all()


def test_options_out_of_range_raise():
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, got 2"):
        MACLLoss(alpha=2.0)
    with pytest.raises(ValueError, match=r"a_0 must be between 0 and 1, got -0\.5"):
        macl(*pair(), a_0=-0.5)
