"""Prefetching of batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Job = tuple[Batch, Sequence[Callable[[], None]]]  # a batch with empty places, and the calls that fill them


def prefetched(jobs: Iterable[Job[Batch]], num_workers: int, ahead: int) -> Iterator[Batch]:
    """Yield the batch of each job when its calls are done; threads work up to ``ahead`` jobs ahead of it.

    The threads are gone when the last batch is taken, when the consumer stops early and when it is interrupted: calls that
    have not begun are dropped, those that have are waited for. An error in a call is raised when its batch is due.

    Parameters
    ----------
    jobs : iterable of (batch, calls)
        Read in the consumer's thread, ``ahead`` jobs early.
    num_workers : int
        Threads.
    ahead : int
        Jobs under way while the consumer works with a batch: what bounds the memory.
    """
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="ssl-data")
    under_way: deque[tuple[Batch, list[Future[None]]]] = deque()
    try:
        for batch, calls in jobs:
            under_way.append((batch, [pool.submit(call) for call in calls]))
            if len(under_way) > ahead:
                yield _finished(*under_way.popleft())
        while under_way:
            yield _finished(*under_way.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(batch: Batch, calls: list[Future[None]]) -> Batch:
    for call in calls:
        call.result()
    return batch
