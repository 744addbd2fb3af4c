"""Build an optimizer from its name and options."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ssl_core.config import OptimConfig
from ssl_core.config.validation import check_groups
from ssl_core.errors import ConfigError, MethodError
from ssl_core.optimizers.lamb import LAMB
from ssl_core.optimizers.lars import LARS
from ssl_core.optimizers.muon import Muon, muon_groups
from ssl_core.optimizers.param_groups import ParameterGroup, split_groups
from ssl_core.schedules import keep_initial_rates

_OURS = {"LAMB": LAMB, "LARS": LARS, "Muon": Muon}  # torch's Muon raises for biases and convolutions
_OPTIONS = ("lr", "weight_decay", "momentum", "betas", "nesterov", "trust_coefficient", "clip")


def build_optimizer(
    module: nn.Module, optim: OptimConfig, groups: Sequence[ParameterGroup] | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer ``optim.optimizer`` for the trainable parameters of a module.

    Parameters
    ----------
    module : nn.Module
        The model. It needs a module ``backbone`` if ``optim.layer_decay`` is below 1.
    optim : OptimConfig
        Name and options of the optimizer. Every option that the optimizer takes is passed on; an option that is None keeps
        the default of the optimizer.
    groups : sequence of ParameterGroup, optional
        From :func:`~ssl_core.optimizers.param_groups.check_parameter_groups`; the optimizer has those of
        :func:`~ssl_core.optimizers.param_groups.split_groups`. Default: one group of all parameters.

    Raises
    ------
    ConfigError
        For an invalid name, value or combination, or if no parameter requires a gradient.
    MethodError
        For ``betas`` of a group if the optimizer has none.

    Notes
    -----
    ``fused=True`` is not used: torch's fused CPU kernels ignore strides, so that optimizer state saved from a contiguous
    model and loaded for a channels_last one would update the wrong weights (torch 2.15).

    Examples
    --------
    >>> optimizer = build_optimizer(nn.Linear(3, 2), OptimConfig(optimizer="SGD", lr=0.1, weight_decay=1e-4))
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.0001, 0.0]
    """
    check_groups({"optim": optim})
    name = optim.optimizer
    kind: Any = _OURS.get(name) or getattr(torch.optim, name)
    known = inspect.signature(kind).parameters
    for number, group in enumerate(groups or ()):
        if group.betas is not None and "betas" not in known:
            raise MethodError(
                f"{type(module).__name__}.parameter_groups()[{number}].betas={list(group.betas)}: optim.optimizer={name!r} "
                "has no betas; remove them"
            )
    split: list[dict[str, Any]] = split_groups(module, groups, optim.lr, optim.weight_decay, optim.layer_decay)
    if name == "Muon":
        split = muon_groups(split, module)
    if not split:
        raise ConfigError(f"optim.optimizer={name!r}: no parameter requires a gradient, there is nothing to train")
    options = {option: getattr(optim, option) for option in _OPTIONS if option in known}
    if options.get("betas") is not None:
        options["betas"] = tuple(options["betas"])
    try:
        optimizer = kind(split, **{option: value for option, value in options.items() if value is not None})
    except ValueError as error:
        given = ", ".join(f"optim.{option}={value}" for option, value in options.items())
        raise ConfigError(f"optim.optimizer={name!r} does not accept {given}: {error}") from error
    keep_initial_rates(optimizer)
    return optimizer
