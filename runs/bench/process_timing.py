"""Time contenders in separate processes and in turns, so that other load of the machine affects all of them alike.

Two clocks: wall time, and processor time, the seconds that the threads and processes of a contender were given. On a shared
machine wall time depends mostly on the others; ratios are of processor time.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

Epoch = Callable[[], int]  # makes some batches; returns how many samples they had


@dataclass
class Result:
    """What came out for one contender."""

    name: str
    start_seconds: float  # from a fresh process to its first epoch, imports and compilation included
    rates: list[float]  # samples a second of the wall's clock, one a repetition
    cpu_rates: list[float]  # samples a second of one core, likewise
    process: int = 0  # its number
    peak_mib: float = 0.0  # peak of the resident memory of its process

    @property
    def rate(self) -> float:
        """The median of the samples a second of one core."""
        return statistics.median(self.cpu_rates)


def compare(contenders: dict[str, Callable[[], Epoch]], seconds: float, repetitions: int) -> dict[str, Result]:
    """Return the samples a second of each contender.

    Parameters
    ----------
    contenders : mapping
        A name, and a function of a module that makes ready and returns what is timed: one more epoch. It is called in a
        fresh process, which lives until the end and idles while the others have their turn.
    seconds : float
        That a turn takes, at least.
    repetitions : int
        Turns of each.
    """
    context = get_context("spawn")
    running, results = {}, {}
    for name, build in contenders.items():
        here, there = context.Pipe()
        begin = time.perf_counter()
        process = context.Process(target=_serve, args=(build, there), daemon=False)
        process.start()
        running[name] = process, here
        _answer(name, here)
        results[name] = Result(name, time.perf_counter() - begin, [], [])
    for turn in range(repetitions):
        for name, (_, here) in running.items():
            here.send(seconds)
            rate, cpu_rate = _answer(name, here)
            results[name].rates.append(rate)
            results[name].cpu_rates.append(cpu_rate)
            line = f"turn {turn + 1}: {name:45s} {rate:10,.0f} samples/s {cpu_rate:10,.0f} a core"
            print(line, file=sys.stderr, flush=True)
    for name, (process, _) in running.items():
        pid = int(process.pid or 0)
        results[name].process, results[name].peak_mib = pid, memory_mib("VmHWM", pid)
        process.kill()  # a DataLoader's workers, which lightly's wait for, end when they miss their parent
        process.join()
    return results


def _answer(name: str, connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        raise SystemExit(f"{name}: its process died, see above") from None


def _serve(build: Callable[[], Epoch], connection: Connection) -> None:
    """Make ready, make one epoch, and then time epochs whenever a number of seconds arrives."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    epoch = build()
    epoch()
    connection.send("ready")
    while True:
        seconds = connection.recv()
        samples, begin, cpu = 0, time.perf_counter(), _cpu_seconds()
        while time.perf_counter() - begin < seconds:
            samples += epoch()
        connection.send((samples / (time.perf_counter() - begin), samples / (_cpu_seconds() - cpu)))


def memory_mib(field: str, process: int | str = "self") -> float:
    """Return the resident memory of a process (``VmRSS``), or its peak (``VmHWM``)."""
    with open(f"/proc/{process}/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(field))


def _cpu_seconds() -> float:
    """Return the processor's time of this process and all that descend from it, those that have ended included."""
    parents, ticks = {}, {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                with open(f"/proc/{entry.name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()  # behind the name, which may hold anything
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = sum(
                map(int, fields[11:15])
            )  # its own, and that of children that it has waited for
    family = {os.getpid()}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(ticks[process] for process in family) / os.sysconf("SC_CLK_TCK")


def table(results: dict[str, Result], baseline: str) -> str:
    """Return a table of reStructuredText: samples a second, of one core with their range, how many times the baseline."""
    ours = results[baseline].rate
    rows = [("..", "samples/s", "samples/s of one core", f"{baseline} is", "start, s")]
    for result in results.values():
        wall, start = f"{statistics.median(result.rates):,.0f}", f"{result.start_seconds:.1f}"
        spread = f"{result.rate:,.0f} ({min(result.cpu_rates):,.0f} to {max(result.cpu_rates):,.0f})"
        rows.append((result.name, wall, spread, f"{ours / result.rate:.2f} x", start))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def processors() -> str:
    """Return the name of the processor and how many of it this process may use."""
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]  # noqa: SIM115
    return f"{len(os.sched_getaffinity(0))} cores of {names[0] if names else 'an unknown processor'}"
