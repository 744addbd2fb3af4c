"""Triggers: whether a log line, an evaluation, a checkpoint or a stop is due. The answers are the same on all ranks."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ssl_core.config import Config
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import Preempted
from ssl_core.run.progress import Progress
from ssl_core.run.signals import StopSignal
from ssl_core.training.early_stopping import EarlyStopping


@dataclass
class Triggers:
    """Answers what is due at the present epoch and step."""

    config: Config  # optim.epochs, and the `every` keys of log
    progress: Progress
    stop: StopSignal  # whether this process has received a signal
    early_stopping: EarlyStopping
    distributed: Distributed  # a signal or the clock of one rank counts for all

    def __post_init__(self) -> None:
        self._log = self.config.log
        self._saved = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether all epochs are trained and evaluated, or early stopping has ended the run."""
        return self._was_last_epoch and not self.progress.between_epochs

    def log_due(self, ends_epoch: bool) -> bool:
        """Whether ``log.every_steps`` asks for a line at the optimizer step just made.

        The last step of an epoch also has a line if ``optim.monitor`` is a metric of training.
        """
        watched = ends_epoch and self.early_stopping.watches_training
        return watched or self.progress.step % self._log.every_steps == 0

    @property
    def evaluation_due(self) -> bool:
        """Whether ``log.eval_every`` asks for an evaluation after this epoch; always so after the last."""
        return self._after_epoch(self._log.eval_every)

    @property
    def checkpoint_due(self) -> bool:
        """Whether ``log.checkpoint_every`` asks for a checkpoint after this epoch; always so before an evaluation."""
        return self._after_epoch(self._log.checkpoint_every) or self.evaluation_due

    @property
    def checkpoint_due_in_epoch(self) -> bool:
        """Whether a signal, ``log.checkpoint_every_steps`` or ``_minutes`` ask for a checkpoint after this optimizer step."""
        every_steps, seconds = self._log.checkpoint_every_steps, self._log.checkpoint_every_minutes * 60
        if every_steps > 0 and self.progress.step % every_steps == 0:
            return True
        too_old = 0 < seconds <= time.monotonic() - self._saved
        return self.distributed.any(too_old or self.stop.name is not None)

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has arrived, on any rank."""
        return self.distributed.any(self.stop.name is not None)

    def raise_if_stopped(self) -> None:
        """Raise :class:`Preempted` if a signal has arrived. Called after the state is saved."""
        if self.stop_requested:
            name = self.stop.name or "a signal to another rank"
            raise Preempted(f"{name} at step {self.progress.step}: the state is saved; rerun to resume")

    def stop_aware(self, batches: Iterable[Any], save: Callable[[], None]) -> Iterator[Any]:
        """Yield the batches of an evaluation. On a signal call ``save`` and raise Preempted; a resumed run evaluates again."""
        for batch in batches:
            if self.stop_requested:
                save()
                self.raise_if_stopped()
            yield batch

    def saved(self) -> None:
        """Restart the clock of ``log.checkpoint_every_minutes``. Called after each checkpoint."""
        self._saved = time.monotonic()

    def _after_epoch(self, every: int) -> bool:
        return self._was_last_epoch or (every > 0 and self.progress.epoch % every == 0)

    @property
    def _was_last_epoch(self) -> bool:
        return self.progress.epoch >= self.config.optim.epochs or self.early_stopping.reason != ""
