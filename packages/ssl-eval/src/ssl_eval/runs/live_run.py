"""The present state of a run, also of one in progress: only new lines are read, and damaged files are accepted."""

import math
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from ssl_eval.metrics.registry import accuracies, metric_of
from ssl_eval.runs.metrics_file import MetricsFile
from ssl_eval.runs.run_record import read_config
from ssl_eval.runs.run_summary import is_count, is_number, parse_object, wrong_types

STALE_MINUTES = 10  # after which a run with status running that writes nothing is reported
SHOWN_LOSSES = 200


class LiveRun:
    """The present state of a run folder.

    The files may be written while they are read: a line may be torn, the last one may still grow, and a resumed run cuts its
    file. If a file is damaged or missing, the values of the last update are kept. Values of a wrong type are ignored.

    Parameters
    ----------
    path : Path
        The run folder.

    Attributes
    ----------
    path : Path
    values : dict
        The last value of each name.
    step, epoch : int
        Step and epoch of the last line; epochs are counted when they are over.
    losses : deque of float
        The last ones.
    summary : dict
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary: dict[str, Any] = {}
        self._config: dict[str, Any] | None = None
        self._metrics = MetricsFile(path / "metrics.jsonl")
        self._begin()

    def _begin(self) -> None:
        self.values: dict[str, float] = {}
        self._extremes: dict[str, tuple[float, float]] = {}  # the lowest and the highest finite value of each name
        self.step = self.epoch = 0
        self.losses: deque[float] = deque(maxlen=SHOWN_LOSSES)
        self._steps_per_epoch: float | None = None

    def update(self) -> None:
        """Read the new lines and the summary."""
        self.summary = _object(self.path / "summary.json") or self.summary
        try:
            cut, lines = self._metrics.read(tolerate="damaged")
        except OSError:
            return
        if cut:
            self._begin()
        for line in lines:
            self._take(line)

    def _take(self, line: dict[str, Any]) -> None:
        loss = line.get("train/loss")
        if loss is not None and line["step"] > self.step:
            self.losses.append(float(loss))
        self.step, self.epoch = line["step"], line["epoch"]
        if self.epoch > 0 and self.step > 0:
            self._steps_per_epoch = min(self.step / self.epoch, self._steps_per_epoch or float("inf"))
        for name, value in line.items():
            if "/" in name and value is not None:
                self.values[name] = value = float(value)
                low, high = self._extremes.get(name, (math.inf, -math.inf))
                if not low <= value <= high and math.isfinite(value):
                    self._extremes[name] = min(low, value), max(high, value)

    @property
    def status(self) -> str:
        """The status of the summary; ``silent`` for a running one that has not written anything for ten minutes."""
        status = self.summary.get("status") or "unknown"
        return "silent" if status == "running" and self.silent_minutes > STALE_MINUTES else status

    @property
    def silent_minutes(self) -> float:
        """Minutes since the last write."""
        times = []
        for name in ("metrics.jsonl", "summary.json", "config.yaml"):
            try:
                times.append((self.path / name).stat().st_mtime)
            except OSError:
                continue
        return (time.time() - max(times)) / 60 if times else 0.0

    @property
    def accuracy(self) -> str | None:
        """The name of the first accuracy there is."""
        return next(iter(accuracies(self.values)), None)

    def best(self, name: str) -> float | None:
        """Return the best finite value of a metric; None without one."""
        low, high = self._extremes.get(name, (None, None))
        return high if metric_of(name).higher_is_better else low

    @property
    def images_per_second(self) -> float | None:
        """Of the last line; of the whole run once it is over."""
        over = self.summary.get("images_per_second") if self.status != "running" else None
        return over or self.values.get("train/images_per_second")

    @property
    def epochs(self) -> int | None:
        """Total number of epochs."""
        epochs = _group(self.config, "optim").get("epochs")
        return epochs if is_count(epochs) else None

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the pace so far; None before the end of the first epoch, and for a run that is not in progress."""
        if self.status != "running" or self.epochs is None or self._steps_per_epoch is None:
            return None
        seconds, steps = self.summary.get("wall_seconds"), self.summary.get("step")
        batch = _group(self.config, "optim").get("batch_size")
        rate = self.values.get("train/images_per_second")
        if seconds and steps:
            pace = seconds / steps  # with evaluations
        elif batch and rate and is_number(batch):
            pace = batch / rate
        else:
            return None
        left = (self.epochs * self._steps_per_epoch - self.step) * pace
        return max(0.0, left) if math.isfinite(left) else None

    @property
    def config(self) -> dict[str, Any]:
        """``config.yaml``; empty as long as it cannot be read, or without PyYAML."""
        if self._config is None:
            with suppress(ImportError, OSError, ValueError):
                self._config = read_config(self.path)
        return self._config or {}


def _group(config: dict[str, Any], name: str) -> dict[str, Any]:
    group = config.get(name)
    return group if isinstance(group, dict) else {}


def _object(path: Path) -> dict[str, Any] | None:
    try:
        values = parse_object(path.read_bytes())
    except (OSError, ValueError):
        return None
    return {key: value for key, value in values.items() if key not in wrong_types(values)}
