"""Modules that stand still for some epochs, or for good. No torch is imported."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ssl_core.config.checks import FOR_GOOD, flat
from ssl_core.config.suggestion import did_you_mean
from ssl_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


class Freeze:
    """Keeps modules as they are: neither gradients, nor weight decay or momentum, nor batch statistics move them.

    A module that is frozen for good wants no gradient (``requires_grad`` is false), which saves its backward pass. One
    that is frozen for some epochs has its gradients taken away before the optimizer sees them, as DINO does with its last
    layer (Caron et al. 2021): the parameters that want a gradient never change, which DDP, a compiled loss and the
    optimizer's state all rely on. An optimizer passes over a parameter without a gradient altogether.

    A frozen module is in evaluation mode: batch normalisation uses the statistics that it has and keeps them, and nothing
    is dropped out.

    Parameters
    ----------
    epochs : dict
        Name of a module, as in ``named_modules()``, e.g. ``backbone.layer1`` -> epochs from the first one on; -1: for good.
        Nested, as a command line makes it of ``optim.freeze.backbone.layer1=-1``, it is the same.
    """

    def __init__(self, epochs: Mapping[str, Any]) -> None:
        self.epochs: dict[str, int] = flat(epochs)
        self._modules: dict[str, nn.Module] = {}

    def begin(self, module: "nn.Module") -> None:
        """Find the modules by their names. Call it before the optimizer is made and the ranks are joined.

        Raises
        ------
        ConfigError
            (a ValueError) For a name that is not there or has no parameters, or if nothing is left to train.
        """
        known = {name: each for name, each in module.named_modules() if name and any(True for _ in each.parameters())}
        for name, epochs in self.epochs.items():
            if name not in known:
                hint = did_you_mean(name, known) or f"; expected one of {', '.join(map(repr, known))}"
                raise ConfigError(f"optim.freeze.{name}={epochs}: there is no such module with parameters{hint}")
            self._modules[name] = known[name]
        for name, epochs in self.epochs.items():
            if epochs == FOR_GOOD:
                self._modules[name].requires_grad_(False)
        still = {parameter for each in self._frozen(epoch=0) for parameter in each.parameters()}
        if self.epochs and not any(each.requires_grad and each not in still for each in module.parameters()):
            raise ConfigError(f"optim.freeze={self.epochs}: nothing is left to train in the first epoch")

    def set_mode(self, epoch: int) -> None:
        """Put what is frozen in this epoch into evaluation mode. Call it after ``train()``."""
        for module in self._frozen(epoch):
            module.eval()

    def cancel_gradients(self, epoch: int) -> None:
        """Take the gradients of what is frozen in this epoch away. Call it between the backward pass and the norm."""
        for module in self._frozen(epoch):
            for parameter in module.parameters():
                parameter.grad = None

    def _frozen(self, epoch: int) -> "Iterator[nn.Module]":
        for name, epochs in self.epochs.items():
            if epochs == FOR_GOOD or epoch < epochs:
                yield self._modules[name]
