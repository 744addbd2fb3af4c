"""Sinkhorn-Knopp. Oracle: the loop in pip's lightly 1.6, which works on the matrix instead of its logarithm."""

import pytest
import torch
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn

from ssl_losses import sinkhorn


@pytest.fixture
def scores():
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_assignments_are_those_of_lightly(scores, iterations):
    expected = lightly_sinkhorn(scores, iterations=iterations, epsilon=0.3)
    torch.testing.assert_close(sinkhorn(scores, 0.3, iterations), expected, rtol=1e-12, atol=0)


def test_samples_sum_to_one_and_prototypes_share_them_alike(scores):
    assignments = sinkhorn(scores, 0.3, iterations=200)
    torch.testing.assert_close(assignments.sum(1), torch.ones(12).double())
    torch.testing.assert_close(assignments.sum(0), torch.full((5,), 12 / 5).double())


def test_without_iterations_it_is_the_softmax(scores):
    torch.testing.assert_close(sinkhorn(scores, 0.3, iterations=0), (scores / 0.3).softmax(1))


def test_order_of_the_samples_is_that_of_their_assignments(scores):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sinkhorn(scores[order], 0.3), sinkhorn(scores, 0.3)[order])


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e6])
def test_any_temperature_gives_assignments(scores, temperature):
    """exp(scores / temperature) itself overflows: lightly's loop returns NaN at 1e-3."""
    assignments = sinkhorn(scores.float(), temperature)
    torch.testing.assert_close(assignments.sum(1), torch.ones(12))
    assert (assignments >= 0).all()


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("iterations", [1, 3, 50])
def test_assignments_are_those_of_log_sum_exps_throughout(scores, temperature, iterations):
    """Oracle: both steps of every iteration on logarithms, where lightly's loop has no number to say."""
    logits = scores / temperature
    for _ in range(iterations):
        logits = logits - logits.logsumexp(0)
        logits = logits - logits.logsumexp(1, keepdim=True)
    torch.testing.assert_close(sinkhorn(scores, temperature, iterations), logits.exp(), rtol=1e-9, atol=1e-12)


def test_sample_far_below_the_others_is_assigned_as_well(scores):
    """Its exponentials are all 0 beside the largest: on the matrix itself its row would be 0 / 0."""
    scores[3] -= 1e4
    assert sinkhorn(scores.float())[3].sum().item() == pytest.approx(1)


def test_autocast_does_not_touch_it(scores):
    half = scores.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assignments = sinkhorn(half)
    assert assignments.dtype == torch.float32
    assert torch.equal(assignments, sinkhorn(half.float()))


def test_assignments_are_constants(scores):
    assert not sinkhorn(scores.requires_grad_()).requires_grad


def test_no_sample_has_no_assignments():
    assert sinkhorn(torch.empty(0, 5)).shape == (0, 5)


def test_options_out_of_range_raise(scores):
    with pytest.raises(ValueError, match=r"temperature must be .* got 0"):
        sinkhorn(scores, temperature=0)
    with pytest.raises(ValueError, match=r"N, K\) float, got torch.float64 of shape \(5,\)"):
        sinkhorn(scores[0])
    with pytest.raises(ValueError, match=r"N, K\) float, got torch.int64"):
        sinkhorn(scores.long())
    with pytest.raises(ValueError, match="iterations must be at least 0, got -1"):
        sinkhorn(scores, iterations=-1)


def test_matrices_of_a_stack_are_balanced_one_by_one(scores):
    stack = torch.stack([scores, -scores, scores.flip(1)])
    torch.testing.assert_close(sinkhorn(stack, 0.3), torch.stack([sinkhorn(each, 0.3) for each in stack]))
