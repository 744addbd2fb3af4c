"""Small temperatures, half precision, degenerate batches, bad input: a finite result or an error that says why."""

import subprocess
import sys

import pytest
import torch

from ssl_losses import LOSSES, NTXentLoss, barlow_twins, nt_xent, vicreg, w_mse


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", LOSSES)
def test_autocast_and_half_precision_inputs_stay_finite_and_near(name, dtype):
    torch.manual_seed(0)
    a = torch.randn(32, 8)
    b = a + 0.3 * torch.randn(32, 8)
    loss = NTXentLoss(temperature=0.01) if name == "nt_xent" else LOSSES[name]()
    half = [z.to(dtype).requires_grad_() for z in (a, b)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(*half)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(half[0].grad).all()
    assert value.item() == pytest.approx(loss(*(z.detach().float() for z in half)).item(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1e-3, 0.01, 100.0])
def test_any_temperature_is_finite_forward_and_backward(temperature):
    torch.manual_seed(0)
    a, b = torch.randn(16, 4, requires_grad=True), torch.randn(16, 4)
    loss = nt_xent(a, b, temperature)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("batch", ["zero", "constant", "wide"])
def test_degenerate_batches_are_finite_or_say_why(name, batch):
    made = {"zero": torch.zeros(8, 4), "constant": torch.ones(8, 4), "wide": torch.randn(4, 16)}[batch].requires_grad_()
    if name == "w_mse" and batch == "wide":
        with pytest.raises(ValueError, match=r"whitening D=16 dimensions needs more samples.*got 4"):
            LOSSES[name]()(made, made.detach())
        return
    loss = LOSSES[name]()(made, made.detach())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(made.grad).all()


def test_one_sample():
    one = torch.randn(1, 4)
    for loss in (barlow_twins, nt_xent, vicreg):
        with pytest.raises(ValueError, match="at least 2 samples, got 1"):
            loss(one, one)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.randn(4, 3), torch.randn(5, 3), r"same shape, got \(4, 3\) and \(5, 3\)"),
        (torch.randn(4, 3), torch.randn(4, 2), r"same shape, got \(4, 3\) and \(4, 2\)"),
        (torch.randn(4, 3, 2), torch.randn(4, 3, 2), r"\(N, D\), got shape \(4, 3, 2\).*flatten"),
        (torch.ones(4, 3, dtype=torch.int64), torch.ones(4, 3), r"floating point, got torch.int64.*float\(\)"),
    ],
)
def test_bad_shapes_and_types_name_both_values_and_the_way_out(name, a, b, message):
    with pytest.raises(ValueError, match=message):
        LOSSES[name]()(a, b)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused_at_once(temperature):
    with pytest.raises(ValueError, match="temperature must be finite and at least 1e-06"):
        NTXentLoss(temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be finite and at least 1e-06"):
        nt_xent(torch.ones(2, 2), torch.ones(2, 2), temperature)


def test_other_options_are_checked_as_well():
    z = torch.randn(8, 2)
    with pytest.raises(ValueError, match="redundancy must be finite and at least 0, got -1"):
        barlow_twins(z, z, redundancy=-1.0)
    with pytest.raises(ValueError, match="variance must be finite and at least 0, got -2"):
        vicreg(z, z, variance=-2.0)
    with pytest.raises(ValueError, match="whitening_size must be at least 2, got 0"):
        w_mse(z, z, whitening_size=0)
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        vicreg(z)


@pytest.mark.parametrize("name", LOSSES)
def test_compiles_without_a_graph_break(name):
    """Oracle: the eager loss. ``fullgraph`` makes a graph break an error."""
    torch.manual_seed(0)
    a, b = torch.randn(16, 4), torch.randn(16, 4)
    loss = LOSSES[name]()
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(a, b), loss(a, b))


def test_importing_brings_torch_and_nothing_else():
    """numpy may come with torch; nothing that torch alone would not bring may come with us."""
    code = "import sys, torch; before = set(sys.modules); import ssl_losses; print(*sorted(set(sys.modules) - before))"
    brought = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in brought} == {"ssl_losses"}
