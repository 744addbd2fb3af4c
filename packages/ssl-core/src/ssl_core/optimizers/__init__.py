"""Optimizers by name: any of ``torch.optim`` that a plain ``step()`` drives, and LAMB, LARS, Muon."""

from ssl_core.optimizers.factory import build_optimizer, optimizer_names
from ssl_core.optimizers.lamb import LAMB
from ssl_core.optimizers.lars import LARS
from ssl_core.optimizers.muon import Muon
from ssl_core.optimizers.param_groups import parameter_groups
from ssl_core.optimizers.rates import keep_initial_rates, set_rates

__all__ = [
    "LAMB",
    "LARS",
    "Muon",
    "build_optimizer",
    "keep_initial_rates",
    "optimizer_names",
    "parameter_groups",
    "set_rates",
]
