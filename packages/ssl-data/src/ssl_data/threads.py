"""How many threads this process may use."""

import os


def available_threads() -> int:
    """Return this process's share of the processors.

    Those that it may run on (its affinity, as SLURM and taskset set it), divided by the processes that torchrun started
    beside it, which all see the same ones.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))
