"""The position of a loader in its stream of batches."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Batch = TypeVar("Batch")


class Position:
    """Where the next iteration begins, and how far the last one came. It moves when a batch is taken, not by ``iter``.

    Parameters
    ----------
    epoch, step : int
        The first batch of the next iteration.
    """

    def __init__(self, epoch: int = 0, step: int = 0) -> None:
        self._next = self._reached = epoch, step
        self._set: int | None = None  # the last value of set_epoch
        self._kept_by: int | None = epoch  # the value of set_epoch that keeps the step; None: no value

    def set_epoch(self, epoch: int) -> None:
        """Begin the next iteration with ``epoch``; a step that was restored is kept if this is the epoch of its loop."""
        if epoch != self._kept_by:
            self._next = self._reached = epoch, 0
        self._set, self._kept_by = epoch, None

    def state_dict(self) -> dict[str, int | None]:
        """Return the position after the last batch that was taken, and the last value of ``set_epoch``."""
        epoch, step = self._reached
        return {"epoch": epoch, "step": step, "set_epoch": self._set}

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Position":
        """Return the position of a state."""
        position = cls(state["epoch"], state["step"])
        # The loop may count otherwise: Lightning repeats a small loader within an epoch
        if state["set_epoch"] is not None:
            position._set = position._kept_by = state["set_epoch"]
        return position

    def follow(self, batches: Callable[[int, int], Iterator[Batch]], length: int) -> Iterator[Batch]:
        """Yield ``batches(epoch, first step)`` of an epoch of ``length`` steps, and move with each that is taken."""
        epoch, first = self._next
        self._next, self._kept_by = (epoch + 1, 0), None
        if first == length:
            self._reached = self._next
        for step, batch in enumerate(batches(epoch, first), first + 1):
            self._reached = (epoch, step) if step < length else self._next
            yield batch
