"""What a loss refuses, and how it computes."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


def check_embeddings(*embeddings: Tensor, views: int = 2, samples: int = 1) -> None:
    """Raise ``ValueError`` unless these are ``views`` or more float tensors of one shape ``(N, D)``, N >= ``samples``."""
    if len(embeddings) < views:
        raise ValueError(f"expected at least {views} views, got {len(embeddings)}: pass one (N, D) tensor for each")
    first = embeddings[0]
    for z in embeddings:
        if z.ndim != 2 or z.shape[1] == 0:
            raise ValueError(
                f"embeddings must be (N, D), got shape {tuple(z.shape)}; z.flatten(1) makes rows of feature maps"
            )
        if not z.is_floating_point():
            raise ValueError(f"embeddings must be floating point, got {z.dtype}; z.float() converts")
        if z.shape != first.shape:
            raise ValueError(
                f"the views must have the same shape, got {tuple(first.shape)} and {tuple(z.shape)}; row i of each is sample i"
            )
    if len(first) < samples:
        raise ValueError(f"the batch must hold at least {samples} samples, got {len(first)}; raise the batch size")


def check_positive(**values: float) -> None:
    """Raise ``ValueError`` for an option that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}")


def check_not_negative(**values: float) -> None:
    """Raise ``ValueError`` for an option below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} must be at least 0, got {value}")


def widened(embeddings: Sequence[Tensor]) -> list[Tensor]:
    """Return the embeddings in float32 at least: sums over a batch are lost in half precision."""
    return [z.float() if z.dtype.itemsize < 4 else z for z in embeddings]


def without_autocast(function: F) -> F:
    """Let a loss compute as it is written, also inside of autocast."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        device = next((value.device.type for value in arguments if isinstance(value, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return function(*arguments, **options)

    return call  # type: ignore[return-value]
