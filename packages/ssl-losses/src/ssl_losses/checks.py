"""Checks of the arguments of losses. Errors are one line with the value and the remedy."""

import math
from typing import Any

from torch import Tensor

from ssl_losses.distributed import agree_on, world_size

LOWEST_TEMPERATURE = 1e-6  # float32 tells similarities apart by 6e-8: below this the logits are rounding errors


class BatchSizeError(ValueError):
    """The global batch holds fewer samples than the loss needs."""


def check_embeddings(*embeddings: Tensor, views: int = 2, samples: int = 1, problem: str | None = None) -> None:
    """Raise ``ValueError`` unless every rank holds ``views`` or more float tensors of one and the same shape ``(N, D)``.

    ``samples`` is the least number of samples in the global batch: with fewer a :class:`BatchSizeError` is raised.
    ``problem`` is what the caller has found wrong with its other arguments on this rank. The ranks agree before any of them
    raises or continues, so that a rank's bad batch does not leave the others waiting in a collective.
    """
    agree_on(embeddings, problem_with_embeddings(embeddings, views) or problem)
    total = len(embeddings[0]) * world_size()
    if total < samples:
        raise BatchSizeError(f"the batch must hold at least {samples} samples, got {total}; raise the batch size")


def problem_with_embeddings(embeddings: tuple[Tensor, ...], views: int = 2) -> str | None:
    """Return what is wrong with this rank's embeddings, if anything."""
    if len(embeddings) < views:
        return f"expected at least {views} views, got {len(embeddings)}: pass one (N, D) tensor for each"
    first = embeddings[0]
    for z in embeddings:
        if not isinstance(z, Tensor):
            stack = f"embeddings: expected tensors, got {type(z).__name__}; torch.stack joins a list of tensors"
            return problem_with_type("embeddings", z) or stack
        if z.ndim != 2 or z.shape[1] == 0:
            return f"embeddings must be (N, D), got shape {tuple(z.shape)}; z.flatten(1) makes rows of feature maps"
        if not z.is_floating_point():
            return f"embeddings must be floating point, got {z.dtype}; z.float() converts"
        if z.shape != first.shape:
            return (
                f"the views must have the same shape, got {tuple(first.shape)} and {tuple(z.shape)}; "
                "row i of each is sample i"
            )
    if len(first) == 0:
        return f"the batch must hold samples, got shape {tuple(first.shape)}; skip empty batches"
    return None


def problem_with_type(name: str, value: Any) -> str | None:
    """Return what is wrong with an argument that is an array or a list of numbers, or a list of these, if anything."""
    if isinstance(value, Tensor):
        return None
    if isinstance(value, (list, tuple)):  # torch 2.4 cannot compile list | tuple
        for part in value:
            if isinstance(part, (int, float)):
                return f"{name}: expected tensors, got a list of numbers; torch.as_tensor converts"
            problem = problem_with_type(name, part)
            if problem is not None:
                return problem
    elif hasattr(value, "__array__") and value.ndim:
        kind = type(value)
        return f"{name}: expected tensors, got {kind.__module__}.{kind.__name__}; torch.as_tensor converts"
    return None


def check_temperature(temperature: float, name: str = "temperature") -> None:
    """Raise ``ValueError`` for a temperature at which the loss is not defined; ``name`` is the option's."""
    if not LOWEST_TEMPERATURE <= temperature < math.inf:  # also compiles, where isfinite does not, for a schedule
        raise ValueError(
            f"{name} must be finite and at least {LOWEST_TEMPERATURE:g}, got {temperature}; usual are 0.04 to 0.5"
        )


def check_weights(**weights: float) -> None:
    """Raise ``ValueError`` for a weight of a term that is below 0 or not finite."""
    for name, weight in weights.items():
        if not (weight >= 0 and math.isfinite(weight)):
            raise ValueError(f"{name} must be finite and at least 0, got {weight}; 0 leaves its term out")


def check_shares(**shares: float) -> None:
    """Raise ``ValueError`` for a share that is not between 0 and 1."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {share}")


def check_counts(least: int = 1, **counts: int) -> None:
    """Raise ``ValueError`` for a count below ``least``."""
    for name, count in counts.items():
        if count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")


def check_positive(**values: float) -> None:
    """Raise ``ValueError`` for an option that is not above 0, or not finite."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and above 0, got {value}")


def problem_with_layout(name: str, tensor: Tensor, layout: str) -> str | None:
    """Return what is wrong with a float tensor that should have the dimensions of a layout, if anything."""
    if not isinstance(tensor, Tensor):
        stack = f"{name}: expected a tensor, got {type(tensor).__name__}; torch.stack joins a list of tensors"
        return problem_with_type(name, tensor) or stack
    if tensor.ndim != layout.count(",") + 1 or 0 in tensor.shape:
        return f"{name} must be {layout} and not empty, got shape {tuple(tensor.shape)}"
    if not tensor.is_floating_point():
        return f"{name} must be floating point, got {tensor.dtype}; .float() converts"
    return None
