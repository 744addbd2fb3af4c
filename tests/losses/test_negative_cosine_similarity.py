"""Negative cosine similarity beyond the contract."""

import pytest
import torch
from views import pair

from ssl_losses import negative_cosine_similarity


def test_lightly_agrees():
    """Oracle: lightly 1.6."""
    from lightly.loss import NegativeCosineSimilarity

    a, b = (z.float() for z in pair())
    torch.testing.assert_close(negative_cosine_similarity(a, b), NegativeCosineSimilarity()(a, b), rtol=1e-5, atol=1e-6)


def test_value_equals_manual_calculation():
    eye = torch.eye(4, dtype=torch.float64)
    assert negative_cosine_similarity(eye, eye).item() == pytest.approx(-1)
    assert negative_cosine_similarity(eye, eye.flip(0)).item() == pytest.approx(0)


def test_without_stop_gradient_both_sides_learn():
    a, b = (z.clone().requires_grad_() for z in pair())
    negative_cosine_similarity(a, b, stop_gradient=False).backward()
    assert a.grad.norm() > 0
    assert b.grad.norm() > 0


def views(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(6, 5, generator=generator) for _ in range(4)]


def test_target_is_the_mean_of_the_other_views_as_in_fastsiam():
    """Oracle: lightly 1.6, in the loop of its example of FastSiam."""
    from lightly.loss import NegativeCosineSimilarity

    predictions, targets, plain = views(0), torch.stack(views(1)), NegativeCosineSimilarity()
    expected = sum(plain(predictions[v], targets[torch.arange(4) != v].mean(0)) for v in range(4)) / 4
    torch.testing.assert_close(negative_cosine_similarity(predictions, list(targets)), expected)


def test_two_views_are_the_mean_of_the_two_directions():
    (p1, p2, *_), (z1, z2, *_) = views(0), views(1)
    expected = (negative_cosine_similarity(p1, z2) + negative_cosine_similarity(p2, z1)) / 2
    torch.testing.assert_close(negative_cosine_similarity([p1, p2], [z1, z2]), expected)


def test_targets_of_views_are_constants():
    predictions, targets = ([z.requires_grad_() for z in views(seed)] for seed in range(2))
    negative_cosine_similarity(predictions, targets).backward()
    assert all(p.grad.norm() > 0 for p in predictions)
    assert all(z.grad is None for z in targets)


def test_other_numbers_of_predictions_and_targets_raise():
    with pytest.raises(ValueError, match="a target for each prediction, got 4 predictions and 3 targets"):
        negative_cosine_similarity(views(0), views(1)[:3])
    with pytest.raises(ValueError, match="got 1 predictions and 4 targets"):
        negative_cosine_similarity(views(0)[0], views(1))
