"""The custom operators: what they cost, and what they refuse."""

import subprocess
import sys

import pytest
import torch

from ssl_losses.similarity.logsumexp import logsumexp


def test_first_loss_does_not_wait_for_an_import_of_the_compiler():
    """``torch.library.custom_op`` would import torch._dynamo and sympy here: seconds."""
    code = """
import sys, torch, ssl_losses
z = torch.randn(4, 3, requires_grad=True)
ssl_losses.nt_xent(z, z.detach()).backward()
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", "False"]


@pytest.mark.parametrize("wanted", ["queries", "keys"])
def test_unneeded_gradient_is_skipped_and_the_other_is_right(wanted):
    """Oracle: torch.logsumexp of the whole matrix."""
    queries, keys = torch.randn(2, 6, 3, dtype=torch.float64)
    x = (queries if wanted == "queries" else keys).requires_grad_()
    ours = torch.autograd.grad(logsumexp(queries, keys, 2.0, torch.empty(6, 0, dtype=torch.int64)).sum(), x)
    theirs = torch.autograd.grad((2 * queries @ keys.T).logsumexp(1).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
