"""EMP-SSL beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from cases.emp_ssl import plain
from views import pair

from ssl_losses import emp_ssl


@pytest.mark.parametrize("samples", [16, 4])
def test_lightly_s_terms_agree(samples):
    """Oracle: the two terms of lightly 1.6, value and gradient. Two deviations of its sum: it adds the coding rate, so that
    minimising it collapses the embeddings, where the paper and the authors' code subtract it; and it leaves it to the network
    to normalise the rows."""
    from lightly.loss.emp_ssl_loss import invariance_loss, tcr_loss

    views = [z[:samples].requires_grad_() for z in (*pair(), pair()[0] ** 2)]
    z = F.normalize(torch.stack(views), dim=2)
    theirs = -tcr_loss(z, eps=0.3) + 20 * invariance_loss(z)
    ours = emp_ssl(*views, invariance=20.0, distortion=0.3)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)  # its identity matrix is of float32
    for mine, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views)):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_fewer_samples_than_dimensions_have_the_paper_s_value():
    a, b = (z[:3] for z in pair())
    assert emp_ssl(a, b).item() == pytest.approx(plain(a, b, invariance=200.0, distortion=0.2), rel=1e-10)


def test_values_equal_manual_calculation():
    """Orthogonal rows: I + 4 / (4 · 0.2) I = 6 I. Collapsed: 1 + 5 · 4 in one direction of 4."""
    eye, ones = torch.eye(4, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64)
    assert emp_ssl(eye, eye).item() == pytest.approx(-200 - 2 * math.log(6))
    assert emp_ssl(ones, ones).item() == pytest.approx(-200 - math.log(21) / 2)


def test_gradients_are_finite_where_the_products_are_singular():
    z = torch.ones(8, 5).requires_grad_()
    emp_ssl(z, z.detach()).backward()
    assert z.grad.isfinite().all()


def test_bad_options_raise():
    with pytest.raises(ValueError, match=r"distortion must be finite and above 0, got 0\.0"):
        emp_ssl(*pair(), distortion=0.0)
