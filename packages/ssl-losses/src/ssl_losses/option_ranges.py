"""Checks of the options of losses: shares in 0..1, counts and positive numbers."""

import math


def check_shares(**shares: float) -> None:
    """Raise ``ValueError`` for a share that is not between 0 and 1."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {share}")


def check_counts(least: int = 1, **counts: int) -> None:
    """Raise ``ValueError`` for a count below ``least``."""
    for name, count in counts.items():
        if count < least:
            raise ValueError(f"{name} must be at least {least}, got {count}")


def check_positive(**values: float) -> None:
    """Raise ``ValueError`` for an option that is not above 0, or not finite."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and above 0, got {value}")
