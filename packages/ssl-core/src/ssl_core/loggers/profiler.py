"""Measure where the time of a training step goes: a table of phases (``profile.md``) and a trace (``trace.json``)."""

import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch.profiler import profile, record_function, schedule

from ssl_core.run.atomic_file import write_atomically
from ssl_core.run.folder import RunFolder
from ssl_eval import Table


class Profiler:
    """Add up the time of each phase of a step; without batches to measure it does nothing.

    The first :data:`WARMUP` batches of a process are skipped, then ``batches`` are timed with the clock, one is skipped, and
    up to :data:`TRACED` more are recorded with ``torch.profiler`` (``trace.json``, for https://ui.perfetto.dev). Recording
    takes time itself, which the table does not contain. Time between epochs is in neither.

    Parameters
    ----------
    folder : RunFolder
        Where both files are written, as soon as they are complete, or at the end of a shorter run.
    batches : int
        ``hardware.profile``; 0: none.
    device : torch.device
        On a GPU each timed phase ends by waiting for the device.
    size : str
        Description of a step, for the title of the table.
    """

    PHASES = ("data", "forward", "backward", "probes", "optimizer", "logging", "other")
    WARMUP = 5
    TRACED = 10

    def __init__(self, folder: RunFolder, batches: int, device: torch.device, size: str = "") -> None:
        self.reports: list[str] = []  # printed at the end of the run
        self._folder, self._batches, self._device, self._size = folder, batches, device, size
        self._seconds = dict.fromkeys(self.PHASES, 0.0)
        self._phase, self._since = "", 0.0
        self._range: AbstractContextManager = nullcontext()  # the phase in the trace
        self._seen = 0  # batches
        self._active = False
        self._trace: profile | None = None

    def __enter__(self) -> "Profiler":
        if self._batches:
            self._active = True
            active = min(self._batches, self.TRACED)
            plan = schedule(skip_first=self.WARMUP + self._batches, wait=0, warmup=1, active=active, repeat=1)
            self._trace = profile(schedule=plan, on_trace_ready=self._write_trace)
            self._trace.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end_phase()
        if self._trace is not None:
            if kind is not None:
                self._trace.on_trace_ready = None
            elif self._seen <= self.WARMUP:
                self.reports.append(
                    f"no profile: the run had {self._seen} batches, the first {self.WARMUP} are skipped"
                )
            elif self._is_timed:  # fewer batches than asked for
                self._write_table(self._seen - self.WARMUP)
            self._trace.stop()

    def begin(self, phase: str) -> None:
        """Begin a phase, one of :data:`PHASES`; it lasts until the next one begins or the batch ends."""
        if self._active:
            self._end_phase()
            self._range = record_function(phase)
            self._range.__enter__()
            self._phase, self._since = phase, self._clock()

    def end_batch(self) -> None:
        """End a batch, with everything that belongs to it."""
        if self._active and self._trace is not None:
            self._end_phase()
            self._seen += 1
            if self._seen == self.WARMUP + self._batches:
                self._write_table(self._batches)
            self._trace.step()

    @property
    def _is_timed(self) -> bool:
        return self.WARMUP <= self._seen < self.WARMUP + self._batches

    def _end_phase(self) -> None:
        if self._phase:
            if self._is_timed:
                self._seconds[self._phase] += self._clock() - self._since
            self._range.__exit__(None, None, None)
            self._phase = ""

    def _clock(self) -> float:
        if self._device.type == "cuda" and self._is_timed:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _write_trace(self, trace: profile) -> None:
        trace.export_chrome_trace(str(self._folder.trace))
        self.reports.append(str(self._folder.trace))
        self._active = False

    def _write_table(self, batches: int) -> None:
        total = sum(self._seconds.values())
        table = Table(
            title=f"Time of a batch by phase: {self._size}",
            columns=["phase", "ms", "%"],
            rows=[
                [phase, f"{1e3 * seconds / batches:.3f}", seconds / total]
                for phase, seconds in [*self._seconds.items(), ("all", total)]
            ],
            notes=[f"Means of {batches} batches after the first {self.WARMUP} of the process, on rank 0."],
        )
        write_atomically(self._folder.profile, table.to_markdown())
        self.reports += [table.to_text(), str(self._folder.profile)]
