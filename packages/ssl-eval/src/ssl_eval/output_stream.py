"""Standard output and error that may be closed, full or without a reader; the program continues."""

import contextlib
import os
import sys
from typing import Any, TextIO

LOST_OUTPUT = 74  # exit code of a command whose output was lost: EX_IOERR of sysexits.h


class OutputStream:
    """A text stream that discards what it cannot write.

    The first error is reported in one line on the other standard stream, except for a closed pipe (e.g. of ``head``). After it
    all output goes to the null device, including that of subprocesses and C libraries.

    Parameters
    ----------
    stream : TextIO
        Where the text goes.
    name : str
        ``stdout`` or ``stderr``, for the message.

    Attributes
    ----------
    error : OSError or None
        The first error.
    """

    def __init__(self, stream: TextIO, name: str = "stderr") -> None:
        self._stream = stream
        self._name = name
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text, or discard it after an error."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Write what is buffered, or discard it after an error."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # encoding, isatty, fileno, ...

    def _give_up(self, error: OSError) -> None:
        if self.error is not None:
            return
        self.error = error
        with contextlib.suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        if not isinstance(error, BrokenPipeError):
            other = sys.stdout if self._name == "stderr" else sys.stderr
            with contextlib.suppress(OSError, AttributeError):
                other.write(f"{self._name}: {error.strerror}; further output is lost\n")
                other.flush()


def protect_output() -> None:
    """Replace ``sys.stdout`` and ``sys.stderr`` by :class:`OutputStream`, and open the null device for closed descriptors.

    A closed descriptor would be given to the next file that is opened, and messages of C libraries written into that file.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number: this descriptor
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, OutputStream):
            null = stream is None
            setattr(sys, name, OutputStream(open(os.devnull, "w") if null else stream, name))  # noqa: SIM115


def exit_code_of_output(code: int) -> int:
    """Return the exit code of a command that only prints: ``code``, or 74 where its output was lost."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    return LOST_OUTPUT if code == 0 and error is not None and not isinstance(error, BrokenPipeError) else code
