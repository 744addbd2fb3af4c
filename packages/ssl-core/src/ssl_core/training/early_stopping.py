"""Early stopping: end a run when a metric has stopped improving."""

import logging
import math
from collections.abc import Collection, Mapping
from typing import Any

from ssl_core.config.suggestion import did_you_mean
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError

_message = logging.getLogger(__name__)


class EarlyStopping:
    """Counts the evaluations without an improvement; ``reason`` is not empty when the run should end.

    Parameters
    ----------
    monitor : str or None
        A name in ``metrics.jsonl``. Higher is better, unless the word after its last ``/`` has ``loss`` in it.
    patience : int
        Number of evaluations in a row without an improvement that end the run; 0: never.
    min_delta : float
        An improvement is larger than this. A value that is not finite is not an improvement.
    distributed : Distributed
        The value of rank 0 is used on all ranks.

    Attributes
    ----------
    reason : str
        Why the run should end; empty until then.
    """

    def __init__(self, monitor: str | None, patience: int, min_delta: float, distributed: Distributed) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.distributed = distributed
        self.best: float | None = None
        self.waited = 0  # evaluations since the best
        self.reason = ""

    @property
    def watches_training(self) -> bool:
        """Whether the metric is one of training; then the last step of each epoch is logged in ``metrics.jsonl``."""
        return str(self.monitor).startswith("train/")

    def check(self, names: Collection[str], logged: bool = False) -> None:
        """Raise a ConfigError if the run has no such metric.

        Parameters
        ----------
        names : collection of str
            The metrics of the run as known before training; with ``logged``, those of a line of training.
        logged : bool
            The terms of a loss are known once it is computed: only then is any other ``train/...`` an error.

        Raises
        ------
        ConfigError
            (a ValueError) With the nearest of the names.
        """
        if self.monitor is None or self.monitor in names or self.watches_training != logged:
            return
        hint = did_you_mean(self.monitor, names)
        known = ", ".join(map(repr, sorted(names)))
        raise ConfigError(
            f"optim.monitor={self.monitor!r}: expected one of the metrics of this run, {known}{hint} (a method that logs "
            "more of them names them in metric_names())"
        )

    def observe(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Compare the last value of the metric with the best one. Called on all ranks after an evaluation.

        A metric without a value (a label-free measure that was not finite) is not an improvement.
        """
        if self.monitor is None or not self.patience:
            return
        value = self.distributed.broadcast(metrics.get(self.monitor, math.nan))
        if self._is_better(value):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            best = "no finite value yet" if self.best is None else f"the best is {self.best:.6g}"
            self.reason = (
                f"{self.monitor} has not improved in {self.waited} evaluations: {value:.6g} after epoch {epoch}, {best}"
            )
            _message.info("stopping early: %s", self.reason)

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        sign = -1 if "loss" in str(self.monitor).rpartition("/")[2] else 1
        return self.best is None or sign * (value - self.best) > self.min_delta

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, the count, and the reason."""
        return {"best": self.best, "waited": self.waited, "reason": self.reason}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.best, self.waited, self.reason = state["best"], state["waited"], state["reason"]
