"""A disk that is really full, or read-only: a small file system in memory. Mounting needs root; elsewhere such tests skip."""

import contextlib
import os
import subprocess

import pytest


def mount(*arguments):
    """Call ``mount``; skip the test, visibly, where it is refused."""
    result = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        pytest.skip(f"this machine lets nobody mount: {result.stderr.strip()}")


@contextlib.contextmanager
def small_disk(folder, size="1m"):
    """A file system of its own at a new folder."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk, free=0):
    """Leave so many bytes free."""
    with open(disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - free)


def make_room(disk):
    """Take away what :func:`fill` has put there."""
    (disk / "filler").unlink()
