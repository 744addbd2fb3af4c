"""What LAMB, LARS and Muon share: checks of their options, state, and updates by ``torch._foreach_*``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Number of parameters updated together on a CPU, so that their state stays in the cache between the passes of a step
_CPU_CHUNK = 4


class LayerWise(torch.optim.Optimizer):
    """Base class of optimizers that scale the step of each layer by its norms. Subclasses define :meth:`_step`."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have a gradient; return the loss of the closure, if there is one."""
        loss = evaluate_closure(closure)
        for group in self.param_groups:
            for parameters in _chunks(group["params"]):
                self._step(parameters, [parameter.grad for parameter in parameters], group)  # type: ignore[misc]
        return loss

    def _step(self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        """Update parameters of one device and one dtype; either all have more than one dimension or none has."""
        raise NotImplementedError


def _chunks(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Return the parameters with a gradient in lists for one foreach call each: one device, one dtype, one update rule.

    Parameters of at most one dimension (biases, normalization) have their own rule: their step is not scaled.
    """
    together: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            together.setdefault((parameter.device, parameter.dtype, parameter.ndim > 1), []).append(parameter)
    return [
        each[first : first + length]
        for (device, *_), each in together.items()
        for length in (_CPU_CHUNK if device.type == "cpu" else len(each),)
        for first in range(0, len(each), length)
    ]


def check_options(optimizer: str, betas: tuple[float, ...] = (), **options: float) -> None:
    """Raise a ValueError for a negative option, or for a momentum or a beta of 1 or more."""
    for name, value in options.items():
        if not value >= 0:  # also rejects NaN
            raise ValueError(f"{optimizer}: {name}={value}: expected at least 0")
    if options.get("momentum", 0) >= 1:
        raise ValueError(f"{optimizer}: momentum={options['momentum']}: expected less than 1")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{optimizer}: betas={betas}: expected two numbers of at least 0 and less than 1")


def state_of(optimizer: torch.optim.Optimizer, parameters: list[Tensor], name: str) -> list[Tensor]:
    """Return a state of each parameter, zeros at first: of its shape, or a scalar on the CPU for the count ``"step"``."""
    for parameter in parameters:
        if name not in optimizer.state[parameter]:
            zeros = (
                torch.zeros(()) if name == "step" else torch.zeros_like(parameter, memory_format=torch.preserve_format)
            )
            optimizer.state[parameter][name] = zeros
    return [optimizer.state[parameter][name] for parameter in parameters]


def evaluate_closure(closure: Callable[[], Any] | None) -> Any:
    """Return the result of an optimizer's closure, computed with gradients; None without a closure."""
    with torch.enable_grad():
        return closure and closure()


def norms(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norms, ``(len(tensors),)``, summed in float32 at least."""
    dtype = torch.float32 if tensors[0].dtype.itemsize < 4 else None
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=dtype))
