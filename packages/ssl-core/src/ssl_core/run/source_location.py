"""Source file of a user-defined class, ``FILE.py:Class``, so that a run can be loaded and resumed from its folder alone."""

import hashlib
import importlib.util
import inspect
import os
import sys
import textwrap
from pathlib import Path
from types import FunctionType
from typing import Any

from ssl_core.errors import ConfigError

PACKAGES = ("ssl_core", "ssl_data")  # whose classes are found by the names in config.yaml
RECORDED = ("method", "data")  # the classes that summary.json records
_SOURCE = "_source_location"


def source_of(kind: type) -> dict[str, Any]:
    """Return the source of a class for ``summary.json``: ``{"class", "file", "sha256"}``; only the class for this project's.

    A class of a notebook has ``"source"`` instead of the file: the text of its functions.
    """
    if kind.__module__.partition(".")[0] in PACKAGES:
        return {"class": f"{kind.__module__}.{kind.__qualname__}"}
    if _SOURCE in vars(kind):
        return vars(kind)[_SOURCE]
    files = [Path(each.__code__.co_filename) for each in _own_functions(kind)]
    module: Any = sys.modules.get(kind.__module__)
    if getattr(module, kind.__qualname__, None) is kind and getattr(module, "__file__", None):
        files.append(Path(module.__file__))  # of a class without methods
    file = next((each.absolute() for each in files if each.is_file()), None)
    if file is None:
        source = _source_in_a_notebook(kind)
        return {"class": kind.__qualname__} | ({"source": source} if source else {})
    return {"class": kind.__qualname__, "file": str(file), "sha256": _sha256(file)}


def _own_functions(kind: type) -> list[FunctionType]:
    """Return the functions of a class that are written in its module, without those that ``dataclasses`` adds."""
    functions = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
    return [each for each in functions if each.__globals__.get("__name__") == kind.__module__]


def _source_in_a_notebook(kind: type) -> str:
    """Return the text of the functions of a class that is defined in a cell; empty if Python does not know it."""
    try:
        return "\n".join(textwrap.dedent(inspect.getsource(each)) for each in _own_functions(kind))
    except OSError:
        return ""


def remember_source(kind: type) -> None:
    """Store the source of a class in the class: a pickled class has its attributes in a job, but not its file."""
    setattr(kind, _SOURCE, source_of(kind))


def load_class(place: str) -> Any:
    """Return the class ``FILE.py:Class``, or raise a ConfigError.

    The file is executed: the user has named it, or a run has recorded it.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{place}: expected FILE.py:Class; there is no file {file!r}")
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{place}: expected FILE.py:Class; {path.name!r} is not a Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise ConfigError(f"{place}: {path.name} has no class {name!r}")
    return found


def class_of_run(what: str, named: str | None, summary: dict[str, Any], run: Path) -> Any:
    """Return the class that the user names, or the one that the run has recorded; None for a class of this project.

    Parameters
    ----------
    what : {"method", "data"}
        Which class.
    named : str or None
        ``FILE.py:Class``; see :func:`load_class`.
    summary, run
        ``summary.json`` and the folder of the run; see :func:`recorded_class`.
    """
    if named is not None:
        return load_class(named)
    record = summary.get(f"{what}_resumed") or summary.get(what)  # the newest code
    if not isinstance(record, dict) or not record:
        return None
    is_ours = "file" not in record and str(record.get("class")).startswith(tuple(f"{name}." for name in PACKAGES))
    return None if is_ours else recorded_class(record, what, run)


def recorded_class(record: dict[str, Any], what: str, run: Path) -> Any:
    """Return the class that a run has recorded, or raise a ConfigError that names the option to give it explicitly.

    A run folder may come from anybody, and the file that it names is executed. Therefore the file must not be part of what
    came with the run: it has to belong to this user, and to be outside of the folder that contains the run.
    """
    name, file = str(record.get("class", "")), str(record.get("file") or "")
    in_notebook = getattr(sys.modules["__main__"], name, None)
    if not file and getattr(in_notebook, "__module__", None) == "__main__":
        return in_notebook
    path = Path(file)
    if not file or "<" in name:
        problem = "was not defined in a file; name one with"
    elif not path.is_file():
        problem = f"was defined in '{file}', which is gone; name its new place with"
    elif run.resolve().parent in path.resolve().parents:
        problem = f"is defined in '{file}', which came with the run; to run that code, give"
    elif hasattr(os, "getuid") and path.stat().st_uid not in (0, os.getuid()):
        problem = f"is defined in '{file}', which is another user's; to run that code, give"
    else:
        return load_class(f"{file}:{name}")
    raise ConfigError(f"'{run}': its {what} {name} {problem} --{what} FILE.py:{name or 'Class'}")


def is_changed(record: Any) -> bool:
    """Return whether the file of a recorded class has changed since."""
    return isinstance(record, dict) and _sha256(Path(record.get("file") or "")) not in (None, record.get("sha256"))


def changed_code(summary: dict[str, Any]) -> list[str]:
    """Return the files of a run's classes that have changed since the run started."""
    return [summary[what]["file"] for what in RECORDED if is_changed(summary.get(what))]


def has_other_code(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Return whether two records of a class, from :func:`source_of`, differ in their code."""
    return any(now.get(key) and before.get(key) not in (None, now[key]) for key in ("sha256", "source"))


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
