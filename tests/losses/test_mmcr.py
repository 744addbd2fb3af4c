"""MMCR beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import mmcr


@pytest.mark.parametrize("compression", [0.0, 0.3])
def test_lightly_agrees(compression):
    """Oracle: lightly 1.6, value and gradient, the views of student and teacher together. Its rows come normalised."""
    from lightly.loss import MMCRLoss

    views = [z.requires_grad_() for z in (*pair(), pair()[0] ** 2, pair()[1] ** 3)]
    z = F.normalize(torch.stack(views, 1), dim=2)  # (N, V, D)
    theirs = MMCRLoss(lmda=compression)(z[:, :2], z[:, 2:])
    ours = mmcr(*views, compression=compression)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-10)
    for mine, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views)):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_values_equal_manual_calculation():
    """Four orthogonal centroids have 4 singular values of 1; four equal ones a single one of 2; opposite views have none."""
    eye, ones = torch.eye(4, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64)
    assert mmcr(eye, eye).item() == pytest.approx(-4)
    assert mmcr(ones, ones).item() == pytest.approx(-2)
    assert mmcr(eye, -eye).item() == pytest.approx(0, abs=1e-12)
    assert mmcr(eye, eye, compression=1.0).item() == pytest.approx(-4 + math.sqrt(2))


@pytest.mark.parametrize(
    "batch", [torch.eye(5), torch.eye(8, 5), torch.ones(8, 5), torch.ones(8, 5).tril(), torch.eye(5)[[0, 0, 1, 1]]]
)
def test_repeated_and_zero_singular_values_have_finite_gradients(batch):
    z = batch.clone().requires_grad_()
    loss = mmcr(z, batch, compression=0.5)
    loss.backward()
    assert loss.isfinite()
    assert z.grad.abs().max() < 10


def test_embedding_that_is_not_finite_makes_the_loss_nan():
    """As it does every other loss; the decomposition by itself would raise torch's LinAlgError."""
    a, b = pair()
    for value in (math.nan, math.inf):
        z = a.clone()
        z[3, 2] = value
        z.requires_grad_()
        loss = mmcr(z, b)
        loss.backward()
        assert loss.isnan()
        assert z.grad.isnan().any()
