"""Compilation with numba: without the interpreter's lock, cached on disk, and repeated when the sources change.

numba's own cache compares the date of a function's file only: after a change in another file, a cached function still calls the
old version. Here the folder of the cache is named by a digest of all files with compiled functions.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

_numba: Any = numba.config  # its names are created at run time, so that a type checker does not know them
_PACKAGE = Path(__file__).parents[1]  # ssl_data
# Every file with compiled functions
_FILES = [
    *(_PACKAGE / "augment" / name for name in ("jit.py", "rng.py", "sampling.py", "seeding.py")),
    *sorted((_PACKAGE / "augment" / "backends" / "cpu").glob("*.py")),
    *sorted((_PACKAGE / "augment" / "operations").glob("*.py")),
    _PACKAGE / "corruptions" / "blur.py",
    _PACKAGE / "loading" / "shuffle.py",
]


def compiled(function: Callable[..., Any]) -> Any:
    """Return ``function`` as compiled code that is kept on the disk where a folder can be written, else in memory only."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}  # a division by zero is no branch
    before = _numba.CACHE_DIR
    _numba.CACHE_DIR = str(_FOLDER)  # read when the function is decorated; functions of other packages are not affected
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba found no folder that it may write: compile in every process
        return numba.njit(**options)(function)
    finally:
        _numba.CACHE_DIR = before


def _folder() -> Path:
    """Return where compiled code is kept: $NUMBA_CACHE_DIR, the folder of the package, or the user's cache."""
    digest = hashlib.sha256()
    for file in _FILES:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    if _numba.CACHE_DIR:
        place = Path(_numba.CACHE_DIR, "ssl_data")
    elif os.access(_PACKAGE, os.W_OK):
        place = _PACKAGE / "__pycache__"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ssl_data")
    return place / digest.hexdigest()[:16]


_FOLDER = _folder()
