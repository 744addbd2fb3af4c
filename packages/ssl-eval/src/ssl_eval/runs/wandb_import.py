"""Import of wandb runs: read through the public API and written as run folders."""

import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

PREFIX = "wandb:"
TIMEOUT_SECONDS = 30  # of a request
STATUSES = {
    "finished": "finished",
    "running": "running",
    "pending": "running",
    "crashed": "failed",
    "failed": "failed",
    "killed": "preempted",
    "preempting": "preempted",
    "preempted": "preempted",
}


@contextmanager
def as_folders(folders: Iterable[str | Path]) -> Iterator[list[Path]]:
    """Yield ``folders`` with each ``wandb:entity/project`` replaced by a temporary folder of run folders.

    Raises
    ------
    ImportError
        If a project of wandb is named and wandb is not installed.
    ValueError
        If it is not ``wandb:entity/project``, without a login, or if the project does not exist or has no run.
    """
    with ExitStack() as stack:
        paths = []
        for folder in folders:
            if is_wandb(folder):
                fetched = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ssl-eval-wandb-")))
                fetch(str(folder), fetched)
                paths.append(fetched)
            else:
                paths.append(Path(folder))
        yield paths


def is_wandb(folder: str | Path) -> bool:
    """Return whether a path names a wandb project instead of a folder."""
    return str(folder).startswith(PREFIX)


def fetch(name: str, into: Path) -> list[Path]:
    """Write each run of ``wandb:entity/project`` as a run folder; return the folders, in the order in which they began.

    Names without a slash have no group: a loss becomes ``train/loss``, any other number ``run/<name>``.
    """
    entity, slash, project = name.removeprefix(PREFIX).partition("/")
    if not slash or not entity or not project or "/" in project:
        raise ValueError(f"'{name}': expected wandb:entity/project")
    try:
        import wandb
    except ImportError as error:
        raise ImportError(f"'{name}': reading runs of wandb needs it: pip install wandb") from error
    try:
        with _no_prompt():
            runs = list(wandb.Api(timeout=TIMEOUT_SECONDS).runs(f"{entity}/{project}", lazy=False))
            folders = [_write(run, into) for run in runs]
    except (wandb.Error, ValueError, OSError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"'{name}' cannot be read: {reason}") from error
    if not folders:
        raise ValueError(f"'{name}': the project has no run")
    return folders


def fetch_again(places: Iterable[tuple[str | Path, Path]]) -> None:
    """Fetch the runs of wandb projects again; if wandb does not answer, keep those of the last time."""
    for name, folder in places:
        if is_wandb(name):
            with tempfile.TemporaryDirectory(dir=folder.parent) as fresh, suppress(ValueError):
                for run in fetch(str(name), Path(fresh)):
                    place = folder / run.name
                    place.mkdir(exist_ok=True)
                    for file in run.iterdir():
                        os.replace(file, place / file.name)


@contextmanager
def _no_prompt() -> Iterator[None]:
    """Keep wandb from prompting for a key; without one its error explains how to log in."""
    before = sys.stdin
    sys.stdin = io.StringIO()
    try:
        yield
    finally:
        sys.stdin = before


def _write(run: Any, into: Path) -> Path:
    """Write one run; JSON is YAML, so that nothing else is needed."""
    lines = _lines(run.scan_history())
    summary = {key: value for key, value in dict(run.summary).items() if isinstance(value, int | float)}
    last = lines[-1] if lines else {"step": 0, "epoch": 0}
    values = {_named(key): float(value) for key, value in summary.items() if not key.startswith("_") and key != "epoch"}
    facts = {
        "status": STATUSES.get(run.state, str(run.state)),
        "epoch": last["epoch"],
        "step": last["step"],
        "metrics": values,
        "wall_seconds": summary.get("_runtime"),
        "images_per_second": values.get("train/images_per_second"),
        "started": run.created_at,
        "wandb": run.url,
    }
    folder = _folder(into, str(run.name or run.id), str(run.id))
    files = {
        "config.yaml": json.dumps(
            {key: value for key, value in run.config.items() if not key.startswith("_")}, default=str
        ),
        "metrics.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
        "summary.json": json.dumps({key: value for key, value in facts.items() if value is not None}),
    }
    beat = getattr(run, "heartbeat_at", None) or run.created_at
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        if beat:  # a run that was killed has not written anything just now
            seconds = datetime.fromisoformat(str(beat).replace("Z", "+00:00")).timestamp()
            os.utime(folder / name, (seconds, seconds))
    return folder


def _lines(history: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return lines of metrics.jsonl: one per step, increasing; a missing epoch is that of the line before."""
    lines: dict[int, dict[str, Any]] = {}
    epoch = 0
    for row in history:
        if isinstance(row.get("epoch"), int | float):
            epoch = math.floor(row["epoch"])
        line = lines.setdefault(int(row["_step"]), {"step": int(row["_step"])})
        line["epoch"] = epoch
        for name, value in sorted(row.items()):  # wandb gives them in another order each time
            value = float(value) if value in ("NaN", "Infinity", "-Infinity") else value  # as wandb's JSON has them
            if not name.startswith("_") and name != "epoch" and isinstance(value, int | float):
                line[_named(name)] = float(value)
    return [lines[step] for step in sorted(lines)]


def _named(name: str) -> str:
    if "/" in name:
        return name
    return "train/loss" if name in ("loss", "train_loss") else f"run/{name}"


def _folder(into: Path, name: str, identity: str) -> Path:
    """Make a folder with the run's name, without characters that a file cannot have; with its id, too, if the name repeats."""
    safe = re.sub(r"[/\x00-\x1f]", "_", name).lstrip(".")[:80] or identity
    folder = into / safe
    if folder.exists():
        folder = into / f"{safe} ({identity})"
    folder.mkdir()
    return folder


def default_out(folders: Sequence[str | Path]) -> Path:
    """Return where a report goes: into the first of ``folders`` that is no file, or here where that is on a server."""
    first = next((folder for folder in folders if is_wandb(folder) or not Path(folder).is_file()), folders[0])
    return Path("report") if is_wandb(first) else Path(first) / "report"
