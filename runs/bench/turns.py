"""A trainer's own ``fit()`` in turns: it goes through a loader without end, which stands still between two of them.

So every trainer is timed as its users run it, from the outside, without a clock in its own code.
"""

import itertools
import os
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from process_timing import Epoch


class Turns:
    """A loader that goes through ``batches`` again and again, ``steps`` of them a turn.

    Parameters
    ----------
    batches : iterable
        A list, or a loader, which gives another epoch each time.
    steps : int
        Batches of a turn.
    """

    def __init__(self, batches: Iterable[Any], steps: int) -> None:
        self.batches = batches
        self.steps = steps
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)

    def __len__(self) -> int:
        return 10**9

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(self.batches))):
            if number % self.steps == 0:
                self._done.release()
                self._go.acquire()
            yield batch

    def start(self, epoch: int, step: int) -> None:
        """Begin: what our own trainer asks of a loader."""

    def drive(self, fit: Callable[[], Any], per_step: int = 1) -> Epoch:
        """Start ``fit``, which goes through this loader; return the function that lets it make one more turn.

        It returns ``per_step`` for every step: 1 counts steps, the samples of a batch count samples.
        """
        threading.Thread(target=_or_die, args=(fit,), daemon=True).start()
        self._done.acquire()

        def epoch() -> int:
            self._go.release()
            self._done.acquire()
            return self.steps * per_step

        return epoch


def _or_die(fit: Callable[[], Any]) -> None:
    """Call ``fit``, which has no end: should it end, so does the process, and whoever waits for it hears of it."""
    try:
        fit()
    except BaseException:
        traceback.print_exc()
    os._exit(1)
