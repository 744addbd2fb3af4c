"""DCL and DCLW beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import dcl, dclw, nt_xent


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")  # lightly's weights
@pytest.mark.parametrize(("ours", "theirs"), [(dcl, "DCLLoss"), (dclw, "DCLWLoss")])
def test_lightly_agrees(ours, theirs):
    """Oracle: lightly 1.6, value and gradient."""
    from lightly import loss as lightly

    mine, other = ([z.float().requires_grad_() for z in pair()] for _ in range(2))
    found, expected = ours(*mine, temperature=0.3), getattr(lightly, theirs)(temperature=0.3)(*other)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for a, b in zip(torch.autograd.grad(found, mine), torch.autograd.grad(expected, other)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_values_equal_manual_calculation():
    """Four orthogonal images, views that agree: the positive is 1, six others are exp(0)."""
    eye = torch.eye(4, dtype=torch.float64)
    assert dcl(eye, eye, 1.0).item() == pytest.approx(math.log(6) - 1)
    assert dclw(eye, eye, 1.0).item() == pytest.approx(math.log(6) - 1)


def test_nt_xent_is_dcl_with_the_positive_in_the_denominator():
    """For one pair of samples: log(e^p + e^n) against log(e^n), by the definition of both."""
    a, b = (z[:2] for z in pair())
    u, v = (z / z.norm(dim=1, keepdim=True) for z in (a, b))
    positives = (u * v).sum(1).repeat(2)
    own = torch.stack([torch.stack([u[0] @ u[1], u[0] @ v[1]]), torch.stack([u[1] @ u[0], u[1] @ v[0]])])
    other = torch.stack([torch.stack([v[0] @ v[1], v[0] @ u[1]]), torch.stack([v[1] @ v[0], v[1] @ u[0]])])
    negatives = torch.cat([own, other]).logsumexp(1)
    assert dcl(a, b, 1.0).item() == pytest.approx((negatives - positives).mean().item(), rel=1e-10)
    difference = (torch.logaddexp(negatives, positives) - negatives).mean().item()
    assert (nt_xent(a, b, 1.0) - dcl(a, b, 1.0)).item() == pytest.approx(difference, rel=1e-10)


def test_positives_that_are_far_apart_weigh_more():
    """Half of the pairs agree, half are orthogonal: weights 2 - 2 e^2/(1 + e^2) and 2 - 2/(1 + e^2) at sigma 0.5."""
    a = torch.eye(8, dtype=torch.float64)[:4]
    b = torch.eye(8, dtype=torch.float64)[[0, 1, 6, 7]]
    weight = 2 - 2 * math.exp(2) / (1 + math.exp(2))
    assert dclw(a, b, 1.0).item() == pytest.approx(math.log(6) - weight / 2)


def test_illegal_sigma_raises():
    with pytest.raises(ValueError, match=r"sigma must be finite and at least 1e-06, got 0\.0"):
        dclw(*pair(), sigma=0.0)


def test_smallest_sigma_is_finite():
    assert dclw(*pair(), sigma=1e-6).isfinite()


def float32_errors(loss, temperature):
    """Mean relative errors of value and gradient in float32, over batches. Oracle: the plain formula in float64."""
    errors = []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        a = torch.randn(64, 32, generator=generator)
        rows = torch.cat([a, a + torch.randn(64, 32, generator=generator)]).requires_grad_()
        exact = rows.detach().double().requires_grad_()
        z = exact / exact.norm(dim=1, keepdim=True)
        other = torch.arange(128).roll(64)
        logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
        positives = logits[torch.arange(128), other]
        negatives = logits.masked_fill(torch.nn.functional.one_hot(other, 128).bool(), -torch.inf)
        expected, value = (negatives.logsumexp(1) - positives).mean(), loss(*rows.chunk(2))
        (true_gradient,), (gradient,) = torch.autograd.grad(expected, exact), torch.autograd.grad(value, rows)
        of_gradient = (gradient - true_gradient).norm() / true_gradient.norm()
        errors.append([((value - expected) / expected).abs().item(), of_gradient.item()])
    return torch.tensor(errors).mean(0).tolist()


@pytest.mark.parametrize("temperature", [0.1, 0.01, 0.001])
def test_float32_keeps_the_digits_at_small_temperatures(temperature):
    """Errors of the value and the gradient are at most twice lightly's, which computes them row by row from the matrix."""
    from lightly.loss import DCLLoss as LightlyDCLLoss

    ours = float32_errors(lambda a, b: dcl(a, b, temperature), temperature)
    theirs = float32_errors(LightlyDCLLoss(temperature), temperature)
    assert ours[0] < 2 * theirs[0] + 6e-8
    assert ours[1] < 2 * theirs[1]
