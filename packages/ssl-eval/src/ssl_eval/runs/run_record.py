"""Reader of run folders."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from ssl_eval.report.table import Table
from ssl_eval.runs.evaluation_record import EvaluationRecord
from ssl_eval.runs.metrics_file import MetricsFile
from ssl_eval.runs.run_summary import parse_object, wrong_types
from ssl_eval.suggestion import close_name

STATUSES = ("running", "finished", "failed", "preempted", "baseline")
ENDED_WELL = ("finished", "baseline")  # a baseline is a backbone that was never trained here
FILES = ("metrics.jsonl", "summary.json", "checkpoints")  # a run folder has config.yaml and one of these


class RunRecord:
    """One run folder. Metrics and summary are read at construction.

    The folder holds ``config.yaml``, ``metrics.jsonl`` (one JSON object a line: ``step``, ``epoch``, then values named
    ``train/...`` or ``<dataset>/...``), ``summary.json`` and, at the end of a run, ``table.json``. Folders of any
    program in this format can be read; ssl-core is not needed.

    Parameters
    ----------
    path : str or Path
        The run folder.

    Attributes
    ----------
    path : Path
        The folder.
    name : str
        Name of the folder.
    lines : list of dict
        The objects of ``metrics.jsonl`` in order.
    summary : dict
        ``summary.json``, empty if it does not exist.

    Raises
    ------
    ValueError
        If it is not a run folder, or a file in it is damaged or holds a value of a wrong type: the message names the file, and
        the line or the key. The last line of a run that has not finished may be torn; it is left out.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.resolve().name
        if not self.path.is_dir():
            raise ValueError(f"'{self.path}' is not a run folder: it does not exist")
        if not (self.path / "config.yaml").is_file():
            raise ValueError(f"'{self.path}' is not a run folder: it has no config.yaml")
        if not is_run(self.path):
            raise ValueError(
                f"'{self.path}' is not a run folder: besides config.yaml it has none of {', '.join(FILES)}"
            )
        self.summary: dict[str, Any] = self._read_json("summary.json") or {}
        for problem in wrong_types(self.summary).values():
            raise ValueError(f"'{self.path / 'summary.json'}': {problem}")
        self.lines: list[dict[str, Any]] = []
        if (self.path / "metrics.jsonl").exists():
            tolerate = "nothing" if self.status in ENDED_WELL else "torn"
            self.lines = MetricsFile(self.path / "metrics.jsonl").read(tolerate)[1]

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed``, ``preempted`` or ``baseline``; ``unknown`` without a summary.

        A killed run keeps the status ``running``.
        """
        return self.summary.get("status") or "unknown"

    @property
    def epoch(self) -> int:
        """Number of finished epochs: the larger one of the summary and the last line."""
        return max([self.summary.get("epoch") or 0, *(line["epoch"] for line in self.lines)])

    @property
    def last_written(self) -> float:
        """When the newest of its files was written, in seconds since 1970."""
        paths = [self.path / name for name in ("config.yaml", *FILES)]
        return max(path.stat().st_mtime for path in paths if path.exists())

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The last value of each name."""
        last = dict(self.summary.get("metrics") or {})
        for line in self.lines:
            last.update(line)
        return {name: value for name, value in last.items() if "/" in name and value is not None}

    @cached_property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps per epoch, from the lines; None before the end of the first epoch."""
        # A line of epoch e is written at step e * steps_per_epoch (at the end of the epoch) or later.
        return min((line["step"] / line["epoch"] for line in self.lines if line["epoch"] > 0), default=None)

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps at which ``name`` was logged, and its values."""
        points = [(line["step"], line[name]) for line in self.lines if line.get(name) is not None]
        return [step for step, _ in points], [float(value) for _, value in points]

    @cached_property
    def config(self) -> dict[str, Any]:
        """``config.yaml``: dicts, lists, strings and numbers.

        Raises
        ------
        ImportError
            Without PyYAML.
        ValueError
            If it is not YAML, or not a mapping.
        """
        return read_config(self.path)

    @cached_property
    def table(self) -> Table | None:
        """The final table of the run; None if it does not exist (yet)."""
        values = self._read_json("table.json")
        if values is None:
            return None
        try:
            return Table.from_dict(values)
        except ValueError as error:
            raise ValueError(f"'{self.path / 'table.json'}': {error}") from error

    @cached_property
    def evaluations(self) -> dict[str, EvaluationRecord]:
        """Name -> offline evaluation, of ``eval/<name>.json``."""
        return {path.stem: EvaluationRecord(path) for path in sorted((self.path / "eval").glob("[!.]*.json"))}

    def check(self) -> None:
        """Read every file; raise ``ValueError`` or ``OSError`` for the first that is damaged."""
        _ = self.config, self.table
        for evaluation in self.evaluations.values():
            evaluation.check()

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            return parse_object(path.read_bytes())
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are both
            raise ValueError(f"'{path}' is damaged: {error}") from error


def read_config(run: Path) -> dict[str, Any]:
    """Return ``config.yaml`` of a run folder; raise as :attr:`RunRecord.config`."""
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "reading config.yaml needs PyYAML: pip install pyyaml (or the extra 'report' of ssl-eval, from the "
            "checkout: pip install './packages/ssl-eval[report]')"
        ) from error
    path = run / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        repr(config)  # an alias may hold itself: then nesting never ends
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, or no date
        raise ValueError(f"'{path}' is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ValueError(f"'{path}' must hold a mapping of keys to values, got {type(config).__name__}")
    return config


def is_run(folder: Path) -> bool:
    """Return whether a folder holds ``config.yaml`` and something that only a run writes."""
    return (folder / "config.yaml").is_file() and any((folder / name).exists() for name in FILES)


def find_runs(folders: Iterable[str | Path]) -> list[Path]:
    """Return all run folders in and under ``folders``, each once, in the order of the folders and then of the names.

    Raises
    ------
    ValueError
        If a folder does not exist, or there is no run in it.
    """
    found, skipped = find_runs_among(folders)
    for reason in skipped:
        raise ValueError(reason)
    return found


def find_runs_among(paths: Iterable[str | Path]) -> tuple[list[Path], list[str]]:
    """Return the runs in and under ``paths``, as :func:`find_runs`, and a sentence for each path that holds none.

    For paths that a shell has expanded: ``outputs/*`` names files as well, such as the ``multirun.yaml`` of a sweep.

    Raises
    ------
    ValueError
        If a path does not exist, or there is no run in any of them.
    """
    found: dict[Path, Path] = {}
    skipped = []
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f"'{path}': there is no such folder{_did_you_mean(path)}")
        runs = list(_under(path)) if path.is_dir() else []
        if not path.is_dir():
            skipped.append(f"'{path}' is not a folder")
        elif not runs:
            skipped.append(f"'{path}' holds no run: no folder in it has config.yaml and one of {', '.join(FILES)}")
        for run in runs:
            found.setdefault(run.resolve(), run)
    if skipped and not found:
        raise ValueError(skipped[0])
    return list(found.values()), skipped


def _did_you_mean(folder: Path) -> str:
    siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
    near = close_name(folder.name, [each.name for each in siblings if each.is_dir()])
    return f"; did you mean '{folder.parent / near}'?" if near else ""


def _under(folder: Path) -> Iterator[Path]:
    if is_run(folder):
        yield folder
    for inner in sorted(folder.iterdir(), key=_natural):
        # Hidden folders hold copies of configurations (.hydra) that are no runs; eval/ of a run holds its fine-tuned ones, and
        # their numbers are among its evaluations.
        hidden = inner.name.startswith(".") or inner.name == "checkpoints" or (inner.name == "eval" and is_run(folder))
        if inner.is_dir() and not inner.is_symlink() and not hidden:
            yield from _under(inner)


def _natural(path: Path) -> tuple[int, int, str]:
    """Sort the jobs of a sweep as 2 before 10."""
    return (0, int(path.name), "") if path.name.isdigit() else (1, 0, path.name)
