"""FroSSL beyond the contract."""

import math

import pytest
import torch
from cases.frossl import plain
from views import pair

from ssl_losses import frossl


@pytest.mark.parametrize("samples", [16, 4])
def test_lightly_agrees(samples):
    """Oracle: lightly 1.6, value and gradient, with more and with fewer samples than dimensions."""
    from lightly.loss import FroSSLLoss

    views = [z[:samples].requires_grad_() for z in (*pair(), pair()[0] ** 2)]
    ours, theirs = frossl(*views, invariance=1.4), FroSSLLoss(invariance_weight=1.4)(views)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    for mine, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views)):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


def test_both_products_give_the_paper_s_value():
    for samples in (16, 4):
        a, b = (z[:samples] for z in pair())
        assert frossl(a, b).item() == pytest.approx(plain(a, b, invariance=1.0), rel=1e-10)


def test_values_equal_manual_calculation():
    """Orthogonal dimensions have equal eigenvalues, log(1/3) for each view; equal dimensions have one, log 1."""
    eye = torch.eye(6, 3, dtype=torch.float64)
    assert frossl(eye, eye).item() == pytest.approx(-2 * math.log(3))
    assert frossl(eye, -eye, invariance=0.5).item() == pytest.approx(-2 * math.log(3) + 0.5 * 2 / 6 * 2 * 3)
    ones = torch.ones(6, 3, dtype=torch.float64)
    assert frossl(ones, ones).item() == pytest.approx(0, abs=1e-12)


def test_scale_of_each_dimension_changes_nothing():
    a, b = pair()
    scale = torch.tensor([0.01, 0.1, 1, 10, 100], dtype=torch.float64)
    assert frossl(a * scale, b / scale).item() == pytest.approx(frossl(a, b).item(), rel=1e-9)


def test_dimension_that_is_zero_leaves_the_others():
    a, b = pair()
    zero = torch.zeros(16, 1, dtype=torch.float64)
    wider = [torch.cat([z, zero], 1).requires_grad_() for z in (a, b)]
    loss = frossl(*wider)
    loss.backward()
    assert loss.item() == pytest.approx(frossl(a, b).item(), rel=1e-10)
    assert all(z.grad.isfinite().all() for z in wider)


def test_view_that_is_zero_counts_as_collapsed():
    a, b = pair()
    alone = frossl(a, 0 * b, invariance=0.0).item()
    assert alone == pytest.approx(frossl(a, a, invariance=0.0).item() / 2, rel=1e-10)
