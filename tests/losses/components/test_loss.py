"""The base class: options are stored, printed, and passed on in each call with their present values."""

import inspect

import pytest
import torch
from contract import load, module

import ssl_losses
from ssl_losses import LOSSES, MSNLoss, NTXentLoss, nt_xent
from ssl_losses.components.loss import Loss


@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if issubclass(loss, Loss)])
def test_stored_options_are_the_constructor_arguments(name):
    """Oracle: the signatures of the constructor and of the function."""
    loss, given = module(name), load(name).options
    defaults = {option: p.default for option, p in inspect.signature(LOSSES[name]).parameters.items()}
    accepted = inspect.signature(getattr(ssl_losses, name)).parameters
    assert loss.options == {k: v for k, v in (defaults | given).items() if k in accepted}


def test_options_and_shapes_are_printed():
    assert repr(NTXentLoss(0.3)) == "NTXentLoss(temperature=0.3)"
    assert "sinkhorn_iterations=3, mean_entropy=1.0, prototypes=(4, 2)" in repr(MSNLoss(4, 2))


def test_assigned_option_is_used_from_then_on():
    loss, (z1, z2) = NTXentLoss(0.3), torch.randn(2, 8, 4)
    loss.temperature = 0.7
    assert torch.equal(loss(z1, z2), nt_xent(z1, z2, 0.7))
