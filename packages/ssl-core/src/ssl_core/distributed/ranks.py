"""The ranks of a run: who we are, how we meet, and the few sums that need everybody."""

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
TIMEOUT = timedelta(
    minutes=30
)  # of one collective: a rank that has ended is noticed at once, this is for one that hangs
MEETING_TIMEOUT = timedelta(minutes=10)  # for all ranks to have started


def _explain(error: BaseException | None) -> None:
    """Raise the error for a lost rank in place of gloo's, which is a bare RuntimeError, or NCCL's."""
    if isinstance(error, dist.DistError) or (type(error) is RuntimeError and "gloo/transport" in str(error)):
        raise RankLostError(
            "another rank of this run has ended, or has not answered for "
            f"{TIMEOUT.total_seconds() / 60:.0f} minutes: its own message says why"
        ) from error


def visible_gpus() -> list[str]:
    """Return what ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process may use; empty where there are none."""
    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


class Distributed:
    """This process among the ranks of the run; alone, it is rank 0 of 1 and every method is the identity.

    Ranks come from ``torchrun`` or from a SLURM step: :class:`~ssl_core.distributed.launch_environment.LaunchEnvironment`.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda"}
        ``hardware.device``.
    rendezvous : Path
        Under SLURM the ranks meet through a file that is called after it, in a folder that all of them see.
    strategy : {"ddp", "fsdp"}
        ``hardware.strategy``: whether each rank holds all of the weights, or a part of them.
    """

    def __init__(self, device: str, rendezvous: Path, strategy: str = "ddp") -> None:
        self._strategy = strategy
        self._meeting: Path | None = None
        launch = LaunchEnvironment.read()
        self.rank, self.world_size, self.local_rank = launch.rank, launch.world_size, launch.local_rank
        if launch.slurm_step:
            self._meeting = rendezvous.with_name(f"{rendezvous.name}_{launch.slurm_step}")
        if device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("hardware.device='cuda': torch sees no GPU here; expected 'auto' or 'cpu'")
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
            f"{name}={launch.local_rank}: torch sees {count} {'GPU' if count == 1 else 'GPUs'} here; expected a number below "
            f"{count}: start one rank for each GPU, or set hardware.device=cpu"
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
                    # flags and small objects stay on the host, which then need not wait for the GPU
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
        """Return what the ranks exchange their addresses through: nothing in it is of an earlier run of this process."""
        if self._meeting is not None:
            return create_store(self._meeting, self.rank, self.world_size, MEETING_TIMEOUT)
        master_address()
        store, _, _ = next(dist.rendezvous("env://", self.rank, self.world_size, timeout=MEETING_TIMEOUT))
        return dist.PrefixStore(f"run {next(_runs)}", store)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self.world_size > 1 and dist.is_initialized():
            dist.destroy_process_group()  # closes what the others wait for: they end as well
        _explain(error)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Give the error that a collective ends in when another rank has ended a sentence: :class:`RankLostError`."""
        try:
            yield
        except Exception as error:
            _explain(error)
            raise

    def synchronise_batchnorm(self, model: nn.Module, wanted: bool) -> None:
        """Let batch normalisation take its statistics from all ranks, in place, where there are several."""
        if wanted and self.world_size > 1:
            synchronise_batchnorm(model, self.device)

    @property
    def is_sharded(self) -> bool:
        """Whether each rank holds a part of the weights."""
        return self._strategy == "fsdp" and self.world_size > 1

    def shard(self, model: nn.Module) -> None:
        """Spread the weights of ``model`` over the ranks, in place, where the strategy says so."""
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
        """Return ``module``, with gradients averaged over the ranks in its backward pass where there are several."""
        if self.world_size == 1 or self.is_sharded:  # sharded modules average by themselves
            return module
        on_cpu = self.device.type == "cpu"
        return nn.parallel.DistributedDataParallel(
            module,
            device_ids=None if on_cpu else [self.device],
            # Without it DDP sorts the gradients anew after a process's first step, and sums of three ranks or more depend on
            # where in a bucket they stand: a run that was killed would not end bit by bit as one that was not. That is a
            # promise on the processor; on a GPU the sorting hides the sums behind the backward pass. There is no
            # static_graph: it sorts as well, and a loss whose terms change from step to step would break it, for 5 % of a step
            # (5.4 instead of 5.7 ms, a network of 20 layers of width 64 at 2 ranks).
            find_unused_parameters=on_cpu and self.world_size > 2,
        )

    def check_all_used(self, model: nn.Module) -> None:
        """Raise if a parameter has got no gradient: DDP would not average those beside it, and stop at the next step.

        Called after the backward pass of an optimizer step; sharded weights do not mind.
        """
        if self.world_size == 1 or self.is_sharded:
            return
        unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        if unused:
            more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
            raise RunError(
                f"{', '.join(unused[:3])}{more}: not used by the loss, which several ranks cannot average gradients of; leave "
                "out what is not trained, or set its requires_grad to False in initialize_modules"
            )

    def synchronised(self, module: nn.Module, when: bool) -> contextlib.AbstractContextManager:
        """Return a context in which a wrapped module averages its gradients only ``when`` an optimizer step follows."""
        if when or not isinstance(module, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return module.no_sync()

    def share_buffers(self, model: nn.Module) -> None:
        """Give the main rank's buffers, which a checkpoint holds, to all: running statistics may be each rank's own."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Average the gradients of a few small parameters over the ranks, in place (the probes', say)."""
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
        """Return the rows of all ranks, ``(n_0 + n_1 + ..., ...)``; the ranks may hold different numbers of rows."""
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
        """Return the ``value`` (numbers, strings, small lists and dicts of them) of every rank, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def check_equal(self, what: str, value: Any) -> None:
        """Raise a RunError on every rank if they see different values of ``what``: a disk that is not shared, say."""
        values = self.collect(value)
        if any(other != value for other in values):
            seen = ", ".join(f"{other} on rank {rank}" for rank, other in enumerate(values))
            raise RunError(f"{what} is {seen}: all ranks must see the same log.folder, on a disk that they share")

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` is set on some rank."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor(flag, dtype=torch.int32)) > 0)  # on the host: nothing waits for the GPU

    def state_dict(self) -> dict[str, int]:
        """Return the number of ranks, for the record: a run may go on at any other."""
        return {"world_size": self.world_size}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Say so where a run goes on at another number of ranks."""
        if state["world_size"] != self.world_size and self.is_main:
            _message.info("a run of %d ranks goes on at %d", state["world_size"], self.world_size)

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main rank through a block first (it downloads, say), then the others."""
        if self.world_size > 1 and not self.is_main:
            dist.barrier()
        try:
            yield
        finally:
            if self.world_size > 1 and self.is_main:
                dist.barrier()
