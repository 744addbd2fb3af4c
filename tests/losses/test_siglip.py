"""SigLIP beyond the contract. lightly 1.6 does not have it."""

import math

import pytest
import torch
import torch.nn.functional as F
from views import pair

from ssl_losses import SigLIPLoss, siglip
from ssl_losses.similarity import tiles
from ssl_losses.similarity.softplus_sum import softplus_sum


def whole(z1, z2, logit_scale, logit_bias):
    """The whole matrix of logits, and torch's binary cross-entropy."""
    logits = F.normalize(z1) @ F.normalize(z2).T * logit_scale + logit_bias
    labels = torch.eye(len(z1), dtype=logits.dtype)
    return F.binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(z1)


@pytest.mark.parametrize("tile_rows", [3, 4, 100])
def test_value_and_gradients_are_those_of_the_whole_matrix(monkeypatch, tile_rows):
    """Oracle: torch's binary cross-entropy, through autograd; of the views, the scale and the bias."""
    monkeypatch.setitem(tiles.TILE_ROWS, "cpu", tile_rows)
    options = (torch.tensor(4.0, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64))
    inputs = [x.requires_grad_() for x in (*pair(), *options)]
    ours, theirs = siglip(*inputs), whole(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for one, other in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs)):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_value_equals_manual_calculation():
    """Two orthogonal pairs, t = 2, b = -1: the pair's logit is 1, the other's -1."""
    eye = torch.eye(2, dtype=torch.float64)
    assert siglip(eye, eye, 2.0, -1.0).item() == pytest.approx(2 * math.log(1 + math.exp(-1)))


def test_it_starts_as_the_paper_does():
    """t = 10 and b = -10: of orthogonal images each pair costs log 2, each other one about e^-10."""
    eye = torch.eye(4, dtype=torch.float64)
    assert SigLIPLoss()(eye, eye).item() == pytest.approx(math.log(2) + 3 * math.log(1 + math.exp(-10)), rel=1e-6)


def test_it_learns_the_logarithm_of_the_scale_and_the_bias():
    loss = SigLIPLoss()
    assert {name for name, _ in loss.named_parameters()} == {"log_scale", "logit_bias"}
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e-3)
    before = loss(*pair())
    before.backward()
    optimizer.step()
    assert loss(*pair()) < before


@pytest.mark.parametrize("scale", [1e-3, 10.0, 1e4])  # the gradient grows with it, and fp16 ends at 65504
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_finite_at_any_scale(dtype, scale):
    z1, z2 = (z.to(dtype) for z in pair())
    z1.requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = siglip(z1, z2, logit_scale=scale)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert z1.grad.isfinite().all()


def test_it_compiles_without_a_graph_break():
    """Oracle: the eager loss. As a function of its scale and bias; the module has parameters."""
    inputs = [*pair(), torch.tensor(4.0, dtype=torch.float64), torch.tensor(-2.0, dtype=torch.float64)]
    inputs = [x.requires_grad_() for x in inputs]
    compiled = torch.compile(siglip, fullgraph=True, backend="aot_eager")(*inputs)
    ours, theirs = (torch.autograd.grad(value, inputs) for value in (compiled, siglip(*inputs)))
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other)


def test_sums_of_softplus_are_exact_far_beyond_torchs_threshold():
    """Oracle: log(1 + e^x) = x + log(1 + e^-x), of products from -50 to 50; torch's softplus is x from 20 on."""
    x = torch.linspace(-50, 50, 101, dtype=torch.float64)
    expected = x.clamp_min(0) + torch.log1p(torch.exp(-x.abs()))
    nobody = torch.empty(101, 0, dtype=torch.int64)
    found = softplus_sum(x.unsqueeze(1), torch.ones(1, 1, dtype=torch.float64), nobody)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-30)


def test_options_out_of_range_raise():
    with pytest.raises(ValueError, match="logit_scale must be finite and above 0, got 0"):
        SigLIPLoss(logit_scale=0.0)
    with pytest.raises(ValueError, match="logit_bias must be finite, got nan"):
        siglip(*pair(), logit_bias=math.nan)
