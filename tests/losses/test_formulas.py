"""Each loss against its formula, written plainly from the paper in float64, and against pip's lightly 1.6."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_losses import LOSSES, barlow_twins, negative_cosine_similarity, nt_xent, vicreg, w_mse


def plain_nt_xent(a, b, temperature=0.1):
    z = [row / row.norm() for row in (*a, *b)]
    n, total = len(a), 0.0
    for i, row in enumerate(z):
        positive = math.exp(float(row @ z[(i + n) % (2 * n)]) / temperature)
        others = sum(math.exp(float(row @ other) / temperature) for k, other in enumerate(z) if k != i)
        total -= math.log(positive / others)
    return total / (2 * n)


def plain_barlow_twins(a, b, redundancy=0.0051):
    n, d = a.shape
    a, b = ((z - z.mean(0)) / torch.sqrt(z.var(0, correction=0) + 1e-5) for z in (a, b))
    total = 0.0
    for i in range(d):
        for j in range(d):
            c = float((a[:, i] * b[:, j]).sum() / n)
            total += (1 - c) ** 2 if i == j else redundancy * c**2
    return total


def plain_vicreg(a, b, invariance=25.0, variance=25.0, covariance=1.0):
    n, d = a.shape
    distance = float(((a - b) ** 2).mean())
    spread = sum(max(0.0, 1 - math.sqrt(float(z[:, j].var()) + 1e-4)) for z in (a, b) for j in range(d)) / (2 * d)
    shared = 0.0
    for z in (a, b):
        for i in range(d):
            for j in range(d):
                if i != j:
                    c = float(((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).sum() / (n - 1))
                    shared += c**2 / d
    return invariance * distance + variance * spread + covariance * shared


def plain_w_mse(a, b):
    """Each view whitened by the inverse of the Cholesky factor of its covariance (ridge 1e-3 of the mean variance)."""
    views = []
    for z in (a, b):
        z = z - z.mean(0)
        covariance = z.T @ z / (len(z) - 1)
        ridge = 0.001 * covariance.trace() / len(covariance) * torch.eye(z.shape[1], dtype=z.dtype)
        white = z @ torch.linalg.inv(torch.linalg.cholesky(0.999 * covariance + ridge)).T
        views.append(white / white.norm(dim=1, keepdim=True))
    return float(((views[0] - views[1]) ** 2).sum(1).mean())


def plain_negative_cosine_similarity(a, b):
    return -sum(float(p @ z) / float(p.norm() * z.norm()) for p, z in zip(a, b)) / len(a)


PLAIN = {
    "barlow_twins": plain_barlow_twins,
    "negative_cosine_similarity": plain_negative_cosine_similarity,
    "nt_xent": plain_nt_xent,
    "vicreg": plain_vicreg,
    "w_mse": plain_w_mse,
}


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(16, 5, generator=generator, dtype=torch.float64)
    return a, a + 0.5 * torch.randn(16, 5, generator=generator, dtype=torch.float64)


def test_no_loss_escapes():
    assert set(PLAIN) == set(LOSSES)


@pytest.mark.parametrize("name", LOSSES)
def test_value_is_that_of_the_papers_formula(name, pair):
    assert LOSSES[name]()(*pair).item() == pytest.approx(PLAIN[name](*pair), rel=1e-10)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_that_of_finite_differences(name, pair):
    """Oracle: torch.autograd.gradcheck in float64."""
    loss = LOSSES[name]()
    a, b = (z[:8].clone().requires_grad_() for z in pair)
    if name == "negative_cosine_similarity":  # the target has no gradient, by definition
        b = b.detach()
    assert torch.autograd.gradcheck(loss, (a, b))


def test_lightly_agrees(pair):
    """Oracle: lightly 1.6. Its Barlow Twins has no epsilon in the variance, its VICReg the same weights as ours."""
    from lightly import loss as lightly

    a, b = (z.float() for z in pair)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(nt_xent(a, b, 0.3), lightly.NTXentLoss(temperature=0.3)(a, b), **close)
    torch.testing.assert_close(
        barlow_twins(a, b), lightly.BarlowTwinsLoss(lambda_param=0.0051)(a, b), rtol=1e-3, atol=1e-4
    )
    torch.testing.assert_close(vicreg(a, b), lightly.VICRegLoss()(a, b), **close)
    torch.testing.assert_close(negative_cosine_similarity(a, b), lightly.NegativeCosineSimilarity()(a, b), **close)


def test_values_worked_out_by_hand():
    eye = torch.eye(4, dtype=torch.float64)
    assert nt_xent(eye, eye, 1.0).item() == pytest.approx(math.log(math.e + 6) - 1)
    assert negative_cosine_similarity(eye, eye).item() == pytest.approx(-1)
    assert w_mse(eye[:, :2], eye[:, :2]).item() == pytest.approx(0, abs=1e-12)
    flat = torch.ones(4, 3, dtype=torch.float64)
    assert vicreg(flat, flat).item() == pytest.approx(25 * (1 - 0.01))  # no spread at all: sqrt(1e-4)


@pytest.mark.parametrize("name", ["barlow_twins", "nt_xent", "vicreg", "w_mse"])
def test_swapping_the_views_changes_nothing(name, pair):
    loss = LOSSES[name]()
    assert loss(*pair).item() == pytest.approx(loss(*reversed(pair)).item(), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_samples_changes_nothing(name, pair):
    order = torch.randperm(16, generator=torch.Generator().manual_seed(3))
    loss = LOSSES[name]()
    assert loss(*pair).item() == pytest.approx(loss(*(z[order] for z in pair)).item(), rel=1e-10)


@pytest.mark.parametrize("name", ["nt_xent", "negative_cosine_similarity"])
def test_the_scale_of_the_embeddings_changes_nothing(name, pair):
    loss = LOSSES[name]()
    assert loss(*pair).item() == pytest.approx(loss(7 * pair[0], 0.1 * pair[1]).item(), rel=1e-10)


def test_no_gradient_flows_into_the_target(pair):
    a, b = (z.clone().requires_grad_() for z in pair)
    negative_cosine_similarity(a, b).backward()
    assert b.grad is None


def test_whitening_in_groups_is_the_mean_over_the_groups(pair):
    a, b = pair
    parts = [plain_w_mse(a[k::2], b[k::2]) for k in range(2)]
    assert w_mse(a, b, whitening_size=8).item() == pytest.approx(sum(parts) / 2, rel=1e-10)


def test_more_views_than_two(pair):
    a, b = pair
    assert vicreg(a, b, a).item() == pytest.approx(
        25 * 2 / 3 * F.mse_loss(a, b).item()
        + 25 * sum(F.relu(1 - (z.var(0) + 1e-4).sqrt()).mean().item() for z in (a, b, a)) / 3
        + 2 / 3 * sum(_off_diagonal(z) for z in (a, b, a)),
        rel=1e-10,
    )
    assert 0 < w_mse(a, b, a).item() < w_mse(a, b).item() * 1.5


def _off_diagonal(z):
    covariance = torch.cov(z.T)
    return float((covariance**2).sum() - (covariance.diagonal() ** 2).sum()) / z.shape[1]
