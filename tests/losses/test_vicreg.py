"""VICReg beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import vicreg


def test_lightly_agrees():
    """Oracle: lightly 1.6."""
    from lightly.loss import VICRegLoss

    a, b = (z.float() for z in pair())
    torch.testing.assert_close(vicreg(a, b), VICRegLoss()(a, b), rtol=1e-4, atol=1e-5)


def test_value_equals_manual_calculation():
    """A constant batch has no spread at all, sqrt(1e-4) = 0.01 per dimension, and nothing else."""
    flat = torch.ones(4, 3, dtype=torch.float64)
    assert vicreg(flat, flat).item() == pytest.approx(25 * (1 - 0.01))


def test_shift_of_all_views_changes_nothing():
    a, b = pair()
    assert vicreg(a + 3, b + 3).item() == pytest.approx(vicreg(a, b).item(), rel=1e-10)


def test_bad_options_raise():
    with pytest.raises(ValueError, match=r"variance must be finite and at least 0, got -2\.0"):
        vicreg(*pair(), variance=-2.0)
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        vicreg(pair()[0])
