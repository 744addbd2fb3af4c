"""The types of the values in ``summary.json``, and the parser of JSON objects. Imports no torch."""

import json
from collections.abc import Callable
from typing import Any, TypeGuard


def is_number(value: Any) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number, NaN and infinity included, that fits into a float."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**1023
    return isinstance(value, float)


def is_count(value: Any) -> TypeGuard[int]:
    """Return whether a JSON value is an integer of 0 or more that fits into 63 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(each is None or is_number(each) for each in value.values())


# Key -> its type in words and as a test. Other keys may hold anything, and any key may be null or missing.
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "metrics": ("an object of names and numbers", _are_metrics),
    **dict.fromkeys(("epoch", "step", "threads"), ("an integer of 0 or more", is_count)),
    **dict.fromkeys(
        ("wall_seconds", "images_per_second"),
        ("a finite number of 0 or more", lambda value: is_number(value) and 0 <= value < 1e100),
    ),
    **dict.fromkeys(("status", "command", "directory"), ("text", lambda value: isinstance(value, str))),
    **dict.fromkeys(("versions", "git", "method"), ("an object", lambda value: isinstance(value, dict))),
}


def wrong_types(summary: dict[str, Any]) -> dict[str, str]:
    """Return key -> what was expected and received, for each value of ``summary.json`` with a wrong type.

    Examples
    --------
    >>> wrong_types({"status": "finished", "epoch": "three", "note": []})
    {'epoch': "'epoch' must be an integer of 0 or more, got 'three'"}
    """
    wrong = {}
    for key, (expected, fits) in TYPES.items():
        value = summary.get(key)
        if value is not None and not fits(value):
            received = repr(value)
            wrong[key] = f"{key!r} must be {expected}, got {received if len(received) < 80 else received[:79] + '…'}"
    return wrong


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return the JSON object in ``text``; raise ``ValueError`` for anything else, however deeply it is nested."""
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected one JSON object, got {type(values).__name__}")
    return values
