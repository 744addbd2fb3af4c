"""Moments of the global batch: each rank sums over its own rows, and only the sums are communicated."""

from torch import Tensor

from ssl_losses.distributed import all_reduce_with_gradient, world_size


def centered(z: Tensor) -> Tensor:
    """Return ``(..., N, D)`` less its mean over all ranks' rows."""
    return z - all_reduce_with_gradient(z.sum(-2, keepdim=True)) / total_rows(z)


def mean_square(z: Tensor) -> Tensor:
    """Return the mean of the squares over all ranks' rows, ``(..., 1, D)`` of ``(..., N, D)``."""
    return all_reduce_with_gradient(z.square().sum(-2, keepdim=True)) / total_rows(z)


def sum_of_products(a: Tensor, b: Tensor) -> Tensor:
    """Return ``aᵀ b`` summed over all ranks' rows, ``(..., D, D)`` of ``(..., N, D)``."""
    return all_reduce_with_gradient(a.mT @ b)


def total_rows(z: Tensor) -> int:
    """Return G, the number of rows ``(..., N, D)`` over all ranks."""
    return z.shape[-2] * world_size()


def off_diagonal(matrices: Tensor) -> Tensor:
    """Return the entries of ``(..., D, D)`` that are not on the diagonal, ``(..., D - 1, D)``.

    Without the first entry, every (D + 1)-th of what is left is on the diagonal. Taking the diagonal's squares off the
    whole sum instead would cancel where variances are large and covariances small.
    """
    d = matrices.shape[-1]
    return matrices.flatten(-2)[..., 1:].unflatten(-1, (d - 1, d + 1))[..., :-1] if d > 1 else matrices[..., :0, :]
