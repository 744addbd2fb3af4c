"""Optimizers by name: those of ``torch.optim`` that need only ``step()``, and LAMB, LARS and Muon."""

from ssl_core.optimizers.factory import build_optimizer
from ssl_core.optimizers.lamb import LAMB
from ssl_core.optimizers.lars import LARS
from ssl_core.optimizers.muon import Muon
from ssl_core.optimizers.param_groups import (
    ParameterGroup,
    check_parameter_groups,
    group_schedules,
    other_parameters,
    split_groups,
)

__all__ = [
    "LAMB",
    "LARS",
    "Muon",
    "ParameterGroup",
    "build_optimizer",
    "check_parameter_groups",
    "group_schedules",
    "other_parameters",
    "split_groups",
]
