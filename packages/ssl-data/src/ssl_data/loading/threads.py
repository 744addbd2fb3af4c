"""How many threads this process may use."""

import logging
import os

THREADS_PER_PROCESSOR = 8  # more cost memory and time with any storage

_message = logging.getLogger(__name__)


def bounded_threads(wanted: int | None, name: str = "num_workers") -> int:
    """Return a number of threads: ``wanted``, at most 8 for each available processor, or one each for None, 0 or less.

    A larger number is reduced with a warning, which calls it ``name``, and no error: it changes speed only, and a run may come
    from a larger machine.
    """
    available = available_threads()
    if wanted is None or wanted < 1:
        return available
    most = THREADS_PER_PROCESSOR * available
    if wanted > most:
        _message.warning(
            "%s=%d: more than %d threads for each of %d available processors; using %d",
            name, wanted, THREADS_PER_PROCESSOR, available, most,
        )  # fmt: skip
    return min(wanted, most)


def available_threads() -> int:
    """Return this process's share of the processors.

    The processors of its affinity, which SLURM and taskset set, divided by the processes that torchrun started on this machine.
    """
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // int(os.environ.get("LOCAL_WORLD_SIZE") or 1))
