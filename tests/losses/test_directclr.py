"""DirectCLR beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import DirectCLRLoss, directclr, nt_xent


def test_loss_is_the_authors_cross_entropy():
    """Oracle: torch's cross-entropy over the other view, both ways, as in the authors' code."""
    a, b = (F.normalize(r[:, :3]) for r in pair())
    logits = a @ b.T / 0.1
    own = torch.arange(16)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(directclr(*pair(), dim=3), expected, rtol=1e-12, atol=1e-12)


def test_lightly_has_nt_xent_of_the_same_dimensions():
    """Oracle: lightly 1.6, as far as it goes.

    Deviations of lightly: NT-Xent, with a view's own samples among the negatives, and temperature 0.5 and 64 dimensions for
    defaults; the paper and its code have neither. It equals our NT-Xent of the same dimensions, and lies above our DirectCLR.
    """
    from lightly.loss import DirectCLRLoss as Lightly

    theirs = Lightly(loss_dim=3, temperature=0.1)(*pair())
    torch.testing.assert_close(nt_xent(*(r[:, :3] for r in pair()), 0.1), theirs, rtol=1e-6, atol=1e-6)
    assert directclr(*pair(), dim=3) < theirs


def test_value_equals_manual_calculation():
    """Four orthogonal images, views that agree: e against e + 3."""
    eye = torch.eye(4, dtype=torch.float64)
    assert directclr(eye, eye, dim=4, temperature=1.0).item() == pytest.approx(math.log(math.e + 3) - 1)


def test_other_dimensions_are_free():
    r1, r2 = pair()
    r1.requires_grad_()
    value = directclr(r1, r2, dim=3)
    value.backward()
    assert r1.grad[:, :3].any()
    assert not r1.grad[:, 3:].any()
    other = torch.cat([r2[:, :3], torch.randn(16, 2, dtype=torch.float64)], dim=1)
    assert directclr(r1, other, dim=3).item() == value.item()


def test_dim_out_of_range_raises():
    with pytest.raises(ValueError, match="dim must be at least 1, got 0"):
        DirectCLRLoss(dim=0)
    with pytest.raises(ValueError, match="dim=6 is more than the D=5 dimensions"):
        directclr(*pair(), dim=6)
