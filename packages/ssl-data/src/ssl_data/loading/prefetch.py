"""Prefetching of batches in threads.

Written by hand since ``torch.utils.data.DataLoader`` has processes, which copy source and batches, while views release the
interpreter's lock, and since ``Executor.map`` does not bound the batches in memory before Python 3.14.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Job = tuple[Batch, Sequence[Callable[[], None]]]  # an unfilled batch, and the calls that fill it


def prefetched(jobs: Iterable[Job[Batch]], num_workers: int, ahead: int) -> Iterator[Batch]:
    """Yield the batch of each job when its calls are done; threads work up to ``ahead`` jobs ahead.

    The threads end with the last batch, when the consumer stops early and when it is interrupted: calls that have not begun are
    cancelled, running ones are waited for. An error in a call is raised when its batch is due.

    Parameters
    ----------
    jobs : iterable of (batch, calls)
        Read in the consumer's thread, ``ahead`` jobs early.
    num_workers : int
        Threads.
    ahead : int
        Jobs in progress while the consumer works with a batch; it bounds the memory.
    """
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="ssl-data")
    pending: deque[tuple[Batch, list[Future[None]]]] = deque()
    try:
        for batch, calls in jobs:
            pending.append((batch, [pool.submit(call) for call in calls]))
            if len(pending) > ahead:
                yield _finished(*pending.popleft())
        while pending:
            yield _finished(*pending.popleft())
    finally:
        # cancel_futures=True fails for an iterator that is left open until the interpreter ends
        for _, futures in pending:
            for future in futures:
                future.cancel()
        pool.shutdown(wait=True)


def _finished(batch: Batch, calls: list[Future[None]]) -> Batch:
    for call in calls:
        call.result()
    return batch
