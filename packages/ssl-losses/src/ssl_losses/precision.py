"""The precision a loss computes in: float32 at least, also inside of autocast."""

import inspect
from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from ssl_losses.checks import problem_with_type
from ssl_losses.distributed import agree_on

F = TypeVar("F", bound=Callable[..., Any])


def widened(embeddings: Sequence[Tensor]) -> list[Tensor]:
    """Return the embeddings in one type, float32 at least: sums over a batch are lost in half precision."""
    if all(z.dtype == torch.float32 for z in embeddings):  # nearly always, and in each step
        return list(embeddings)
    dtype = reduce(torch.promote_types, (z.dtype for z in embeddings), torch.float32)
    return [z.to(dtype) for z in embeddings]


def widen(embeddings: Tensor) -> Tensor:
    """Return the embeddings in float32 at least."""
    return widened([embeddings])[0]


def without_autocast(function: F) -> F:
    """Disable autocast inside a loss, and raise ``ValueError`` for an array or a list of numbers in place of a tensor."""
    parameters = inspect.signature(function).parameters.values()
    positional = [parameter.name for parameter in parameters if parameter.kind is not parameter.KEYWORD_ONLY]
    of_tensors = frozenset(parameter.name for parameter in parameters if "Tensor" in str(parameter.annotation))

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        last = len(positional) - 1  # all of *views have one name
        named = [(positional[min(i, last)], value) for i, value in enumerate(arguments)]
        for name, value in (*named, *options.items()):
            problem = problem_with_type(name, value) if name in of_tensors else None
            if problem is not None:
                agree_on((), problem)  # the other ranks do not wait for this one
        with torch.autocast(_device_type((*arguments, *options.values())) or "cpu", enabled=False):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]


def _device_type(values: Sequence[Any]) -> str | None:
    """Return where the first tensor is, among the values or in lists of them, as views may come."""
    for value in values:
        if isinstance(value, Tensor):
            return value.device.type
        if isinstance(value, (list, tuple)):  # torch 2.4 cannot compile list | tuple
            found = _device_type(value)
            if found is not None:
                return found
    return None
