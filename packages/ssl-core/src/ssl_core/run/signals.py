"""Signals that ask a run to stop. They set a flag; the state is saved after the current optimizer step."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ssl_core.errors import Preempted

# Sent by schedulers before they kill (TERM, USR1, USR2), by a closed terminal (HUP), and by Ctrl-C (INT). Windows has two.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name)
)


@contextlib.contextmanager
def block_signals() -> Iterator[None]:
    """Block the stop signals in this thread: a process that is started meanwhile inherits that.

    A scheduler signals all processes of a job, also one that is still starting and has no handler yet.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_signals() -> None:
    """Ignore the stop signals in this process, which was started with them blocked."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def leave_at_once(_number: int, _frame: FrameType | None) -> None:
    """Signal handler for the time before and after a run: exit with the code of :class:`Preempted`, nothing has to be saved."""
    raise SystemExit(Preempted.exit_code)


class StopSignal:
    """Remembers that the run was asked to stop.

    It replaces only Python's own handlers and :func:`leave_at_once`, and only in the main thread: a launcher with its own
    handler (submitit's for local jobs) keeps it, and an ignored signal (``nohup``) stays ignored. A signal that arrives several
    times is remembered once. A second Ctrl-C interrupts the program at once.
    """

    def __init__(self) -> None:
        self.name: str | None = None  # of the signal that arrived
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, leave_at_once):
                    self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _arrived(self, number: int, _: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._before.pop(number))
