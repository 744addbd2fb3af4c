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


def test_value_worked_out_by_hand():
    eye = torch.eye(4, dtype=torch.float64)
    assert negative_cosine_similarity(eye, eye).item() == pytest.approx(-1)
    assert negative_cosine_similarity(eye, eye.flip(0)).item() == pytest.approx(0)


def test_without_stop_gradient_both_sides_learn():
    a, b = (z.clone().requires_grad_() for z in pair())
    negative_cosine_similarity(a, b, stop_gradient=False).backward()
    assert a.grad.norm() > 0
    assert b.grad.norm() > 0
