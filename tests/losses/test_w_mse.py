"""W-MSE beyond the contract."""

import pytest
import torch
from cases.w_mse import plain
from views import pair

from ssl_losses import w_mse


def test_sub_batches_are_every_kth_sample():
    a, b = pair()
    parts = [plain(a[k::2], b[k::2], 8) for k in range(2)]
    assert w_mse(a, b, whitening_size=8).item() == pytest.approx(sum(parts) / 2, rel=1e-10)


def test_more_views_are_the_mean_over_their_pairs():
    a, b = pair()
    pairs = [plain(u, v, 16) for u, v in ((a, b), (a, a), (b, a))]
    assert w_mse(a, b, a).item() == pytest.approx(sum(pairs) / 3, rel=1e-10)


def test_values_equal_manual_calculation():
    """Views that agree, and views that are each other's opposite: the squared distance of unit vectors is 0, and 4."""
    a, _ = pair()
    assert w_mse(a, a).item() == pytest.approx(0, abs=1e-12)
    assert w_mse(a, -a).item() == pytest.approx(4)


def test_sub_batch_that_is_too_small_raises():
    with pytest.raises(ValueError, match="whitening_size must be at least 2, got 0"):
        w_mse(*pair(), whitening_size=0)
    with pytest.raises(ValueError, match="D=20 dimensions needs more samples than that in a sub-batch, got 16"):
        w_mse(torch.randn(16, 20), torch.randn(16, 20))
