"""Signals that ask a run to stop, as a flag: the state is saved at the next step boundary, never in the middle of a step."""

import signal
import threading
from types import FrameType
from typing import Any

from ssl_core.errors import Preempted


def leave_at_once(_number: int, _frame: FrameType | None) -> None:
    """Handler for the time before a run, and after it: there is nothing to save, and whoever stops it may start it again."""
    raise SystemExit(Preempted.exit_code)


class StopSignal:
    """Remembers that somebody asked the run to stop.

    Only in the main thread, and only in place of Python's own handlers or :func:`leave_at_once`: a launcher that has its own
    (submitit's for local jobs) keeps it, and a signal that is ignored (``nohup``) stays ignored. Schedulers send a signal
    several times: it is remembered once. A second Ctrl-C acts as it would have without us, so that an impatient one still
    ends the program.
    """

    # what schedulers send before they kill (TERM, USR1, USR2), what a closed terminal sends (HUP), and Ctrl-C (INT)
    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)

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
