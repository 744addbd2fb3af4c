"""Write checkpoints while training waits, or in a background thread from a copy of the state."""

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.errors import RunError

_message = logging.getLogger(__name__)


class CheckpointWriter:
    """Passes states to a :class:`~ssl_core.checkpoint.store.CheckpointStore`, in the ``background`` if asked to.

    In the background, training waits only until the state is copied, and for the checkpoint before it. Until a checkpoint is
    complete on the disk, the one before it is the newest.
    """

    def __init__(self, checkpoints: CheckpointStore, background: bool) -> None:
        self.checkpoints = checkpoints
        self.background = background
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")  # starts its thread when it is used
        self._pending: Future[Any] | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last checkpoint: a preempted run reports that it is saved."""
        try:
            self.wait()
        except RunError as lost:
            if error is None or isinstance(error, RunError):
                raise
            _message.error("%s", lost)  # the exception that ended the run is the one to raise
        finally:
            self._executor.shutdown()

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Save the state of a step; raise a DiskError if it, or in the background the one before, cannot be written."""
        self.wait()
        if self.background:
            self._pending = self._executor.submit(self.checkpoints.save, step, copy_to_cpu(state))
        else:
            self.checkpoints.save(step, state)

    def wait(self) -> None:
        """Wait until nothing is being written; raise what that has raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def raise_if_failed(self) -> None:
        """Raise the error of a background checkpoint that has failed. Called after each step."""
        if self._pending is not None and self._pending.done():
            self.wait()


def copy_to_cpu(state: Any) -> Any:
    """Return nested dicts and lists with copies of their tensors in memory, with the same strides."""
    return tree_map_only(Tensor, lambda tensor: torch.empty_like(tensor, device="cpu").copy_(tensor.detach()), state)
