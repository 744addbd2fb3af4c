"""``stable-ssl ls``: the status of runs, one line each. Nothing is written, and no torch imported."""

import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_core.errors import ConfigError
from ssl_core.run.folder import RunFolder
from ssl_core.run.lock import is_worked_in
from ssl_eval.metrics.registry import metric_of
from ssl_eval.report.metric_cell import metric_cell
from ssl_eval.report.table import Table
from ssl_eval.runs.live_run import LiveRun
from ssl_eval.runs.run_record import find_runs_among
from ssl_eval.watch import duration
from ssl_launch.run_path import OUTPUTS


@dataclass
class Listed:
    """A run as a line of the list."""

    folder: str
    status: str
    epoch: int
    epochs: int | None  # of the whole run
    step: int
    metric: str | None
    best: float | None
    age_seconds: float


SORTS: dict[str, Callable[[Listed], Any]] = {
    "folder": lambda run: 0,  # in the order in which they were found
    "status": lambda run: run.status,
    "best": lambda run: (
        math.inf if run.best is None else (1 - 2 * metric_of(run.metric or "").higher_is_better) * run.best
    ),
    "age": lambda run: run.age_seconds,
    "step": lambda run: -run.step,
}


def print_runs(folders: Sequence[str], sort: str, as_json: bool) -> None:
    """Print the runs in and under some folders; none: ``outputs``.

    Raises
    ------
    ConfigError
        If a folder does not exist or holds no run.
    """
    try:
        paths, skipped = find_runs_among(folders or [OUTPUTS])
    except (ValueError, OSError) as error:
        raise ConfigError(f"stable-ssl ls: {error}; name a folder: stable-ssl ls FOLDER") from error
    for reason in skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    runs = sorted(map(listed, paths), key=SORTS[sort])
    print(json.dumps([dataclasses.asdict(run) for run in runs], indent=2) if as_json else as_table(runs).to_text())


def listed(path: Path) -> Listed:
    """Read one run. A damaged file, or one that is being written, only leaves out its own values."""
    run, files = LiveRun(path), RunFolder(path)
    run.update()
    status = run.status
    if status in ("running", "silent"):
        status = {True: "running", False: "killed", None: status}[is_worked_in(files.lock)]
    monitor = run.config.get("optim", {}).get("monitor") if isinstance(run.config.get("optim"), dict) else None
    metric = monitor if monitor and isinstance(monitor, str) else None
    metric = metric or run.accuracy
    step, epoch = max(run.step, run.summary.get("step") or 0), max(run.epoch, run.summary.get("epoch") or 0)
    best = run.best(metric) if metric else None
    return Listed(str(path), status, epoch, run.epochs, step, metric, best, round(60 * run.silent_minutes, 1))


def as_table(runs: Sequence[Listed]) -> Table:
    """Return the list as a table."""
    counts = Counter(run.status for run in runs)
    title = f"{len(runs)} {'run' if len(runs) == 1 else 'runs'}: {', '.join(f'{n} {status}' for status, n in counts.items())}"
    rows = [
        [
            run.status, f"{run.epoch}/{run.epochs}" if run.epochs is not None else str(run.epoch), str(run.step), run.metric,
            metric_cell(run.metric or "", [] if run.best is None else [run.best]),
            duration(run.age_seconds), run.folder,
        ]
        for run in runs
    ]  # fmt: skip
    return Table(title, ["status", "epoch", "step", "metric", "best", "age", "folder"], rows)
