"""Where a step's time goes: a few batches taken apart by the clock, and a few more as a trace to look at."""

import time
from typing import Any

import torch

from ssl_core.run.folder import RunFolder, write_atomically
from ssl_eval import Table


class Profiler:
    """Told which phase of a step begins, it adds up the time of each; without batches to look at it does nothing at all.

    The first :data:`WARMUP` batches of a process are left out, ``batches`` are taken apart by the clock (``profile.md``), and
    up to :data:`TRACED` more are recorded with ``torch.profiler`` (``trace.json``, for https://ui.perfetto.dev), in which the
    phases are ranges. These are other batches because recording itself takes time, which would be in the table. What lies
    between epochs is in neither.

    Parameters
    ----------
    folder : RunFolder
        Where both files are written, as soon as they are complete, or with what is there when the run ends before.
    batches : int
        ``hardware.profile``; 0: none.
    device : torch.device
        On a GPU each phase waits for the device at its end, or the time would show up where somebody waits next.
    size : str
        What a step is, for the title of the table.
    """

    PHASES = ("data", "forward", "backward", "probes", "optimizer", "logging", "other")
    WARMUP = 5
    TRACED = 10

    def __init__(self, folder: RunFolder, batches: int, device: torch.device, size: str = "") -> None:
        self.reports: list[str] = []  # for the end of the run
        self._table, self._trace = folder.profile, folder.trace
        self._batches, self._device, self._size = batches, device, size
        self._seconds = dict.fromkeys(self.PHASES, 0.0)
        self._phase, self._since = "", 0.0  # that is running, and since when
        self._profiler: Any = None  # while it records
        self._range: Any = None  # the running phase in the trace
        self._seen = 0  # batches
        self._active = batches > 0

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._active and kind is None:
            self._finish()
        elif self._profiler is not None:
            self._end_phase()
            self._profiler.stop()

    def begin(self, phase: str) -> None:
        """Say that what comes now is ``phase``, one of :data:`PHASES`, until the next begins or the batch ends."""
        if self._active:
            self._end_phase()
            if self._profiler is not None:
                self._range = torch.profiler.record_function(phase)
                self._range.__enter__()
            self._phase, self._since = phase, self._clock()

    def end_batch(self) -> None:
        """Say that a batch is done, with all that belongs to it."""
        if not self._active:
            return
        self._end_phase()
        self._seen += 1
        if self._seen == self.WARMUP + self._batches:
            self._write_table(self._batches)
            self._profiler = torch.profiler.profile()
            self._profiler.start()
        elif self._seen == self.WARMUP + self._batches + min(self._batches, self.TRACED):
            self._finish()

    def _end_phase(self) -> None:
        if self._range is not None:
            self._range.__exit__(None, None, None)
            self._range = None
        elif self._phase and self._seen >= self.WARMUP:
            self._seconds[self._phase] += self._clock() - self._since
        self._phase = ""

    def _clock(self) -> float:
        if self._device.type == "cuda" and self._profiler is None:
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def _finish(self) -> None:
        """Write what is not written yet, and look no further."""
        self._active = False
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler.export_chrome_trace(str(self._trace))
            self.reports.append(str(self._trace))
            self._profiler = None
        elif self._seen > self.WARMUP:
            self._write_table(self._seen - self.WARMUP)
        else:
            self.reports.append(f"no profile: the run had {self._seen} batches, the first {self.WARMUP} are left out")

    def _write_table(self, batches: int) -> None:
        total = sum(self._seconds.values())
        rows = [
            [phase, f"{1e3 * seconds / batches:.3f}", share]
            for (phase, seconds), share in zip(self._seconds.items(), shares(list(self._seconds.values())))
        ]
        table = Table(
            title=f"Where the time of a batch goes: {self._size}",
            columns=["phase", "ms", "%"],
            rows=[*rows, ["all", f"{1e3 * total / batches:.3f}", 1.0]],
            notes=[f"Means of {batches} batches after the first {self.WARMUP} of the process, on the main rank."],
        )
        write_atomically(self._table, table.to_markdown())
        self.reports += [table.to_text(), str(self._table)]


def shares(values: list[float], parts: int = 1000) -> list[float]:
    """Return each value's share of the sum, rounded to ``1 / parts`` so that the shares still add up to 1.

    The parts that rounding down leaves go to the largest remainders (Hamilton 1792).

    Examples
    --------
    >>> shares([1.0, 1.0, 1.0])
    [0.334, 0.333, 0.333]
    """
    exact = [parts * value / sum(values) for value in values]
    whole = [int(value) for value in exact]
    by_remainder = sorted(range(len(values)), key=lambda k: whole[k] - exact[k])
    for k in by_remainder[: parts - sum(whole)]:
        whole[k] += 1
    return [value / parts for value in whole]
