"""One process at a time in a run folder."""

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import Any, TextIO

from ssl_core.errors import DiskError, RunFolderError
from ssl_core.run.atomic_file import translate_disk_errors

SILENT_SECONDS = 1800.0  # without a new byte in the folder, after which a run that cannot be asked counts as gone
CLOCK_SECONDS = 2.0  # by which the times of a process and of a file may be apart


class RunLock:
    """Holds a run folder while a run works in it; a second run is refused, and told who holds it.

    The lock is the operating system's (``flock``): it goes when its process goes, however that ends, so that what a killed
    run has left is taken over at once. On a shared file system it holds between machines where the file system says so. One
    that cannot lock leaves the question to what can be seen: whether the holder's process is alive, where it is one of this
    machine, and else whether its files have grown within half an hour.

    Parameters
    ----------
    path : Path
        ``<run>/.lock``; while it is held it says host, process and since when. Its folder is made.
    takes : bool
        False on all ranks but the main one.
    """

    def __init__(self, path: Path, takes: bool = True) -> None:
        self.path = path
        self.takes = takes
        self._file: TextIO | None = None

    def __enter__(self) -> "RunLock":
        """Take the lock.

        Raises
        ------
        RunFolderError
            If another process holds it, naming host and process; or if the disk refuses.
        """
        if self.takes:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "a+")  # kept open, and locked, until __exit__
            except OSError as error:
                raise RunFolderError.unwritable(self.path.parent, error) from error
            if self._is_held(self._file):
                holder = self._holder(self._file)
                self._file.close()
                self._file = None
                who = f"process {holder.get('process', '?')} on {holder.get('host', '?')} since {holder.get('since', '?')}"
                raise RunFolderError(
                    f"log.run={self.path.parent.name!r}: another run works in '{self.path.parent}': {who}; wait for it, stop "
                    "it, or give this one a folder of its own with ++log.run=NAME"
                )
            self._file.truncate(0)
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            ours = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": now}).encode()
            try:
                with translate_disk_errors(self.path, len(ours)):
                    os.write(self._file.fileno(), ours)
            except DiskError:
                self._file.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.truncate(0)  # the file stays: whoever opened it before it went would lock what has no name
            self._file.close()
            self._file = None

    def _is_held(self, file: TextIO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # this file system cannot lock
            holder = self._holder(file)
            if holder.get("host") == socket.gethostname():
                return _is_alive(int(holder["process"]))
            return bool(holder) and time.time() - _newest_change(self.path.parent) < SILENT_SECONDS
        return False

    def _holder(self, file: TextIO) -> dict[str, Any]:
        file.seek(0)
        try:
            return json.loads(file.read() or "{}")
        except json.JSONDecodeError:  # just being written
            return {}


def is_worked_in(path: Path) -> bool | None:
    """Say whether a process works in the folder of this lock, without taking it; None where that cannot be seen from here.

    Parameters
    ----------
    path : Path
        ``<run>/.lock``: empty where a run has left it as it should. What a killed one leaves is told by its process, which
        is gone, or began after the lock was taken.
    """
    try:
        holder = json.loads(path.read_text() or "{}")
        taken = path.stat().st_mtime
    except (OSError, ValueError):
        return None
    if not holder:
        return False
    if holder.get("host") != socket.gethostname():
        return None
    process = int(holder["process"])
    return _is_alive(process) and _began(process) <= taken + CLOCK_SECONDS


def _began(process: int) -> float:
    """Return when a process began, in seconds of the clock; 0 where the system does not say."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return 0.0
    return int(booted.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _newest_change(folder: Path) -> float:
    return max((entry.stat().st_mtime for entry in folder.iterdir()), default=0.0)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
