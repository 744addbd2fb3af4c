"""CLIP beyond the contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import CLIPLoss, clip


def plain(images, texts, scale):
    """Two cross-entropies over the whole matrix of logits, as the paper's listing has them."""
    logits = scale * F.normalize(images) @ F.normalize(texts).T
    labels = torch.arange(len(images))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def test_tensor_as_scale_learns():
    """Oracle: autograd through the whole matrix. What a model of open_clip returns is such a tensor."""
    ours, theirs = ([*(z.clone().requires_grad_() for z in pair()), torch.tensor(2.0).double()] for _ in range(2))
    for inputs, function in ((ours, clip), (theirs, plain)):
        function(inputs[0], inputs[1], inputs[2].requires_grad_().exp()).backward()
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-14)


def test_value_equals_manual_calculation():
    eye = torch.eye(3, dtype=torch.float64)
    assert clip(eye, eye, 1.0).item() == pytest.approx(math.log(1 + 2 / math.e))


def test_learned_scale_stays_below_the_papers_limit():
    criterion = CLIPLoss(logit_scale=1000.0)
    criterion(*pair()).backward()
    assert criterion.log_scale.exp().item() == pytest.approx(100)
    assert criterion.log_scale.grad is not None


def test_evaluation_leaves_the_scale_alone():
    criterion = CLIPLoss(logit_scale=1000.0).eval()
    criterion(*pair())
    assert criterion.log_scale.exp().item() == pytest.approx(1000)


@pytest.mark.parametrize("logit_scale", [0.0, -1.0, float("inf")])
def test_illegal_scale_raises(logit_scale):
    with pytest.raises(ValueError, match=f"logit_scale must be finite and above 0, got {logit_scale}"):
        clip(*pair(), logit_scale=logit_scale)
    with pytest.raises(ValueError, match="logit_scale must be finite and above 0"):
        CLIPLoss(logit_scale=logit_scale)


def test_function_compiles_without_a_graph_break():
    compiled = torch.compile(clip, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*pair(), logit_scale=10.0), clip(*pair(), logit_scale=10.0))
