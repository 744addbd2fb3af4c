"""What optimizers that go layer by layer do with many parameters at once."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Parameters at once on a processor: their state is still in its cache for the next of a step's many passes
_IN_CACHE = 4


def group_tensors(parameters: list[Tensor]) -> list[list[Tensor]]:
    """Return the parameters with a gradient, those together that one foreach call can take and one rule is for.

    The rule: parameters of at most one dimension (biases, normalisation) are not adapted, all others are.
    """
    together: dict[tuple[torch.device, torch.dtype, bool], list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            together.setdefault((parameter.device, parameter.dtype, parameter.ndim > 1), []).append(parameter)
    return [
        each[first : first + length]
        for (device, *_), each in together.items()
        for length in (_IN_CACHE if device.type == "cpu" else len(each),)
        for first in range(0, len(each), length)
    ]


def evaluate_closure(closure: Callable[[], Any] | None) -> Any:
    """Return what a step's closure gives, with gradients; None where there is none."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def norms(tensors: list[Tensor]) -> Tensor:
    """Return the Euclidean norms, ``(len(tensors),)``, summed in float32 where the tensors are narrower."""
    dtype = torch.float32 if tensors[0].dtype.itemsize < 4 else None
    return torch.stack(torch._foreach_norm(tensors, 2, dtype=dtype))
