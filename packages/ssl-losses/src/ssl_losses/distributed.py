"""Collective operations with gradients, and the distributed contract of every loss.

With an initialised process group the loss is that of the **global batch**, the rows of all ranks in the order of the
ranks. Each rank returns the same value, and the parameter gradients *averaged over the ranks* (what
``DistributedDataParallel`` does) are those of one process on the concatenated batch. Without a process group everything
here is the identity.

A loss keeps the contract by taking what it needs of other ranks through :func:`gather_with_gradient` (their rows) or
:func:`all_reduce_with_gradient` (sums over them). In the backward pass both *sum* the gradients of all ranks: every rank
computes the global loss, so that the sum is W times the gradient, and the average over W ranks is the gradient itself. A
loss that is a mean over samples ends in :func:`mean_over_ranks`.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

MOST_DIMENSIONS = 5  # of a tensor whose shape the ranks compare: a batch of videos
_cpu_groups: dict[str, Any] = {}  # for a default group without a CPU backend, as "nccl": that group, and its gloo group


def world_size() -> int:
    """Return the number of ranks, 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this rank, 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sample_numbers(z: Tensor) -> Tensor:
    """Return the numbers ``(N,)`` that the rows of this rank, ``(N, ...)``, have among the rows of all ranks."""
    return torch.arange(len(z), device=z.device) + rank() * len(z)


def gather_with_gradient(z: Tensor) -> Tensor:
    """Return the rows of all ranks, ``(N, ...)`` each, as ``(G, ...)``; the ranks must hold the same shape."""
    return z if world_size() == 1 else _Gather.apply(z)


def all_reduce_with_gradient(x: Tensor) -> Tensor:
    """Return the sum of ``x`` over the ranks, which must hold the same shape; ``x`` itself is not changed."""
    return x if world_size() == 1 else _AllReduce.apply(x)


def mean_over_ranks(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over the ranks."""
    return x if world_size() == 1 else all_reduce_with_gradient(x) / world_size()


def agree_on(tensors: Sequence[Tensor], problem: str | None = None) -> None:
    """Raise ``ValueError`` on every rank if one has a ``problem``, or if the ranks hold different shapes.

    A mean of means over uneven batches would be wrong, and a collective over uneven shapes may never end: a rank that
    cannot go on has to tell the others before any of them waits for it. What the ranks compare is the number of
    ``tensors`` and the shape of the first, of ``MOST_DIMENSIONS`` at most; whether the others fit to it is each rank's
    own ``problem``.

    This happens at each call, because a rank that trusted its earlier agreement would wait for ever for one whose last batch
    is smaller. It never synchronises a GPU: only numbers of the host are compared, by a process group on the CPU.
    """
    if world_size() == 1:
        if problem:
            raise ValueError(problem)
        return
    held = [] if problem else [len(tensors), *tensors[0].shape]
    held += [0] * (1 + MOST_DIMENSIONS - len(held))
    extremes = torch.tensor([*held, *(-size for size in held)])
    dist.all_reduce(extremes, op=dist.ReduceOp.MAX, group=_cpu_group())
    largest, smallest = extremes.tolist()[: len(held)], [-size for size in extremes.tolist()[len(held) :]]
    if problem:
        raise ValueError(problem)
    if smallest[0] == 0:
        raise ValueError(f"another rank has an invalid batch, this one holds {_described(held)}; see that rank's error")
    if largest != smallest:
        raise ValueError(
            f"every rank must hold as many tensors of the same shape: they hold from {_described(smallest)} to "
            f"{_described(largest)}, this one {_described(held)}; drop the last, smaller batch of an epoch"
        )


def _described(held: list[int]) -> str:
    """Return the number of tensors and their shape in words."""
    number, *shape = (size for size in held if size)
    return f"{number} of {tuple(shape)}"


def _cpu_group() -> Any:
    """Return a group of all ranks that communicates on the CPU: the default one, or a gloo group made at the first call."""
    world = dist.group.WORLD
    assert world is not None
    if "cpu:" in str(dist.get_backend_config(world)):
        return world
    if _cpu_groups.get("of") is not world:  # the process group is new
        _cpu_groups.update(of=world, group=dist.new_group(backend="gloo"))
    return _cpu_groups["group"]


class _AllReduce(torch.autograd.Function):
    """The sum over the ranks; backward, the sum of all ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)  # all_reduce writes in place; x is the caller's
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _AllReduce.apply(gradient)


class _Gather(torch.autograd.Function):
    """All ranks' rows; backward, the sum of all ranks' gradients of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        parts = [torch.empty_like(z, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, z.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _AllReduce.apply(gradient).chunk(world_size())[rank()]
