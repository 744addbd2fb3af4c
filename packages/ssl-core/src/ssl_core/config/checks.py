"""Checks of keys that depend on each other, or whose rule does not fit into the metadata of a field."""

import os
from collections.abc import Mapping
from typing import Any

from ssl_core.errors import ConfigError

MAX_NAME_BYTES = 240  # file systems allow 255; files next to the run folder have its name with a prefix
FOR_GOOD = -1  # epochs of optim.freeze


def check_place(folder: str, run: str | None) -> None:
    """Raise a ConfigError for a ``log.folder`` or ``log.run`` that cannot be the name of a folder.

    ``log.run`` may have several parts, ``"sweep/lr_0.1"``.
    """
    if not folder.strip() or not folder.isprintable():
        raise ConfigError(key="log.folder", value=folder, expected="the path of a folder")
    if folder.partition("/")[0].startswith("~"):
        raise ConfigError(
            "'~' is not expanded", key="log.folder", value=folder, expected=repr(os.path.expanduser(folder))
        )
    for part in () if run is None else run.split("/"):
        size = len(os.fsencode(part)) if part.isprintable() else 0
        if part != part.strip() or part in ("", ".", "..") or not 0 < size <= MAX_NAME_BYTES:
            raise ConfigError(
                key="log.run",
                value=run if len(str(run)) <= MAX_NAME_BYTES // 4 else f"{str(run)[: MAX_NAME_BYTES // 4]}...",
                expected=f"the name of a folder in log.folder, at most {MAX_NAME_BYTES} bytes (received "
                f"{len(str(run).encode(errors='replace'))}), without control characters, spaces at its ends, '.' and '..'",
            )


def check_epochs(epochs: int, warmup_epochs: float) -> None:
    """Raise a ConfigError for a negative number of epochs, or a warm-up that is longer than the run."""
    if epochs < 0:
        raise ConfigError(key="optim.epochs", value=epochs, expected="at least 0")
    if not 0 <= warmup_epochs <= (epochs or warmup_epochs):  # with 0 epochs the warm-up does not matter
        raise ConfigError(
            key="optim.warmup_epochs", value=warmup_epochs, expected=f"at least 0, at most optim.epochs={epochs}"
        )


def check_weight_decay_end(weight_decay: float, weight_decay_end: float | None) -> None:
    """Raise a ConfigError for a weight decay that starts at 0 and ends elsewhere: the schedule multiplies the start."""
    if weight_decay_end is not None and not weight_decay > 0:
        raise ConfigError(
            key="optim.weight_decay_end",
            value=weight_decay_end,
            expected=f"null, or optim.weight_decay above 0 (it is {weight_decay})",
        )


def check_max_steps(max_steps: int | float) -> None:
    """Raise a ConfigError for a number that is not -1, a number of batches, or a fraction of the epoch."""
    whole = max_steps >= 1 and (isinstance(max_steps, int) or (max_steps.is_integer() and max_steps != 1))
    if not (max_steps == -1 or 0 < max_steps < 1 or whole):
        raise ConfigError(
            key="optim.max_steps",
            value=max_steps,
            expected="-1 (all batches), a number of batches (an integer), or a fraction of the epoch between 0 and 1",
        )


def check_early_stopping(monitor: str | None, patience: int) -> None:
    """Raise a ConfigError for patience without a metric."""
    if patience and not monitor:
        raise ConfigError(key="optim.patience", value=patience, expected="a metric in optim.monitor, e.g. cifar10/knn")


def flat(epochs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in epochs.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def check_freeze(epochs: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a wrong number of epochs."""
    for name, value in flat(epochs).items():
        if type(value) is not int or not (value == FOR_GOOD or value >= 1):
            raise ConfigError(
                key=f"optim.freeze.{name}",
                value=value,
                expected="a number of epochs (an integer), or -1 for all epochs",
            )
