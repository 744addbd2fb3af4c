"""VISReg beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import VISRegLoss, sigreg, visreg
from ssl_losses.components.directions import random_directions


def test_lightly_agrees():
    """Oracle: lightly 1.6, value and gradient, its directions drawn from torch's seed. Its epsilon in the standardisation,
    1e-4 by default, is added, where the authors' code has a lower bound of 1e-6: here it is next to nothing."""
    from lightly.loss.visreg_loss import VISRegLoss as LightlyLoss

    views = [z.requires_grad_() for z in (*pair(), pair()[0] ** 2)]
    theirs = LightlyLoss(0.7, num_slices=11, lambda_scale=2.0, lambda_shape=3.0, lambda_center=0.5, eps=1e-12)
    torch.manual_seed(3)
    expected = theirs(global_proj=torch.stack(views[:2]), local_proj=torch.stack(views[2:]))
    torch.manual_seed(3)
    directions = torch.nn.functional.normalize(torch.randn(5, 11, dtype=torch.float64), dim=0)
    options = {"regularization": 0.7, "scale": 2.0, "shape": 3.0, "center": 0.5, "global_views": 2}
    ours = visreg(*views, directions=directions, **options)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-6)  # its quantiles are float32
    for mine, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(expected, views)):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_value_equals_manual_calculation():
    """Two samples at the quantiles 1/3 and 2/3, scaled to deviation 1: nothing but the shape is off, by 1 - 0.4307 twice."""
    z = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    assert visreg(z, z, directions=one, regularization=0.5).item() == pytest.approx((1 - 0.4307273) ** 2 / 2, rel=1e-6)


def test_gradient_does_not_vanish_at_collapse():
    """The paper's reason to regulate the scale by itself: there SIGReg's gradient goes to 0 with the spread."""
    directions = random_directions(5, 64, seed=0, step=torch.tensor(0)).double()
    z = pair()[0]
    norms = {}
    for spread in (1e-2, 1e-5):
        for loss in (visreg, sigreg):
            leaf = ((z - z.mean(0)) * spread).requires_grad_()
            loss(leaf, directions=directions, regularization=1.0).backward()
            norms[loss, spread] = leaf.grad.norm().item()
    assert norms[visreg, 1e-5] > 0.9 * norms[visreg, 1e-2] > 0.1
    assert norms[sigreg, 1e-5] < 0.01 * norms[sigreg, 1e-2]


def test_step_towards_the_gradient_makes_embeddings_more_normal():
    z = (torch.rand(256, 5, generator=torch.Generator().manual_seed(0)) * 3).requires_grad_()
    loss = VISRegLoss(regularization=1.0, num_slices=64)
    optimizer = torch.optim.Adam([z], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(z).backward()
        optimizer.step()
    assert z.mean(0).abs().max() < 0.1
    assert (torch.cov(z.T) - torch.eye(5)).abs().max() < 0.15


def test_scale_changes_the_scale_term_alone():
    directions = random_directions(5, 64, seed=0, step=torch.tensor(0)).double()
    z = pair()[0] - pair()[0].mean(0)
    shape = {"directions": directions, "regularization": 1.0, "scale": 0.0, "center": 0.0}
    assert visreg(100 * z, **shape).item() == pytest.approx(visreg(z, **shape).item(), rel=1e-10)


def test_function_compiles_without_a_graph_break():
    """Oracle: the eager loss and its gradient."""
    views = [z.requires_grad_() for z in pair()]
    directions = random_directions(5, 7, seed=0, step=torch.tensor(0)).double()
    compiled = torch.compile(visreg, fullgraph=True, backend="aot_eager")(*views, directions=directions)
    eager = visreg(*views, directions=directions)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(torch.autograd.grad(compiled, views), torch.autograd.grad(eager, views))


def test_invalid_input_raises():
    with pytest.raises(ValueError, match=r"directions must be .* of the embeddings \(16, 5\), got shape \(4, 7\)"):
        visreg(*pair(), directions=torch.ones(4, 7))
    with pytest.raises(ValueError, match=r"shape must be finite and at least 0, got -1\.0"):
        VISRegLoss(shape=-1.0)
    with pytest.raises(ValueError, match="num_slices must be at least 1, got 0"):
        VISRegLoss(num_slices=0)
