"""Find a run by its name: in the working directory, then in ``outputs/``."""

import glob
from pathlib import Path

OUTPUTS = "outputs"  # default of log.folder


def find_run(name: str) -> str:
    """Return ``NAME`` if it exists, else ``outputs/NAME`` if that exists, else ``NAME``.

    Parameters
    ----------
    name : str
        A path, or a pattern such as ``'simclr*'``.
    """
    inside = str(Path(OUTPUTS, name))
    return inside if not _exists(name) and _exists(inside) else name


def _exists(path: str) -> bool:
    return Path(path).exists() or bool(glob.glob(path))
