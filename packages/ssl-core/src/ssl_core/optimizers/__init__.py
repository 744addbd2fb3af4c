"""Optimizers by name: any of ``torch.optim`` that a plain ``step()`` drives, and LARS."""

from ssl_core.optimizers.build import build_optimizer, optimizer_names
from ssl_core.optimizers.lars import LARS
from ssl_core.optimizers.parameter_groups import parameter_groups
from ssl_core.optimizers.rates import set_rates

__all__ = ["LARS", "build_optimizer", "optimizer_names", "parameter_groups", "set_rates"]
