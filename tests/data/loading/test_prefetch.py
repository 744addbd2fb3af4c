"""Prefetching of batches in threads."""

import subprocess
import sys
import threading
import time

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


def test_early_stop_cancels_calls_that_have_not_begun():
    before, begun, release = threading.active_count(), [], threading.Event()

    def call(number):
        begun.append(number)
        release.wait()

    jobs = ((number, [lambda number=number: call(number)] if number else []) for number in range(9))
    batches = prefetched(jobs, num_workers=1, ahead=8)
    assert next(batches) == 0
    while not begun:
        time.sleep(0.01)
    threading.Timer(0.2, release.set).start()
    batches.close()
    assert begun == [1]
    assert threading.active_count() <= before + 1  # the timer
