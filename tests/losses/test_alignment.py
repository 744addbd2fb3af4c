"""Alignment beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import AlignmentLoss, alignment, uniformity


def test_lightly_agrees():
    """Oracle: lightly 1.6, HypersphereLoss: alignment and the mean of both views' uniformity; its t is 1."""
    from lightly.loss.hypersphere_loss import HypersphereLoss

    a, b = (z.requires_grad_() for z in pair())
    ours, theirs = alignment(a, b) + uniformity(a, b, t=1.0), HypersphereLoss()(a, b)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for one, other in zip(torch.autograd.grad(ours, (a, b)), torch.autograd.grad(theirs, (a, b))):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_value_equals_manual_calculation():
    """A right angle is the square root of 2 apart."""
    x, y = torch.eye(2, dtype=torch.float64).split(1)
    assert alignment(x, y).item() == pytest.approx(2)
    assert alignment(x, y, alpha=1.0).item() == pytest.approx(math.sqrt(2))


def test_at_alpha_two_it_is_two_less_twice_the_cosine():
    """Oracle: torch's cosine similarity."""
    a, b = pair()
    assert alignment(a, b).item() == pytest.approx(2 - 2 * F.cosine_similarity(a, b).mean().item(), rel=1e-10)


def test_more_views_are_the_mean_over_the_pairs():
    a, b = pair()
    c = a.flip(0)
    pairs = (alignment(x, y, alpha=1.0).item() for x, y in ((a, b), (a, c), (b, c)))
    assert alignment(a, b, c, alpha=1.0).item() == pytest.approx(sum(pairs) / 3)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_views_that_coincide_get_no_gradient(alpha):
    """The root has no slope there: autograd's inf times 0 would be NaN."""
    a, _ = (z.requires_grad_() for z in pair())
    value = alignment(a, a.detach(), alpha=alpha)
    value.backward()
    assert value.item() == 0
    assert not a.grad.any()


def test_alpha_of_zero_raises():
    for alpha in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="alpha must be finite and above 0, got"):
            AlignmentLoss(alpha=alpha)
