"""Where a class of one's own stands, ``FILE.py:Class``, so that a run can be gone on with from its folder alone."""

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

OURS = ("ssl_core", "ssl_data")  # found again by the names in config.yaml
RECORDED = ("method", "data")  # the classes that a run records in summary.json
_KEPT = "_place_in_a_file"


def source_of(kind: type) -> dict[str, Any]:
    """Return what ``summary.json`` records of a class: ``{"class", "file", "sha256"}``; only the class for those of ssl_core.

    ``"imports"`` holds the digests of the loaded modules below the folder of the file, by their paths in it. A class of a
    notebook has ``"source"`` instead of the file: the text of its functions.
    """
    if kind.__module__.partition(".")[0] in OURS:
        return {"class": f"{kind.__module__}.{kind.__qualname__}"}
    kept = vars(kind).get(_KEPT)
    if kept is not None:
        return kept
    files = [Path(each.__code__.co_filename) for each in _own_functions(kind)]
    module: Any = sys.modules.get(kind.__module__)
    if getattr(module, kind.__qualname__, None) is kind and getattr(module, "__file__", None):
        files.append(Path(module.__file__))  # of a class without methods
    file = next((each.absolute() for each in files if each.is_file()), None)
    found: dict[str, Any] = {"class": kind.__qualname__}
    if file is None:
        source = _source_in_a_notebook(kind)
        return {**found, "source": source} if source else found
    imports = _loaded_below(file)
    return {**found, "file": str(file), "sha256": _digest(file), **({"imports": imports} if imports else {})}


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
    """Let a class know its place from now on: into a job it comes without its file, as an attribute does not."""
    setattr(kind, _KEPT, source_of(kind))


def load_class(place: str) -> Any:
    """Return the class that ``FILE.py:Class`` names, which runs the file: it is a user's word, or what a run has recorded.

    Raises
    ------
    ConfigError
        If there is no such file, or no such class in it.
    """
    file, _, name = place.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{place}: expected FILE.py:Class; there is no file {file!r}")
    sys.path.insert(0, str(path.absolute().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{place}: expected FILE.py:Class; {path.name!r} is no Python file")
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        raise ConfigError(f"{place}: {path.name} has no class {name!r}")
    return found


def class_of_run(what: str, named: str | None, summary: dict[str, Any], run: Path) -> Any:
    """Return the class that the user names, else the one that a run has recorded; None for one of ours.

    Parameters
    ----------
    what : str
        One of :data:`RECORDED`.
    named : str or None
        ``FILE.py:Class``.
    summary : dict
        ``summary.json`` of the run.
    run : Path
        Its folder.

    Raises
    ------
    ConfigError
        As :func:`class_at` and :func:`recorded_class`.
    """
    if named is not None:
        return load_class(named)
    records = records_of(summary, what)
    ours = not records or (
        "file" not in records[-1] and str(records[-1].get("class")).startswith(("ssl_core.", "ssl_data."))
    )
    return None if ours else recorded_class(records[-1], what, run)


def records_of(summary: dict[str, Any], what: str) -> list[dict[str, Any]]:
    """Return what a run has recorded of a class: when it began, and each time that it was resumed with another source."""
    later = summary.get(f"{what}_resumed")
    found = [summary.get(what), *(later if isinstance(later, list) else [])]
    return [each for each in found if isinstance(each, dict) and each]


def recorded_class(record: dict[str, Any], what: str, run: Path) -> Any:
    """Return the class that a run has recorded of itself.

    A run folder may come from anybody, and a file that it names is run. So it has to be a file that was here without it: one of
    this user, outside of the folder that the run lies in.

    Raises
    ------
    ConfigError
        If it is gone, or none that is run unasked; the sentence says how to name one.
    """
    option = f"--{what} FILE.py:{record.get('class', 'Class')}"
    name, file = str(record.get("class", "")), str(record.get("file") or "")
    in_notebook = getattr(sys.modules["__main__"], name, None)
    if not file and getattr(in_notebook, "__module__", None) == "__main__":
        return in_notebook
    if not file or "<" in name:
        raise ConfigError(
            f"'{run}': its {what} {name} stands in no file that it could be read from; say where: {option}"
        )
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"'{run}': its {what} {name} stood in '{file}', which is gone; say where it is now: {option}")
    inside = run.resolve().parent in path.resolve().parents
    ours = (0, os.getuid()) if hasattr(os, "getuid") else (0,)  # on Windows all files have st_uid 0
    if inside or path.stat().st_uid not in ours:
        why = "came with the run" if inside else "is another user's"
        raise ConfigError(
            f"'{run}': its {what} {name} stands in '{file}', which {why}; to run that code, say so: {option}"
        )
    return load_class(f"{file}:{name}")


def changed_files(record: dict[str, Any]) -> list[str]:
    """Return the files of a recorded class, and of what it imports, that hold something else than they did."""
    return [
        str(path)
        for path, digest in _recorded_files(record).items()
        if digest and path.is_file() and _digest(path) != digest
    ]


def changed_code(summary: dict[str, Any]) -> list[str]:
    """Return the files of a run's classes that hold something else than when the run began."""
    return [file for what in RECORDED for record in records_of(summary, what)[:1] for file in changed_files(record)]


def record_source(what: str, now: dict[str, Any], before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what ``summary.json`` says of a class where a run is resumed, and the files that have changed.

    Parameters
    ----------
    what : str
        One of :data:`RECORDED`.
    now : dict
        :func:`place_of` the class of this process.
    before : dict
        The summary of the run's earlier processes.

    Returns
    -------
    dict
        ``what``: of the first process; ``<what>_resumed``: of each later one that had another source, with the step.
    list of str
        The files that differ from those of the process before this one.
    """
    records = records_of(before, what)
    if not records:
        return {what: now}, []
    first, *later = records
    changed = _differing(now, records[-1])
    if changed:
        later = [*later, {**now, "step": before.get("step")}]
    elif not later:
        first = now  # the same code, maybe at another place
    return {what: first, **({f"{what}_resumed": later} if later else {})}, changed


def _differing(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Return the files of a class as it is now that are not as they were."""
    imported, root = before.get("imports") or {}, Path(now.get("file") or "").parent
    changed = []
    if now.get("source") and before.get("source") not in (None, now["source"]):
        changed.append("the notebook")
    for path, digest in _recorded_files(now).items():
        was = before.get("sha256") if str(path) == now["file"] else imported.get(str(path.relative_to(root)))
        if was is not None and digest != was:
            changed.append(str(path))
    return changed


def _recorded_files(record: dict[str, Any]) -> dict[Path, str]:
    """Return the digests of a recorded class's file, which is the first, and of the files that it imports."""
    if not record.get("file"):
        return {}
    file = Path(record["file"])
    imports = {file.parent / name: digest for name, digest in (record.get("imports") or {}).items()}
    return {file: record.get("sha256", ""), **imports}


def _loaded_below(file: Path) -> dict[str, str]:
    """Return the digests of the user's loaded modules in a file's folder and below, by their paths in it."""
    installed = [Path(each) for each in {sys.prefix, sys.base_prefix}]
    found = {}
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "")
        below = file.parent in path.parents and path != file and path.suffix == ".py"
        ours = name.partition(".")[0] in (*OURS, "ssl_losses", "ssl_eval", "ssl_launch")
        if below and not ours and path.is_file() and not any(each in path.parents for each in installed):
            found[str(path.relative_to(file.parent))] = _digest(path)
    return dict(sorted(found.items()))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
