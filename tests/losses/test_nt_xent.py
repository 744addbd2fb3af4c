"""NT-Xent beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import nt_xent


def test_lightly_agrees():
    """Oracle: lightly 1.6."""
    from lightly.loss import NTXentLoss

    a, b = (z.float() for z in pair())
    torch.testing.assert_close(nt_xent(a, b, 0.3), NTXentLoss(temperature=0.3)(a, b), rtol=1e-4, atol=1e-5)


def test_value_equals_manual_calculation():
    """Four orthogonal images, views that agree: the positive is e, six others are 1."""
    eye = torch.eye(4, dtype=torch.float64)
    assert nt_xent(eye, eye, 1.0).item() == pytest.approx(math.log(math.e + 6) - 1)


def test_one_sample_has_no_negative_and_raises():
    one = torch.randn(1, 4)
    with pytest.raises(ValueError, match="at least 2 samples, got 1"):
        nt_xent(one, one)
