"""Measure the memory of a run of many short epochs, each with an evaluation and a checkpoint."""

import gc
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any


def resident_mib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory_of_epochs(epochs: int) -> tuple[list[float], list[int]]:
    """Train that many epochs of ``crash_recovery.Everything`` on digits; return MiB and objects of Python after each."""
    import crash_recovery

    memory: list[float] = []
    objects: list[int] = []

    class Sampled(crash_recovery.Everything):
        def save_checkpoint(self, *arguments: Any, **keywords: Any) -> None:
            super().save_checkpoint(*arguments, **keywords)
            if len(memory) < self.progress.epoch:
                objects.append(len(gc.get_objects()))
                memory.append(resident_mib())

    config = crash_recovery.configuration(Path(tempfile.mkdtemp(dir=os.environ["BENCH"])), "run")
    config.optim.epochs, config.log.checkpoint_every_steps, config.log.report = epochs, 0, False
    Sampled(config).fit()
    return memory, objects


def slope(values: list[float]) -> tuple[float, float]:
    """Return the least-squares slope a step, and the half width of its 95 % interval, corrected for what neighbours share.

    The residuals of memory are not independent (it moves in stairs): the error is that of the number of samples that their
    autocorrelation leaves, ``n (1 - r) / (1 + r)``.
    """
    n = len(values)
    middle, mean = (n - 1) / 2, sum(values) / n
    spread = sum((k - middle) ** 2 for k in range(n))
    found = sum((k - middle) * (value - mean) for k, value in enumerate(values)) / spread
    residuals = [value - mean - found * (k - middle) for k, value in enumerate(values)]
    square = sum(r * r for r in residuals)
    if square == 0:
        return found, 0.0
    shared = min(0.99, max(0.0, sum(a * b for a, b in itertools.pairwise(residuals)) / square))
    free = max(1.0, n * (1 - shared) / (1 + shared) - 2)
    return found, 2 * (square / free / spread) ** 0.5
