"""The distributed contract of every loss, stated once.

With an initialised process group the loss is that of the **global batch**, the rows of all ranks in the order of the
ranks. Each rank returns the same value, and the parameter gradients *averaged over the ranks* (what
``DistributedDataParallel`` does) are those of one process on the concatenated batch. Without a process group everything
here is the identity.

A loss keeps the contract by two functions: it sees other ranks' rows through :func:`gather`, whose backward pass sums what
all ranks say about a row, and returns its own rank's mean through :func:`mean_over_ranks`.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Return the number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this rank, 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather(z: Tensor) -> Tensor:
    """Return the rows of all ranks, ``(N, D)`` each, as ``(G, D)``; differentiable.

    Raises
    ------
    ValueError
        On every rank, if the ranks hold different shapes: no rank is left waiting.
    """
    if world_size() == 1:
        return z
    refuse_uneven(z)
    return _Gather.apply(z)


def mean_over_ranks(loss: Tensor) -> Tensor:
    """Return the mean of ``loss`` over the ranks as value, with the gradient of this rank's part."""
    if world_size() == 1:
        return loss
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    return loss + (mean / world_size() - loss.detach())


def refuse_uneven(z: Tensor) -> None:
    """Raise ``ValueError`` on every rank if the ranks hold different shapes ``(N, D)``: a mean of means would be wrong."""
    if world_size() == 1:
        return
    shape = torch.tensor([z.shape[0], z.shape[1]], dtype=torch.int64, device=z.device)
    extremes = torch.cat([shape, -shape])
    dist.all_reduce(extremes, op=dist.ReduceOp.MAX)
    largest, smallest = extremes[:2].tolist(), (-extremes[2:]).tolist()
    if largest != smallest:
        raise ValueError(
            f"every rank must hold a batch of the same shape (N, D): they hold from {tuple(smallest)} to "
            f"{tuple(largest)}, this one {tuple(z.shape)}; drop the last, smaller batch of an epoch"
        )


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward, the sum of all ranks' gradients of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        parts = [torch.empty_like(z, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, z.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]
