"""The members of a sweep, side by side in processes of their own on this machine, as many at a time as there is room for."""

import contextlib
import os
import signal
import subprocess
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from ssl_core.errors import ConfigError
from ssl_core.run.folder import plain_config
from ssl_core.run.signals import StopSignal
from ssl_core.run.source_location import changed_code
from ssl_eval.metric_cell import Cell, metric_cell
from ssl_eval.table import Table
from ssl_launch.sweep.sweep_run import SweepRun

POLL_SECONDS = 0.1  # between two looks at who has ended


@dataclass
class WorkerSlot:
    """Where one member at a time computes: some of the machine's cores, and GPUs where there are any."""

    cores: list[int] = field(default_factory=list)  # empty: all that this process has
    gpus: list[str] = field(default_factory=list)  # in CUDA_VISIBLE_DEVICES' words; empty: what this process sees

    @staticmethod
    def divide(n_jobs: int, gpus: list[str], gpus_each: int) -> "list[WorkerSlot]":
        """Return ``n_jobs`` places that share cores and GPUs as evenly as it goes, without overlap while there are enough.

        Examples
        --------
        >>> [place.gpus for place in WorkerSlot.divide(3, ["0", "1", "2", "3"], 2)]
        [['0', '1'], ['2', '3'], ['0', '1']]
        """
        cores = sorted(os.sched_getaffinity(0)) if n_jobs > 1 and hasattr(os, "sched_getaffinity") else []
        each = max(1, len(cores) // n_jobs)
        places = []
        for number in range(n_jobs):
            first = number * each % len(cores) if cores else 0
            begin = number * gpus_each % len(gpus) if gpus else 0
            places.append(WorkerSlot(cores[first : first + each], gpus[begin : begin + gpus_each]))
        return places

    @contextlib.contextmanager
    def taken(self) -> Iterator[dict[str, str]]:
        """Give the environment for a process that is started within, which inherits the cores from this thread."""
        environment = dict(os.environ)
        if self.gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        if not self.cores:
            yield environment
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, self.cores)
        try:
            yield environment
        finally:
            os.sched_setaffinity(0, before)


class Sweep:
    """Starts members, waits for them, passes signals on.

    Each is the command that a user would type for this one run, in a process of its own: what one of them does to its
    memory, its GPU or itself is nothing to the others. What it prints is in its folder (``output.log``).

    Parameters
    ----------
    command : list of str
        Of a member, without what makes it this one.
    places : list of Place
        As many members run at a time.
    """

    def __init__(self, command: list[str], places: list[WorkerSlot]) -> None:
        self.command = command
        self.places = places
        self.stopped_by: int | None = None  # the signal
        self._running: dict[int, tuple[SweepRun, subprocess.Popen[bytes]]] = {}  # by the number of their place

    def run(self, members: list[SweepRun], retry_failed: bool = False) -> None:
        """Bring every member to its end; after a signal, those that run, and start no more."""
        waiting = members_to_run(members, retry_failed)
        with self._signals():
            while self._running or (waiting and self.stopped_by is None):
                for number, place in enumerate(self.places):
                    if number not in self._running and waiting and self.stopped_by is None:
                        self._start(waiting.pop(0), number, place)
                time.sleep(POLL_SECONDS)
                self._gather()

    def _start(self, member: SweepRun, number: int, place: WorkerSlot) -> None:
        folder = member.folder
        folder.path.mkdir(parents=True, exist_ok=True)
        with place.taken() as environment, open(folder.output, "ab") as output:
            process = subprocess.Popen(
                [*self.command, *member.overrides],
                env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C in the terminal comes to us, and from us to each of them once
            )  # fmt: skip
        member.status = "running"
        self._running[number] = member, process
        print(f"{'started':<11} {folder.path}", flush=True)

    def _gather(self) -> None:
        for number, (member, process) in list(self._running.items()):
            code = process.poll()
            if code is not None:
                del self._running[number]
                member.end(code)
                print(f"{member.status:<11} {member.folder.path}", textwrap.shorten(member.error, 100), flush=True)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        before: dict[int, Any] = {number: signal.signal(number, self._pass_on) for number in StopSignal.SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.stopped_by = self.stopped_by or number
        for _member, process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def _warn_of_changed_code(members: list[SweepRun]) -> None:
    """Name the source files that have changed since finished members were trained: these are not trained again."""
    finished = [member for member in members if member.status == "finished"]
    changed = Counter(file for member in finished for file in changed_code(member.folder.read_summary()))
    for file, count in changed.items():
        print(
            f"'{file}' has changed since {count} of the finished runs were trained; to train them with the new code, choose "
            "another folder with ++log.folder=FOLDER",
            flush=True,
        )


def sweep_table(members: list[SweepRun]) -> Table:
    """Return how each member stands: status, metric, folder; why one has failed stands under it."""
    common = set.intersection(*(set(member.overrides) for member in members))
    metrics = [member.metric() for member in members]
    names = {name for name, _ in metrics} - {""}
    rows, notes = [], []
    for member, metric in zip(members, metrics):
        own = [each.lstrip("+") for each in member.overrides if each not in common or len(members) == 1]
        label = " ".join(own) or member.folder.path.name
        rows.append([label, member.status, _shown(*metric), _short(member.folder.path)])
        if member.error:
            notes.append(f"{label}: {member.error}")
    title = f"{len(members)} {'run' if len(members) == 1 else 'runs'}: {_listed(Counter(member.status for member in members))}"
    return Table(title, ["", "status", names.pop() if len(names) == 1 else "metric", "folder"], rows, notes)


def _shown(name: str, value: float | None) -> Cell:
    """Return the value as a cell of the table."""
    return None if value is None else metric_cell(name, [value])


def _short(path: Path) -> str:
    return min(os.path.relpath(path), str(path), key=len)


def _listed(counts: "Counter[str]") -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())


def share_twins(members: list[SweepRun]) -> list[SweepRun]:
    """Return the members, with one object for those that are the same run: a search may draw a value twice.

    Raises
    ------
    ConfigError
        If different members would be in one folder.
    """
    seen: dict[str, SweepRun] = {}
    for member in members:
        first = seen.setdefault(str(member.folder.path.absolute()), member)
        if plain_config(first.config) != plain_config(member.config):
            raise ConfigError(
                f"log.run={member.config.log.run!r}: two members of the sweep would be in one folder, "
                f"'{member.folder.path}': {' '.join(first.overrides)} and {' '.join(member.overrides)}; without log.run, a run "
                "is named by all of its keys but log.*"
            )
    return [seen[str(member.folder.path.absolute())] for member in members]


def members_to_run(members: list[SweepRun], retry_failed: bool) -> list[SweepRun]:
    """Return the members, each once, that an earlier sweep has not brought to an end; print how many it has."""
    members = list({id(member): member for member in members}.values())
    for member in members:
        member.look(retry_failed)
    waiting = [member for member in members if member.status == "waiting"]
    if len(waiting) < len(members):
        counts = Counter(member.status for member in members if member.status != "waiting")
        print(f"of {len(members)} runs {_listed(counts)} before, {len(waiting)} to do", flush=True)
        _warn_of_changed_code(members)
    return waiting
