"""When a checkpoint is written: while training waits, or beside it, from a copy of the state."""

import logging
import threading
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from ssl_core.checkpoint.store import CheckpointStore
from ssl_core.errors import RunError

_message = logging.getLogger(__name__)


class CheckpointWriter:
    """Hands states over to :class:`~ssl_core.checkpoint.store.CheckpointStore`.

    In the background training waits only until the state is copied. A checkpoint counts, as ever, when its last byte is safe;
    until then the one before it is the newest. One is written at a time.

    Parameters
    ----------
    checkpoints : Checkpoints
        Where to.
    background : bool
        ``log.checkpoint_in_background``.
    """

    def __init__(self, checkpoints: CheckpointStore, background: bool) -> None:
        self.checkpoints = checkpoints
        self.background = background
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the last one: a run that is told to stop is saved when it says so."""
        try:
            self.wait()
        except RunError as lost:
            if error is None or isinstance(error, RunError):
                raise
            _message.error("%s", lost)  # what ended the run is the one to report

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Keep the state of a step.

        Raises
        ------
        DiskError
            If the disk refuses it, or, in the background, has refused the one before.
        """
        self.wait()
        if not self.background:
            self.checkpoints.save(step, state)
            return
        self._thread = threading.Thread(target=self._write, args=(step, copied(state)), name="checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is being written any more; raise what that has met."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """Raise what writing in the background has met, if it has failed already. Asked after each step."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, step: int, state: dict[str, Any]) -> None:
        try:
            self.checkpoints.save(step, state)
        except BaseException as error:  # raised again where the run waits for it
            self._error = error


def copied(state: Any) -> Any:
    """Return a nest of dicts, lists and tensors with tensors of its own, in memory; what else there is, is as it is."""
    if isinstance(state, Tensor):
        return torch.empty_like(state, device="cpu").copy_(state.detach())
    if isinstance(state, dict):
        return type(state)((key, copied(value)) for key, value in state.items())
    if isinstance(state, list | tuple):
        return type(state)(copied(value) for value in state)
    return state
