"""From a name to an optimizer."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ssl_core.config import OPTIMIZERS
from ssl_core.config.suggestion import did_you_mean
from ssl_core.errors import ConfigError
from ssl_core.optimizers.lamb import LAMB
from ssl_core.optimizers.lars import LARS
from ssl_core.optimizers.muon import Muon, muon_groups
from ssl_core.optimizers.param_groups import parameter_groups
from ssl_core.optimizers.rates import keep_initial_rates

_OURS = {
    "LAMB": LAMB,
    "LARS": LARS,
    "Muon": Muon,
}  # torch's Muon moves matrices only, and refuses biases and convolutions
_REFUSED = {
    "LBFGS": "it calls the loss several times in a step, which a run with one loss a batch cannot give it",
    "SparseAdam": "it takes sparse gradients only, and a backbone's are dense",
}


def optimizer_names() -> tuple[str, ...]:
    """Return the names that :func:`build_optimizer` takes: ``torch.optim``'s that a plain step drives, and our own."""
    return OPTIMIZERS


def build_optimizer(
    module: nn.Module | Iterable[dict[str, Any]],
    name: str,
    lr: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """Return the optimizer of this name for a module's trainable parameters, or for given groups.

    Parameters
    ----------
    module : nn.Module or iterable of dict
        A module is split by :func:`parameter_groups`: biases and normalisation parameters are never decayed. Groups are
        taken as they are; a group without a ``weight_decay`` or an ``lr`` gets the one given here.
    name : str
        One of :func:`optimizer_names`, spelt as the class is.
    lr : float
        Peak learning rate, also kept as ``initial_lr`` in every group: see :func:`~ssl_core.optimizers.set_rates`.
    weight_decay : float
        In the optimizer's own sense: an L2 penalty (SGD, Adam, LARS, ...) or decoupled (AdamW, LAMB, Muon). A
        non-zero one is refused by those that have none (Rprop), rather than forgotten.
    momentum : float
        Given to those that have a ``momentum`` (LARS, Muon, RMSprop, SGD); Adam's betas and the like keep their defaults.
    layer_decay : float
        Of the learning rate, from each layer of ``module.backbone`` to the one below it; 1: none. Given groups have theirs.

    Returns
    -------
    torch.optim.Optimizer
        Its groups hold plain numbers, its ``state_dict()`` loads with ``weights_only=True``.

    Raises
    ------
    ConfigError
        (a ValueError) For an unknown or refused name, a value that the optimizer refuses, or nothing to train.

    Notes
    -----
    ``fused=True`` is left out on purpose: torch's fused CPU kernels ignore strides, so that an optimizer's state saved
    from a contiguous model and loaded for a channels_last one would move the wrong weights without a word (torch 2.15).

    Examples
    --------
    >>> optimizer = build_optimizer(nn.Linear(3, 2), "SGD", lr=0.1, weight_decay=1e-4)
    >>> [group["weight_decay"] for group in optimizer.param_groups]
    [0.0001, 0.0]
    """
    kind = _kind(name)
    known = inspect.signature(kind).parameters
    if weight_decay and "weight_decay" not in known:
        raise ConfigError(f"optim.weight_decay={weight_decay}: {name} has no weight decay; set optim.weight_decay=0")
    groups: list[Any]
    if isinstance(module, nn.Module):
        groups = parameter_groups(module, weight_decay, lr, layer_decay)
        groups = muon_groups(groups, module) if name == "Muon" else groups
    else:
        groups = list(module)
    if not any(_has_parameters(group) for group in groups):
        raise ConfigError(f"optim.optimizer={name!r}: there is nothing to train, no parameter requires a gradient")
    offered = {"lr": float(lr), "weight_decay": float(weight_decay), "momentum": float(momentum)}
    try:
        optimizer = kind(groups, **{option: value for option, value in offered.items() if option in known})
    except ValueError as error:
        raise ConfigError(
            f"optim.optimizer={name!r} refuses optim.lr={lr}, optim.weight_decay={weight_decay} or "
            f"optim.momentum={momentum}: {error}"
        ) from error
    keep_initial_rates(optimizer)
    return optimizer


def _kind(name: str) -> Any:
    """Return the class."""
    if name in _REFUSED:
        raise ConfigError(f"optim.optimizer={name!r}: {_REFUSED[name]}; choose one of {_quoted(optimizer_names())}")
    if name not in optimizer_names():
        hint = did_you_mean(name, (*optimizer_names(), *_REFUSED))
        raise ConfigError(f"optim.optimizer={name!r}: expected one of {_quoted(optimizer_names())}{hint}")
    return _OURS.get(name) or getattr(torch.optim, name)


def _has_parameters(group: Any) -> bool:
    return not isinstance(group, dict) or bool(group["params"])


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
