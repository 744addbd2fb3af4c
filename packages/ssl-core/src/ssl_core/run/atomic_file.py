"""A disk that refuses: whatever it was, the run says which file, how many bytes, and how many are free."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ssl_core.errors import DiskError


@contextlib.contextmanager
def translate_disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Turn what the operating system says of a write into one sentence.

    Parameters
    ----------
    path : Path
        The file.
    needed : int
        Bytes that it was to have.

    Raises
    ------
    DiskError
        If the block raises an ``OSError`` that is none yet.
    """
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise disk_error(path, needed, error.strerror or str(error)) from error


def check_free_space(path: Path, needed: int) -> None:
    """Raise before a byte is written, where it is clear that not all of them will fit.

    Raises
    ------
    DiskError
        If fewer bytes are free.
    """
    free = _free(path)
    if free is not None and free < needed:
        raise disk_error(path, needed, "No space left on device")


def disk_error(path: Path, needed: int, reason: str) -> DiskError:
    """Return the error for a file that the disk refuses."""
    free = _free(path)
    if free is None:
        there = "its folder is gone"
    else:
        there = f"{needed:,} bytes needed, {free:,} free"
    return DiskError(f"'{path}' cannot be written: {reason} ({there}); mend that, and the same command goes on", reason)


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None
