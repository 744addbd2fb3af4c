"""The error for an argument; the configuration shows its key in place of the name of the argument."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEYS = {
    "batch_size": "optim.batch_size",
    "seed": "hardware.seed",
    "name": "data.views",
    "per_class": "data.per_class",
    "dtype": "data.dtype",
    "value_range": "data.value_range",
    "pixels": "data.pixels",
    "rank": "rank",  # of the process; no key
}


class ArgumentError(ValueError):
    """An argument has a value that is not allowed.

    Parameters
    ----------
    argument : str
        Its name, or the key of a configuration.
    value : Any
        The received value.
    reason : str
        What is allowed, or what to do.

    Examples
    --------
    >>> print(ArgumentError("flip", 2, "expected a probability from 0 to 1"))
    flip=2: expected a probability from 0 to 1
    """

    def __init__(self, argument: str, value: Any, reason: str) -> None:
        super().__init__(argument, value, reason)
        self.argument, self.value, self.reason = argument, value, reason

    def __str__(self) -> str:
        return f"{self.argument}={self.value!r}: {self.reason}"


@contextmanager
def configuration_keys() -> Iterator[None]:
    """Replace the argument of an ArgumentError by its key; arguments without a key are fields of a view. Also a decorator."""
    try:
        yield
    except ArgumentError as error:
        if "." not in error.argument:  # else it is a key already
            error.argument = _KEYS.get(error.argument, f"data.views: {error.argument}")
        raise
