"""Sweep on this machine: one process for each run, several at a time."""

import contextlib
import os
import signal
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from ssl_core.run.signals import STOP_SIGNALS
from ssl_core.run.source_location import changed_code
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import Table
from ssl_launch.sweep.sweep_run import SweepRun

POLL_SECONDS = 0.1  # between two checks for processes that have ended


@dataclass
class WorkerSlot:
    """Cores and GPUs of one run at a time."""

    cores: list[int] = field(default_factory=list)  # empty: those of this process
    gpus: list[str] = field(default_factory=list)  # as in CUDA_VISIBLE_DEVICES; empty: those of this process

    @staticmethod
    def divide(n_jobs: int, gpus: list[str], gpus_each: int) -> "list[WorkerSlot]":
        """Return ``n_jobs`` slots that share cores and GPUs evenly, without overlap while there are enough.

        Examples
        --------
        >>> [slot.gpus for slot in WorkerSlot.divide(3, ["0", "1", "2", "3"], 2)]
        [['0', '1'], ['2', '3'], ['0', '1']]
        """
        cores = sorted(os.sched_getaffinity(0)) if n_jobs > 1 and hasattr(os, "sched_getaffinity") else []
        each = max(1, len(cores) // n_jobs)
        slots = []
        for number in range(n_jobs):
            first = number * each % len(cores) if cores else 0
            places = range(number * gpus_each, (number + 1) * gpus_each) if gpus else ()
            slots.append(WorkerSlot(cores[first : first + each], [gpus[place % len(gpus)] for place in places]))
        return slots

    def start(self, command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        """Start a process on the cores and GPUs of this slot."""
        gpus = {"CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else {}
        if not self.cores:
            return subprocess.Popen(command, env={**os.environ, **gpus}, **options)
        own = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)  # a child inherits the cores of this thread
        try:
            return subprocess.Popen(command, env={**os.environ, **gpus}, **options)
        finally:
            os.sched_setaffinity(0, own)


class Sweep:
    """Start the processes of a sweep, wait for them and forward signals.

    Each run is the command that a user would type for it alone, in a separate process: an error, a memory leak or a crash
    in one run does not affect the others. Its output is in ``output.log`` of its folder.

    Parameters
    ----------
    command : list of str
        Command of a run without its overrides.
    slots : list of WorkerSlot
        One for each run at a time.
    """

    def __init__(self, command: list[str], slots: list[WorkerSlot]) -> None:
        self.command = command
        self.slots = slots
        self.stopped_by: int | None = None  # signal number
        self._running: dict[int, tuple[SweepRun, subprocess.Popen[bytes]]] = {}  # by the number of their slot

    def run(self, runs: list[SweepRun], retry_failed: bool = False) -> None:
        """Run all runs to their end. After a signal, wait for the running ones and start no more."""
        waiting = unfinished_runs(runs, retry_failed)
        with self._signals():
            while self._running or (waiting and self.stopped_by is None):
                for number in range(len(self.slots)):
                    if number not in self._running and waiting and self.stopped_by is None:
                        self._start(waiting.pop(0), number)
                time.sleep(POLL_SECONDS)
                self._collect()

    def _start(self, run: SweepRun, number: int) -> None:
        folder = run.folder
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            with open(folder.output, "ab") as output:
                process = self.slots[number].start(
                    [*self.command, *run.overrides],
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches only this process, which forwards it once
                )  # fmt: skip
        except OSError as error:  # raised here, it would leave the running processes behind
            run.status, run.error = "failed", f"it cannot start: {error.strerror}: '{error.filename}'"
            print(f"{run.status:<11} {folder.path}", textwrap.shorten(run.error, 100), flush=True)
            return
        run.status = "running"
        self._running[number] = run, process
        print(f"{'started':<11} {folder.path}", flush=True)

    def _collect(self) -> None:
        for number, (run, process) in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[number]
                run.end_process(code)
                print(f"{run.status:<11} {run.folder.path}", textwrap.shorten(run.error, 100), flush=True)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before: dict[int, Any] = {number: signal.signal(number, self._forward) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, _: FrameType | None) -> None:
        self.stopped_by = self.stopped_by or number
        for _run, process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def unfinished_runs(runs: list[SweepRun], retry_failed: bool) -> list[SweepRun]:
    """Return the runs, each once, that no earlier sweep has completed; print how many are left out.

    Finished runs whose code has changed since are named: they are not trained again.
    """
    runs = list({id(run): run for run in runs}.values())
    for run in runs:
        run.read_earlier_result(retry_failed)
    waiting = [run for run in runs if run.status == "waiting"]
    if len(waiting) < len(runs):
        ended = _counts(run for run in runs if run.status != "waiting")
        print(f"{len(runs)} runs: {ended} earlier, {len(waiting)} to do", flush=True)
    finished = [run for run in runs if run.status == "finished"]
    changed = Counter(file for run in finished for file in changed_code(run.folder.read_summary()))
    for file, count in changed.items():
        print(
            f"'{file}' has changed since {count} of the finished runs were trained; to train them with the new code, choose "
            "another folder with log.folder=FOLDER",
            flush=True,
        )
    return waiting


def sweep_table(runs: list[SweepRun]) -> Table:
    """Return status, metric and folder of each run; the errors of failed runs are notes below."""
    common = set.intersection(*(set(run.overrides) for run in runs))
    metrics = [run.metric() for run in runs]
    names = {name for name, _ in metrics} - {""}
    rows, notes = [], []
    for run, (name, value) in zip(runs, metrics):
        own = [each.lstrip("+") for each in run.overrides if each not in common or len(runs) == 1]
        label = " ".join(own) or run.folder.path.name
        folder = min(os.path.relpath(run.folder.path), str(run.folder.path), key=len)
        rows.append([label, run.status, None if value is None else metric_cell(name, [value]), folder])
        if run.error:
            notes.append(f"{label}: {run.error}")
    title = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {_counts(runs)}"
    return Table(title, ["", "status", names.pop() if len(names) == 1 else "metric", "folder"], rows, notes)


def _counts(runs: Any) -> str:
    """Return how many runs have each status, e.g. "2 finished, 1 failed"."""
    return ", ".join(f"{count} {status}" for status, count in Counter(run.status for run in runs).items())
