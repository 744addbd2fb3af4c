"""Barlow Twins beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import barlow_twins


def test_lightly_agrees():
    """Oracle: lightly 1.6, which has no epsilon in the variance."""
    from lightly.loss import BarlowTwinsLoss

    a, b = (z.float() for z in pair())
    torch.testing.assert_close(barlow_twins(a, b), BarlowTwinsLoss(lambda_param=0.0051)(a, b), rtol=1e-3, atol=1e-4)


def test_shift_and_scale_of_a_dimension_hardly_change_anything():
    """Not exactly: the epsilon in the variance has a scale of its own."""
    a, b = pair()
    assert barlow_twins(3 * a + 1, b).item() == pytest.approx(barlow_twins(a, b).item(), rel=1e-4)


def test_negative_weight_raises():
    with pytest.raises(ValueError, match=r"redundancy must be finite and at least 0, got -1\.0"):
        barlow_twins(*pair(), redundancy=-1.0)
