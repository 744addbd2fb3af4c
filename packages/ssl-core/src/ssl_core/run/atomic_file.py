"""Atomic replacement of files, and the error for a file that cannot be written."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ssl_core.errors import DiskError


@contextlib.contextmanager
def replace_atomically(path: Path, needed: int) -> Iterator[Path]:
    """Give a temporary path in the same folder; when the block ends, flush the file to the disk and rename it to ``path``.

    Readers see the old content or the new one. ``needed`` is the number of bytes of the new content. If the disk is full, over
    quota, read-only or gone, a DiskError is raised, the old content is unchanged, and no temporary file is left.
    """
    temporary = temporary_path(path)
    try:
        with translate_disk_errors(path, needed):
            check_free_space(path, needed)
            yield temporary
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_path(path: Path) -> Path:
    """Return where the new content of a file is before it replaces the old one; a killed process may leave it."""
    return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Create or replace a small file; raise a DiskError if it cannot be written. See :func:`replace_atomically`."""
    data = content.encode() if isinstance(content, str) else content
    with replace_atomically(path, len(data)) as temporary:
        temporary.write_bytes(data)


@contextlib.contextmanager
def translate_disk_errors(path: Path, needed: int) -> Iterator[None]:
    """Raise an ``OSError`` of the block, which writes ``needed`` bytes to ``path``, as a DiskError."""
    try:
        yield
    except DiskError:
        raise
    except OSError as error:
        raise disk_error(path, needed, error.strerror or str(error)) from error


def check_free_space(path: Path, needed: int) -> None:
    """Raise a :class:`~ssl_core.errors.DiskError` where fewer than ``needed`` bytes are free for ``path``."""
    free = _free(path)
    if free is not None and free < needed:
        raise disk_error(path, needed, "No space left on device")


def check_writable(folder: Path) -> None:
    """Raise a :class:`~ssl_core.errors.DiskError` for a folder in which no file can be created, before hours of work.

    The folder need not exist.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise disk_error(folder, 0, f"'{existing}' is read-only")


def disk_error(path: Path, needed: int, reason: str) -> DiskError:
    """Return the error for a file that cannot be written."""
    free = _free(path)
    there = "its folder does not exist" if free is None else f"{needed:,} bytes needed, {free:,} free"
    return DiskError(
        f"'{path}' cannot be written: {reason} ({there}); fix this and rerun the same command to resume", reason
    )


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure."""
    if os.name == "posix":  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
