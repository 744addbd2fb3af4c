"""Atomic writing of a file.

Written by hand since the standard library has no equivalent; ``tempfile`` leaves a file behind when the process is killed.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)  # a file system or a kernel without nameless files


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing. It gets its name, replacing an existing file, when the block ends without an error.

    Until then it has no name where the system supports that (Linux, on local file systems): it disappears with the process,
    also after kill -9. Elsewhere it is called ``.<name>.<process>.tmp``, and is removed after an error only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor, nameless = _opened(path.parent, temporary)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            if nameless:
                _give_name(descriptor, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _opened(folder: Path, temporary: Path) -> tuple[int, bool]:
    """Return the descriptor of a new file, and whether it has no name."""
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), True
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
    return os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), False


def _give_name(descriptor: int, path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # without dir_fd Python does not follow the link in /proc
        os.link(f"/proc/self/fd/{descriptor}", path.absolute(), src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
