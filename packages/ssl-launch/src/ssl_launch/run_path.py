"""Find a run by its name: in the working directory, then in ``outputs/``."""

import glob
import os
from pathlib import Path

from ssl_core.config.suggestion import did_you_mean
from ssl_core.errors import ConfigError
from ssl_eval.runs.run_record import is_run

OUTPUTS = "outputs"  # default of log.folder


def find_run(name: str) -> str:
    """Return ``NAME`` if it exists, else ``outputs/NAME`` if that exists, else ``NAME``.

    A folder ``NAME`` without runs, such as a data set of the same name, does not hide the runs of ``outputs/NAME``.

    Parameters
    ----------
    name : str
        A path, or a pattern such as ``'simclr*'``.
    """
    inside = str(Path(OUTPUTS, name))
    if _exists(name):
        return inside if Path(name).is_dir() and not _has_runs(name) and _has_runs(inside) else name
    return inside if _exists(inside) else name


def missing_run(name: str) -> str:
    """Return the message for a run that does not exist, with the nearest name, or an empty string if it exists."""
    if _exists(find_run(name)):
        return ""
    parent = Path(name).parent
    known = run_paths("" if parent == Path() else f"{parent}/")
    return f"no run {name!r}, neither here nor in {OUTPUTS}/{did_you_mean(name, known)}"


def run_paths(begin: str) -> list[str]:
    """Return the paths of folders here, and the names of runs in ``outputs/``, that begin with some text."""
    found = {path for path in glob.glob(f"{glob.escape(begin)}*") if Path(path).is_dir()}
    inside = Path(OUTPUTS).glob(f"{glob.escape(begin)}*") if not Path(begin).is_absolute() else ()
    return sorted(found | {str(path.relative_to(OUTPUTS)) for path in inside if path.is_dir()})


def check_working_directory() -> None:
    """Raise a ConfigError if the working directory, where relative paths start, was deleted or cannot be entered."""
    try:
        os.getcwd()
    except OSError as error:
        shown = f" '{os.environ['PWD']}'" if os.environ.get("PWD") else ""
        raise ConfigError(
            f"the working directory{shown} does not exist ({error.strerror}); change to another one with cd"
        ) from error


def _exists(path: str) -> bool:
    return Path(path).exists() or bool(glob.glob(path))


def _has_runs(folder: str) -> bool:
    """Return whether a folder is a run or has runs."""
    return any(is_run(each) for each in (Path(folder), *Path(folder).glob("*")))
