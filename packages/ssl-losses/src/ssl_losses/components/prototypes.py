"""Prototypes: the directions on the sphere that embeddings are assigned to."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ssl_losses.ops.normalize import unit_rows


def random_prototypes(num_prototypes: int, dimensions: int) -> Tensor:
    """Return unit rows ``(K, D)`` that are spread evenly, from torch's generator: seed all ranks alike, or broadcast."""
    return unit_rows(torch.randn(num_prototypes, dimensions))


def problem_with_prototypes(prototypes: Tensor, views: Sequence[Tensor]) -> str | None:
    """Return what is wrong with prototypes ``(..., K, D)`` for views ``(N, D)``, if anything."""
    if not prototypes.is_floating_point():
        return f"the prototypes must be floating point, got {prototypes.dtype}; prototypes.float() converts"
    if prototypes.ndim < 2 or prototypes.shape[-2] == 0 or any(z.shape[1:] != prototypes.shape[-1:] for z in views):
        shapes = ", ".join(str(tuple(z.shape)) for z in views[:1])
        return (
            f"the prototypes must be (K, D) with the D of the embeddings {shapes}, got shape {tuple(prototypes.shape)}; "
            "dimensions sets it"
        )
    return None
