"""Signals that ask a run to stop. They set a flag; the state is saved after the current optimizer step."""

import signal
import threading
from types import FrameType
from typing import Any

from ssl_core.errors import Preempted


def leave_at_once(_number: int, _frame: FrameType | None) -> None:
    """Signal handler for the time before and after a run: exit with the code of :class:`Preempted`, nothing has to be saved."""
    raise SystemExit(Preempted.exit_code)


class StopSignal:
    """Remembers that the run was asked to stop.

    It replaces only Python's own handlers and :func:`leave_at_once`, and only in the main thread: a launcher with its own
    handler (submitit's for local jobs) keeps it, and an ignored signal (``nohup``) stays ignored. A signal that arrives several
    times is remembered once. A second Ctrl-C interrupts the program at once.
    """

    # Sent by schedulers before they kill (TERM, USR1, USR2), by a closed terminal (HUP), and by Ctrl-C (INT). Windows has two.
    SIGNALS = tuple(
        getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGHUP") if hasattr(signal, name)
    )

    def __init__(self) -> None:
        self.name: str | None = None  # of the signal that arrived
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler, leave_at_once):
                    self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _arrived(self, number: int, _: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, self._before.pop(number))

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
