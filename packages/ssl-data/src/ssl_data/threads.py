"""How many threads this process may use."""

import os


def available_threads() -> int:
    """Return the number of processors that this process may run on (its affinity, as SLURM and taskset set it)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
