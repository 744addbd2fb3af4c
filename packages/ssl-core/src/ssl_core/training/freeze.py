"""Freeze modules or parameter groups for some epochs or for the whole run."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from ssl_core.config.checks import FOR_GOOD, flat
from ssl_core.config.suggestion import close_names
from ssl_core.errors import ConfigError
from ssl_core.optimizers.param_groups import ParameterGroup


class Freeze:
    """Frozen modules: no gradient, weight decay, momentum or batch statistics changes them.

    A module that is frozen for the whole run has ``requires_grad=False``, which saves its backward pass. For one that is
    frozen for some epochs, gradients are removed before the optimizer step, as DINO does for its last layer (Caron et al.
    2021). The set of parameters that require a gradient stays constant: DDP, a compiled loss and the optimizer state rely on
    it. An optimizer skips parameters without a gradient.

    A frozen module is in evaluation mode: batch normalization uses its running statistics and keeps them, dropout is off.

    Parameters
    ----------
    epochs : dict
        ``optim.freeze``: name of a module, as in ``named_modules()``, e.g. ``backbone.layer1`` -> number of first epochs; -1:
        the whole run. It may be nested, as the command line makes it of ``optim.freeze.backbone.layer1=-1``.
    """

    def __init__(self, epochs: Mapping[str, Any]) -> None:
        self.epochs: dict[str, int] = flat(epochs)
        self._modules: list[tuple[nn.Module, int]] = []  # modules, since fsdp replaces parameters
        self._parameters: list[tuple[list[nn.Parameter], int]] = []  # of groups

    def begin(self, model: nn.Module) -> None:
        """Find the modules by their names. Called before the optimizer is created and the model is wrapped or sharded.

        Raises a ConfigError for an unknown name, a module without parameters, or if nothing is left to train at first.
        """
        known = {name: each for name, each in model.named_modules() if name and any(True for _ in each.parameters())}
        for name, epochs in self.epochs.items():
            if name not in known:
                near = close_names(name, known)
                raise ConfigError(
                    "there is no such module with parameters", key=f"optim.freeze.{name}", value=epochs,
                    expected=[] if near else [*known], suggestion=near[0] if near else None,
                )  # fmt: skip
            self._modules.append((known[name], epochs))
            if epochs == FOR_GOOD:
                known[name].requires_grad_(False)
        if self.epochs:
            self._check_something_is_trained(model, f"optim.freeze={self.epochs}")

    def add_groups(self, model: nn.Module, groups: list[ParameterGroup]) -> None:
        """Freeze parameter groups for their ``frozen_epochs``, and with them each module whose parameters are all in one."""
        for group in groups:
            if group.frozen_epochs:
                self._parameters.append((group.params, group.frozen_epochs))
                for module in model.modules():
                    parameters = list(module.parameters())
                    if parameters and set(group.params).issuperset(parameters):
                        self._modules.append((module, group.frozen_epochs))
        if self._parameters:
            self._check_something_is_trained(model, "frozen_epochs of parameter_groups()")

    def set_mode(self, epoch: int) -> None:
        """Put the modules that are frozen in this epoch into evaluation mode. Called after ``train()``."""
        for module, epochs in self._modules:
            if _is_frozen(epochs, epoch):
                module.eval()

    def cancel_gradients(self, epoch: int) -> None:
        """Remove the gradients of the parameters that are frozen in this epoch. Called after the backward pass."""
        for parameter in self._frozen_parameters(epoch):
            parameter.grad = None

    def _frozen_parameters(self, epoch: int) -> Iterator[nn.Parameter]:
        for module, epochs in self._modules:
            if _is_frozen(epochs, epoch):
                yield from module.parameters()
        for parameters, epochs in self._parameters:
            if _is_frozen(epochs, epoch):
                yield from parameters

    def _check_something_is_trained(self, model: nn.Module, setting: str) -> None:
        frozen = set(self._frozen_parameters(epoch=0))
        if not any(parameter.requires_grad and parameter not in frozen for parameter in model.parameters()):
            raise ConfigError(f"{setting}: nothing is left to train in the first epoch")


def _is_frozen(epochs: int, epoch: int) -> bool:
    return epochs == FOR_GOOD or epoch < epochs
