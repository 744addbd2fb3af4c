"""Lock of a run folder: one process at a time."""

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any, TextIO

from ssl_core.errors import DiskError, RunFolderError
from ssl_core.run.atomic_file import translate_disk_errors

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SILENT_SECONDS = 1800.0  # without a new byte in the folder, after which a run on another machine is considered dead
CLOCK_SECONDS = 2.0  # largest difference between the clocks of processes and files


class RunLock:
    """Holds a run folder while a run works in it. A second run raises an error that names the holder.

    The operating system releases the lock (``flock``) when the process ends in any way, so that the folder of a killed run
    can be used at once. On a shared file system it also holds between machines, if the file system supports it. Where files
    cannot be locked (some network file systems, Windows), the folder is considered in use while the holder's process is alive
    on this machine, or, for a holder on another machine, while its files have changed within half an hour.

    Parameters
    ----------
    path : Path
        ``<run>/.lock``. While it is held, it contains host, process and start time. Its folder is created.
    takes : bool
        False on all ranks but the main one.
    """

    def __init__(self, path: Path, takes: bool = True) -> None:
        self.path = path
        self.takes = takes
        self._file: TextIO | None = None

    def __enter__(self) -> "RunLock":
        """Take the lock; raise a RunFolderError if another process holds it, or the folder cannot be written."""
        if not self.takes:
            return self
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+")  # kept open, and locked, until __exit__
        except OSError as error:
            raise RunFolderError.unwritable(self.path.parent, error) from error
        locked = lock_file(file)
        if locked is False or (locked is None and self._seems_in_use()):
            file.close()
            holder = _read_holder(self.path) or {}
            who = f"process {holder.get('process', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
            raise RunFolderError(
                f"log.run={self.path.parent.name!r}: another run works in '{self.path.parent}': {who}; wait for it, stop "
                "it, or choose another folder with log.run=NAME"
            )
        file.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        ours = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": now}).encode()
        try:
            with translate_disk_errors(self.path, len(ours)):
                os.write(file.fileno(), ours)
        except DiskError:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.truncate(0)  # not removed: a process that has opened it would lock a file without a name
            self._file.close()
            self._file = None

    def _seems_in_use(self) -> bool:
        """Return whether the holder seems to be alive, where files cannot be locked."""
        working = is_worked_in(self.path)
        if working is not None:
            return working
        newest = max((entry.stat().st_mtime for entry in self.path.parent.iterdir()), default=0.0)
        return time.time() - newest < SILENT_SECONDS


def lock_file(file: IO[Any], wait: bool = False) -> bool | None:
    """Lock an open file until it is closed or the process ends; ``wait`` while another process holds the lock.

    Returns True if it is locked now, False if another process holds the lock, and None if files cannot be locked here.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return None
    return True


def is_worked_in(path: Path) -> bool | None:
    """Return whether a process works in the folder of this lock, without taking it; None if that is unknown.

    The lock is empty after a run has ended. A killed run leaves its process id; the id may have been reused by a process that
    started after the lock was taken.
    """
    holder = _read_holder(path)
    if not holder:
        return None if holder is None else False
    if holder.get("host") != socket.gethostname():
        return None
    process = int(holder["process"])
    return _is_alive(process) and _start_time(process) <= path.stat().st_mtime + CLOCK_SECONDS


def _read_holder(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text() or "{}")
    except (OSError, ValueError):  # missing, or being written
        return None


def _start_time(process: int) -> float:
    """Return the start of a process in seconds since 1970; 0 where the system does not tell."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return 0.0
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # where os.kill(process, 0) would end it
        return _is_alive_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _is_alive_on_windows(process: int) -> bool:
    import ctypes

    kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(0x1000, False, process)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return ctypes.get_last_error() == 5  # type: ignore[attr-defined, unused-ignore]  # access denied: of another user
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
