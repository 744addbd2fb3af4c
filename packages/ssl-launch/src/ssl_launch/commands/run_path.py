"""Find a run by its name: in the working directory, then in ``outputs/``."""

import glob
from pathlib import Path

from ssl_core.config.suggestion import did_you_mean

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


def missing_run(name: str) -> str:
    """Return the message for a run that does not exist, with the nearest name, or an empty string if it exists."""
    if _exists(find_run(name)):
        return ""
    known = [str(each) for folder in (Path(name).parent, Path(OUTPUTS, name).parent) for each in _folders(folder)]
    known += [str(Path(each).relative_to(OUTPUTS)) for each in known if Path(each).is_relative_to(OUTPUTS)]
    return f"no run {name!r}, neither here nor in {OUTPUTS}/{did_you_mean(name, known)}"


def _exists(path: str) -> bool:
    return Path(path).exists() or bool(glob.glob(path))


def _folders(folder: Path) -> list[Path]:
    return [each for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
