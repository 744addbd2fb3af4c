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
        raise ConfigError(f"log.folder={folder!r}: expected the path of a folder")
    if folder.partition("/")[0].startswith("~"):
        raise ConfigError(f"log.folder={folder!r}: '~' is not expanded; write {os.path.expanduser(folder)!r}")
    for part in () if run is None else run.split("/"):
        size = len(os.fsencode(part)) if part.isprintable() else 0
        if part != part.strip() or part in ("", ".", "..") or not 0 < size <= MAX_NAME_BYTES:
            shown = repr(run) if len(str(run)) <= MAX_NAME_BYTES // 4 else f"{str(run)[: MAX_NAME_BYTES // 4]!r}..."
            raise ConfigError(
                f"log.run={shown}: expected the name of a folder in log.folder, at most {MAX_NAME_BYTES} bytes (received "
                f"{len(str(run).encode(errors='replace'))}), without control characters, spaces at its ends, '.' and '..'"
            )


def check_epochs(epochs: int, warmup_epochs: float) -> None:
    """Raise a ConfigError for a run of fewer than no epochs, or a warm-up that is longer than the run."""
    if epochs < 0:
        raise ConfigError(f"optim.epochs={epochs}: expected at least 0")
    if not warmup_epochs >= 0:
        raise ConfigError(f"optim.warmup_epochs={warmup_epochs}: expected at least 0")
    if warmup_epochs > epochs > 0:
        raise ConfigError(f"optim.warmup_epochs={warmup_epochs} is longer than the run: optim.epochs={epochs}")


def check_weight_decay_end(weight_decay: float, weight_decay_end: float | None) -> None:
    """Raise a ConfigError for a weight decay that begins at 0 and yet is to change: which parameters have one?"""
    if weight_decay_end is not None and not weight_decay > 0:
        raise ConfigError(
            f"optim.weight_decay_end={weight_decay_end} needs a weight decay to begin with: optim.weight_decay="
            f"{weight_decay}, expected above 0 (1e-6, say)"
        )


def check_max_steps(max_steps: int | float) -> None:
    """Raise a ConfigError for a number that is neither -1, nor a whole number of batches, nor a fraction of the epoch."""
    whole = max_steps >= 1 and (isinstance(max_steps, int) or (max_steps.is_integer() and max_steps != 1))
    if not (max_steps == -1 or 0 < max_steps < 1 or whole):
        raise ConfigError(
            f"optim.max_steps={max_steps}: expected -1 (all batches), a whole number of batches (1 without a point), "
            "or a fraction of the epoch between 0 and 1"
        )


def check_early_stopping(monitor: str | None, patience: int) -> None:
    """Raise a ConfigError where there is patience, but not with which metric.

    Raises
    ------
    ConfigError
        (a ValueError) Naming both keys.
    """
    if patience and not monitor:
        raise ConfigError(f"optim.patience={patience}: of which metric? give optim.monitor, e.g. cifar10/knn")


def flat(epochs: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for name, value in epochs.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def check_freeze(epochs: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a number of epochs that is none.

    Raises
    ------
    ConfigError
        (a ValueError) Naming the module and the number.
    """
    for name, value in flat(epochs).items():
        if type(value) is not int or not (value == FOR_GOOD or value >= 1):
            raise ConfigError(f"optim.freeze.{name}={value!r}: expected a whole number of epochs, or -1: for good")
