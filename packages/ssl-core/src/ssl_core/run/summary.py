"""``summary.json``: status, last metrics, environment and speed of a run."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ssl_core.errors import Preempted
from ssl_core.run.environment import environment
from ssl_core.run.folder import RunFolder
from ssl_core.run.git import record_code
from ssl_core.run.progress import Progress
from ssl_core.run.source_location import RECORDED, has_other_code
from ssl_eval.runs.run_record import ENDED_WELL

_message = logging.getLogger(__name__)
_FINISHED = "the run has finished, and its weights and numbers are those of the earlier code"
_CONTINUES = "training continues with the new code, and summary.json records both"


class Summary:
    """Writes ``summary.json`` when a run starts, at each checkpoint, and when it ends in any way.

    The summary of a finished run does not change, unless :meth:`begin` is called because there is more to train.

    Parameters
    ----------
    folder : RunFolder
        The run folder.
    progress : Progress
        The counters.
    metrics : callable
        Returns the last value of every metric.
    images_per_second : callable
        Returns the throughput of this process; None before it is known.
    facts : dict
        Known at the start: seed, device, precision, ranks, ...
    writes : bool
        False on all ranks but the main one.
    """

    def __init__(
        self,
        folder: RunFolder,
        progress: Progress,
        metrics: Callable[[], Mapping[str, float]],
        images_per_second: Callable[[], float | None],
        facts: dict[str, Any],
        writes: bool = True,
    ) -> None:
        self.folder = folder
        self.progress = progress
        self.writes = writes
        self._metrics = metrics
        self._images_per_second = images_per_second
        self.ending = "finished"  # the status of a run that has gone as it should
        self._had_finished = False  # before this process
        self._facts = facts
        self._began = time.monotonic()
        self._seconds_before = 0.0  # of earlier processes of the same run
        self._rate_before: float | None = None  # images per second of the last of them

    def __enter__(self) -> "Summary":
        if self.writes:
            before = self.folder.read_summary()
            self._had_finished = before.get("status") in ENDED_WELL
            self._seconds_before = before.get("wall_seconds", 0.0)
            self._rate_before = before.get("images_per_second")
            kept = {name: before[name] for name in ("init_from", "teacher", "evaluations") if name in before}
            self._facts |= kept | {
                "started": before.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
                "process": os.getpid(),
                **environment(),
                **record_code(self.folder, before),
                **self._sources(before),
            }
            self.write("running")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.writes:
            return
        try:
            if error is None:
                self.write(self.ending)
                self.folder.diverged.unlink(missing_ok=True)  # of an earlier process: it did not happen again
            elif isinstance(error, Preempted | KeyboardInterrupt):
                self.write("preempted", error=str(error) or type(error).__name__)
            else:
                self.write("failed", error=f"{type(error).__name__}: {error}")
        except OSError as lost:
            if error is None:
                raise
            # The disk that ended the run also refuses the summary: the first error is the one to report.
            _message.error("%s cannot be written: %s", self.folder.summary, lost)

    def begin(self) -> None:
        """Write the file from now on, also if the run had finished: there is more to train."""
        self._had_finished = False
        self.write("running")

    def _sources(self, before: dict[str, Any]) -> dict[str, Any]:
        """Return the sources of the user's classes; warn if a run is resumed with changed code."""
        if not any(self.folder.checkpoints.glob("step_*.pt")):
            return {}  # nothing was trained with other code
        facts: dict[str, Any] = {}
        for what in RECORDED:
            now, first, resumed = self._facts.get(what), before.get(what), before.get(f"{what}_resumed")
            if now and first and has_other_code(now, resumed or first):
                resumed = {**now, "step": before.get("step")}
                _message.warning(
                    "the code of %s has changed since this run was trained: '%s'; %s; to train the new code alone, choose "
                    "another folder with log.run=NAME",
                    now["class"], now.get("file", "the notebook"), _FINISHED if self._had_finished else _CONTINUES,
                )  # fmt: skip
            if resumed:
                facts |= {what: first, f"{what}_resumed": resumed}
        return facts

    def note(self, **facts: Any) -> None:
        """Add facts to the file. They are written with the next change of the status."""
        self._facts |= facts

    def write(self, status: str, **more: Any) -> None:
        """Replace the file."""
        if self.writes and not self._had_finished:
            seconds = self._seconds_before + time.monotonic() - self._began
            self.folder.write_summary(
                {
                    "status": status,
                    "epoch": self.progress.epoch,
                    "step": self.progress.step,
                    "metrics": self._metrics(),
                    "wall_seconds": round(seconds, 3),
                    "images_per_second": self._images_per_second() or self._rate_before,
                    **self._facts,
                    **more,
                }
            )
