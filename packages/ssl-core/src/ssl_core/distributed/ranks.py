"""The ranks of a run: position of this process, process group, and collectives."""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ssl_core.distributed.fsdp import full_state, shard, sharded_state
from ssl_core.distributed.launch_environment import LaunchEnvironment, master_address
from ssl_core.distributed.rendezvous import create_store
from ssl_core.distributed.sync_batchnorm import synchronise_batchnorm
from ssl_core.errors import ConfigError, RankLostError, RunError

_message = logging.getLogger(__name__)
_runs = itertools.count()  # of this process: the same number on all ranks
TIMEOUT = timedelta(minutes=30)  # of a collective, for a rank that hangs; one that has ended is noticed at once
MEETING_TIMEOUT = timedelta(minutes=10)  # until all ranks have started


def _explain(error: BaseException | None) -> None:
    """Raise a RankLostError instead of the errors of gloo (a plain RuntimeError) and NCCL."""
    if isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo/transport" in str(error)):
        raise RankLostError(
            "another rank of this run has ended, or has not answered for "
            f"{TIMEOUT.total_seconds() / 60:.0f} minutes: its own message says why"
        ) from error


def visible_gpus() -> list[str]:
    """Return the names of the visible GPUs as in ``CUDA_VISIBLE_DEVICES``; an empty list without GPUs."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


class Distributed:
    """This process among the ranks of the run. In a run of one process every collective is the identity.

    Ranks come from ``torchrun`` or from a SLURM step: :class:`~ssl_core.distributed.launch_environment.LaunchEnvironment`.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``hardware.device``.
    rendezvous : Path
        Under SLURM, prefix of the file for the rendezvous, in a folder that all ranks share.
    strategy : {"ddp", "fsdp"}
        ``hardware.strategy``: each rank has all of the weights (ddp), or a part of them (fsdp).
    """

    def __init__(self, device: str, rendezvous: Path, strategy: str = "ddp") -> None:
        self._strategy = strategy
        self._meeting: Path | None = None
        launch = LaunchEnvironment.read()
        self.rank, self.world_size, self.local_rank = launch.rank, launch.world_size, launch.local_rank
        if launch.slurm_step:
            self._meeting = rendezvous.with_name(f"{rendezvous.name}_{launch.slurm_step}")
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("torch sees no GPU here", key="hardware.device", value="cuda", expected="'auto' or 'cpu'")
        kind = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        self.device = torch.device("cuda", self._gpu(launch)) if kind == "cuda" else torch.device("cpu")

    @staticmethod
    def _gpu(launch: LaunchEnvironment) -> int:
        """Return the index of this rank's GPU among those that the process sees."""
        count = torch.cuda.device_count()
        if launch.local_rank < count:
            return launch.local_rank
        if launch.slurm_step and count == 1:  # gpus_per_task: each task sees its own GPU only
            return 0
        name = "SLURM_LOCALID" if launch.slurm_step else "LOCAL_RANK"
        raise ConfigError(
            f"torch sees {count} {'GPU' if count == 1 else 'GPUs'} here",
            key=name,
            value=launch.local_rank,
            expected=f"a number below {count}: start one rank for each GPU, or set hardware.device=cpu",
        )

    @property
    def is_main(self) -> bool:
        """Whether this rank writes the files."""
        return self.rank == 0

    def __enter__(self) -> "Distributed":
        if self.world_size > 1 and not dist.is_initialized():
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            try:
                dist.init_process_group(
                    # flags and small objects stay on the CPU, so that they do not wait for the GPU
                    "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo",
                    store=self._store(),
                    rank=self.rank,
                    world_size=self.world_size,
                    timeout=TIMEOUT,
                )
            except dist.DistError as error:
                where = self._meeting or master_address()
                reason = str(error).splitlines()[0]
                raise RunError(
                    f"rank {self.rank} of {self.world_size} could not meet the others at {where}: {reason}"
                ) from error
        return self

    def _store(self) -> dist.Store:
        """Return the store for the process group. It has no entries of an earlier run of this process."""
        if self._meeting is not None:
            return create_store(self._meeting, self.rank, self.world_size, MEETING_TIMEOUT)
        master_address()
        store, _, _ = next(dist.rendezvous("env://", self.rank, self.world_size, timeout=MEETING_TIMEOUT))
        return dist.PrefixStore(f"run {next(_runs)}", store)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()  # the other ranks, which wait, end as well
        _explain(error)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Convert the error of a collective after the end of another rank into a :class:`RankLostError`."""
        try:
            yield
        except Exception as error:
            _explain(error)
            raise

    def synchronise_batchnorm(self, model: nn.Module, wanted: bool) -> None:
        """Synchronize the statistics of batch normalization over several ranks, in place."""
        if wanted and self.world_size > 1:
            synchronise_batchnorm(model, self.device)

    @property
    def is_sharded(self) -> bool:
        """Whether each rank has a part of the weights."""
        return self._strategy == "fsdp" and self.world_size > 1

    def shard(self, model: nn.Module) -> None:
        """Shard the weights of ``model`` over the ranks, in place, if the strategy is fsdp."""
        if self.is_sharded:
            shard(model, self.device)

    def state_of(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the parts hold, as one process holds it; on the main rank. All ranks must ask."""
        if not self.is_sharded:
            return {name: part.state_dict() for name, part in parts.items()} if self.is_main else {}
        return full_state({name: part.state_dict() for name, part in parts.items()}, keep=self.is_main)

    def sharded_state(
        self, state: dict[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
    ) -> dict[str, Any]:
        """Return a state as :meth:`state_of` gave it, spread as the weights are."""
        return sharded_state(state, model, optimizer) if self.is_sharded else state

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return ``module``, wrapped so that its backward pass averages gradients over several ranks."""
        if self.world_size == 1 or self.is_sharded:  # sharded modules average gradients themselves
            return module
        on_cpu = self.device.type == "cpu"
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=None if on_cpu else [self.device],
            # Otherwise DDP reorders the gradients after the first step of a process, and sums over three or more ranks depend
            # on the order: a resumed run would not be bit-identical, which is promised on CPUs. On GPUs the reordering lets
            # communication overlap with the backward pass. static_graph reorders too, and does not allow a loss with
            # changing terms; it would save 5 % of a step (5.4 instead of 5.7 ms, 20 layers of width 64, 2 ranks).
            find_unused_parameters=on_cpu and self.world_size > 2,
        )

    def check_all_used(self, model: nn.Module) -> None:
        """Raise if a parameter has no gradient: DDP would not average the others of its bucket, and fail at the next step.

        Called after the backward pass of an optimizer step. Sharded weights need no check.
        """
        if self.world_size == 1 or self.is_sharded:
            return
        unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        if unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            raise RunError(
                f"{', '.join(unused[:3])}{more}: not used by the loss, so that several ranks cannot average their gradients; "
                "remove them, or set requires_grad to False in initialize_modules"
            )

    def synchronised(self, module: nn.Module, when: bool) -> contextlib.AbstractContextManager:
        """Return a context in which a wrapped module averages its gradients only ``when`` an optimizer step follows."""
        if when or not isinstance(module, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return module.no_sync()

    def share_buffers(self, model: nn.Module) -> None:
        """Broadcast the buffers of the main rank, as saved in a checkpoint: running statistics may differ between ranks."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients of a few small parameters, e.g. of the probes, over the ranks, in place."""
        if self.world_size > 1:
            for parameter in parameters:
                if parameter.grad is not None:
                    dist.all_reduce(parameter.grad)
                    parameter.grad /= self.world_size

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of ``tensor`` over the ranks."""
        if self.world_size > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: Tensor) -> Tensor:
        """Return the mean of a floating-point ``tensor`` over the ranks."""
        return self.sum(tensor) / self.world_size

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the rows of all ranks, ``(n_0 + n_1 + ..., ...)``. The number of rows may differ between ranks."""
        if self.world_size == 1:
            return tensor
        sizes = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(tensor)], device=tensor.device))
        longest = max(int(size) for size in sizes)
        padded = tensor.new_zeros((longest, *tensor.shape[1:]))
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(size)] for part, size in zip(parts, sizes)])

    def broadcast(self, value: Any) -> Any:
        """Return the main rank's ``value`` (a number, a string, a small list) on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def collect(self, value: Any) -> list[Any]:
        """Return the ``value`` (numbers, strings, small lists and dicts) of every rank, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def check_equal(self, what: str, value: Any) -> None:
        """Raise a RunError on every rank if their values of ``what`` differ, e.g. because a folder is not shared."""
        values = self.collect(value)
        if any(other != value for other in values):
            seen = ", ".join(f"{other} on rank {rank}" for rank, other in enumerate(values))
            raise RunError(f"{what} is {seen}: log.folder must be on a disk that all ranks share")

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set on some rank."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(flag, dtype=torch.int32)) > 0)  # on the CPU: nothing waits for the GPU

    def state_dict(self) -> dict[str, int]:
        """Return the number of ranks. A run may be resumed with any other number."""
        return {"world_size": self.world_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Log a change of the number of ranks."""
        if state["world_size"] != self.world_size and self.is_main:
            _message.info("a run of %d ranks is resumed with %d", state["world_size"], self.world_size)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Run a block on the main rank first, e.g. because it downloads, then on the others."""
        if self.world_size > 1 and not self.is_main:
            dist.barrier()
        try:
            yield
        finally:
            if self.world_size > 1 and self.is_main:
                dist.barrier()
