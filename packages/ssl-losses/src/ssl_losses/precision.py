"""The precision a loss computes in: float32 at least, also inside of autocast."""

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def widened(embeddings: Sequence[Tensor]) -> list[Tensor]:
    """Return the embeddings in one type, float32 at least: sums over a batch are lost in half precision."""
    dtype = reduce(torch.promote_types, (z.dtype for z in embeddings), torch.float32)
    return [z.to(dtype) for z in embeddings]


def without_autocast(function: F) -> F:
    """Let a loss compute as it is written, also inside of autocast."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        tensors = (value for value in (*arguments, *options.values()) if isinstance(value, Tensor))
        device = next((tensor.device.type for tensor in tensors), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]
