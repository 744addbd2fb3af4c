"""Checks of the group ``optim`` that the plan of the steps and ``optim.freeze`` share."""

from collections.abc import Mapping
from typing import Any

from ssl_core.errors import ConfigError

FOR_GOOD = -1  # epochs of optim.freeze


def check_epochs(epochs: int, warmup_epochs: float) -> None:
    """Raise a ConfigError for a negative number of epochs, or a warm-up that is longer than the run."""
    if epochs < 0:
        raise ConfigError(key="optim.epochs", value=epochs, expected="at least 0")
    if not 0 <= warmup_epochs <= (epochs or warmup_epochs):  # with 0 epochs the warm-up does not matter
        raise ConfigError(
            key="optim.warmup_epochs", value=warmup_epochs, expected=f"at least 0, at most optim.epochs={epochs}"
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
