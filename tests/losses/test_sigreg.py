"""SIGReg, LeJEPA's loss, beyond the contract."""

import math

import pytest
import torch
from views import pair

from ssl_losses import SIGRegLoss, sigreg
from ssl_losses.components.directions import random_directions

DIRECTIONS = random_directions(5, 11, seed=0, step=torch.tensor(0)).double()


def test_lightly_agrees(monkeypatch):
    """Oracle: lightly 1.6, value and gradient, given our directions; two global views and a local one."""
    from lightly.loss.lejepa_loss import LeJEPALoss, SIGReg

    monkeypatch.setattr(SIGReg, "_generate_unit_vectors", lambda *_, **__: DIRECTIONS)
    views = [z.requires_grad_() for z in (*pair(), pair()[0] ** 2)]
    theirs = LeJEPALoss(lambda_param=0.3)(global_proj=torch.stack(views[:2]), local_proj=torch.stack(views[2:]))
    ours = sigreg(*views, directions=DIRECTIONS, regularization=0.3, global_views=2)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)  # its knots are float32
    for mine, other in zip(torch.autograd.grad(ours, views), torch.autograd.grad(theirs, views)):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)


def test_value_equals_manual_calculation():
    """All embeddings 0: the empirical characteristic function is 1 everywhere, and the integral is known."""
    z = torch.zeros(10, 5, dtype=torch.float64)
    integral = math.sqrt(2 * math.pi) - 2 * math.sqrt(math.pi) + math.sqrt(2 * math.pi / 3)
    loss = sigreg(z, directions=DIRECTIONS, regularization=1.0, t_max=9.0, num_knots=101)
    assert loss.item() == pytest.approx(10 * integral, rel=1e-4)


@pytest.mark.parametrize("samples", [64, 1024])
def test_of_normal_embeddings_it_is_the_same_for_any_batch_size(samples):
    """Its expectation is the integral of (1 - exp(-t²)) exp(-t²/2), about 1.05 from -3 to 3."""
    z = torch.randn(20, samples, 64, generator=torch.Generator().manual_seed(0))
    directions = random_directions(64, 64, seed=0, step=torch.tensor(0))
    assert sigreg(*z, directions=directions, regularization=1.0).item() == pytest.approx(1.053, rel=0.06)


def test_step_towards_the_gradient_makes_embeddings_more_normal():
    z = (torch.rand(256, 5, generator=torch.Generator().manual_seed(0)) * 5 - 2.5).requires_grad_()
    loss = SIGRegLoss(regularization=1.0, num_slices=64)
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        loss(z).backward()
        optimizer.step()
    assert z.mean(0).abs().max() < 0.1
    assert (torch.cov(z.T) - torch.eye(5)).abs().max() < 0.1


def test_directions_change_in_training_only():
    loss, views = SIGRegLoss(num_slices=4).double(), pair()
    assert loss(*views).item() != loss(*views).item()
    loss.eval()
    assert loss(*views).item() == loss(*views).item()


def test_function_compiles_without_a_graph_break():
    """Oracle: the eager loss and its gradient."""
    views = [z.requires_grad_() for z in pair()]
    compiled = torch.compile(sigreg, fullgraph=True, backend="aot_eager")(*views, directions=DIRECTIONS)
    eager = sigreg(*views, directions=DIRECTIONS)
    torch.testing.assert_close(compiled, eager)
    torch.testing.assert_close(torch.autograd.grad(compiled, views), torch.autograd.grad(eager, views))


def test_invalid_input_raises():
    views = pair()
    with pytest.raises(ValueError, match=r"directions must be .* of the embeddings \(16, 5\), got shape \(4, 7\)"):
        sigreg(*views, directions=torch.ones(4, 7))
    with pytest.raises(ValueError, match=r"directions must be floating point, got torch\.int64"):
        sigreg(*views, directions=torch.ones(5, 7).long())
    with pytest.raises(ValueError, match="global_views must be between 1 and the number of views, 2, got 3"):
        sigreg(*views, directions=DIRECTIONS, global_views=3)
    with pytest.raises(ValueError, match="expected at least 1 views, got 0"):
        SIGRegLoss()()
    for options, message in (
        ({"regularization": 1.5}, r"regularization must be between 0 and 1, got 1\.5"),
        ({"num_knots": 1}, "num_knots must be at least 2, got 1"),
        ({"t_max": 0.0}, r"t_max must be finite and above 0, got 0\.0"),
        ({"num_slices": 0}, "num_slices must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            SIGRegLoss(**options)
