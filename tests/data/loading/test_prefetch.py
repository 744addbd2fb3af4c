"""Prefetching of batches in threads."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ssl_data.loading.prefetch import prefetched

OPEN = """
import numpy as np
from ssl_data import ArraySource, Loader, views

images, labels = np.zeros((64, 8, 8, 3), np.uint8), np.zeros(64, np.int64)
batches = iter(Loader(ArraySource(images, labels), views("evaluation", size=8), 8, num_workers=2))
print(len(next(batches)))
"""


def test_iterator_left_open_at_exit_is_silent():
    result = subprocess.run([sys.executable, "-c", OPEN], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "3\n", "")


def test_early_stop_cancels_calls_that_have_not_begun(monkeypatch):
    before, begun, started, release = threading.active_count(), [], threading.Event(), threading.Event()

    def call(number):
        begun.append(number)
        started.set()
        release.wait()

    def shutdown(pool, **options):  # the first call runs until here: nothing depends on time
        release.set()
        stop(pool, **options)

    stop = ThreadPoolExecutor.shutdown
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    jobs = ((number, [lambda number=number: call(number)] if number else []) for number in range(9))
    batches = prefetched(jobs, num_workers=1, ahead=8)
    assert next(batches) == 0
    started.wait()
    batches.close()
    assert begun == [1]
    assert threading.active_count() == before
