"""The check of a range of values. No torch is imported here."""

import math
from numbers import Real
from typing import Any

from ssl_data.errors import ArgumentError


def checked_range(value: Any) -> tuple[float, float]:
    """Return a range of values as two numbers.

    Raises
    ------
    ValueError
        For anything but two finite numbers, the smaller one first.
    """
    numbers = list(value) if hasattr(value, "__iter__") else []
    if len(numbers) == 2 and all(isinstance(each, Real) and math.isfinite(each) for each in numbers):
        low, high = float(numbers[0]), float(numbers[1])
        if low < high:
            return low, high
    raise ArgumentError("value_range", value, "expected two numbers, the stored values of 0 and 1, such as (0, 4095)")
