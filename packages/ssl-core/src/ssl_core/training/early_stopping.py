"""Early stopping: end a run when a metric has stopped improving."""

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_core.config.suggestion import close_names
from ssl_core.distributed.ranks import Distributed
from ssl_core.errors import ConfigError
from ssl_eval.metrics.registry import metric_of

_message = logging.getLogger(__name__)


@dataclass
class EarlyStopping:
    """Counts the evaluations without an improvement; ``reason`` is not empty when the run should end.

    Whether higher is better is in the registry of metrics; lower is for every name with ``loss`` after its last ``/``. A value
    that is not finite is not an improvement.
    """

    monitor: str | None  # a name in metrics.jsonl
    patience: int  # evaluations in a row without an improvement that end the run; 0: never
    min_delta: float  # an improvement is larger than this
    distributed: Distributed  # the value of rank 0 is used on all ranks
    best: float | None = None
    waited: int = 0  # evaluations since the best
    reason: str = ""  # why the run should end

    @property
    def watches_training(self) -> bool:
        """Whether the metric is one of training; then the last step of each epoch is logged in ``metrics.jsonl``."""
        return str(self.monitor).startswith("train/")

    def check(self, names: Collection[str], logged: bool = False) -> None:
        """Raise a ConfigError, with the nearest of the names, if the run has no such metric.

        ``names`` are the metrics of the run as known before training; with ``logged``, those of a line of training: the terms
        of a loss are known once it is computed, and only then is any other ``train/...`` an error.
        """
        if self.monitor is None or self.monitor in names or self.watches_training != logged:
            return
        near = close_names(self.monitor, names)
        raise ConfigError(
            "a method that logs more names them in metric_names()",
            key="optim.monitor",
            value=self.monitor,
            expected=sorted(names),
            suggestion=near[0] if near else None,
        )

    def observe(self, metrics: Mapping[str, float], epoch: int) -> None:
        """Compare the last value of the metric with the best one. Called on all ranks after an evaluation."""
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
        return self.best is None or metric_of(str(self.monitor)).is_better(value, self.best, self.min_delta)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, the count, and the reason."""
        return {"best": self.best, "waited": self.waited, "reason": self.reason}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.best, self.waited, self.reason = state["best"], state["waited"], state["reason"]
