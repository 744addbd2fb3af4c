"""Check the keys, shapes and types of a checkpoint before any part of the run loads it.

``load_state_dict(strict=True)`` compares keys and shapes of modules only, and while it loads them.
"""

from typing import Any

from torch import Tensor

from ssl_core.errors import CheckpointError

_PARAMETER_GROUP = "optimizer.param_groups["


def check_state(found: Any, expected: Any, key: str = "") -> None:
    """Raise a CheckpointError unless a state has the keys, shapes and types of the one that the run would write now.

    A dict must have the same keys, a list the same length, a tensor the same shape and dtype, a value the same type. There
    are three exceptions. What is empty or None in ``expected`` may have any content (the state of an optimizer before its
    first step). A tensor without elements may have any shape (a queue before its first batch). A parameter group may have
    more keys (timm's LAMB and Adan add a counter at their first step). The message names the key, ``model.bias``.

    Examples
    --------
    >>> check_state({"model": {"bias": 3}}, {"model": {"bias": 3}})
    >>> check_state({"model": {"bias": "3"}}, {"model": {"bias": 3}})
    Traceback (most recent call last):
    ssl_core.errors.CheckpointError: model.bias: expected a number, found '3'
    """
    if expected is None or expected == [] or expected == ():
        return
    fits = _kind(found) is _kind(expected)
    if fits and isinstance(expected, Tensor):
        fits = found.dtype == expected.dtype and (found.shape == expected.shape or not expected.numel())
    elif fits and isinstance(expected, list | tuple):
        fits = len(found) == len(expected)
    if not fits:
        raise CheckpointError(f"{key}: expected {_describe(expected)}, found {_describe(found)}")
    if isinstance(expected, dict) and expected:
        missing, unexpected = expected.keys() - found.keys(), found.keys() - expected.keys()
        if key.startswith(_PARAMETER_GROUP):
            unexpected = set()
        if missing or unexpected:
            problems = [f"has no {name!r}" for name in sorted(map(str, missing))[:3]]
            problems += [f"has an unexpected {name!r}" for name in sorted(map(str, unexpected))[:3]]
            raise CheckpointError(f"{key or 'the state'} {', '.join(problems)}")
        for name, value in expected.items():
            check_state(found[name], value, f"{key}.{name}" if key else str(name))
    elif isinstance(expected, list | tuple):
        for index, value in enumerate(expected):
            check_state(found[index], value, f"{key}[{index}]")


def _kind(value: Any) -> type:
    """Return the type of a value, where types that may replace each other count as one."""
    for kind, types in ((Tensor, Tensor), (dict, dict), (list, (list, tuple)), (bool, bool), (float, (int, float))):
        if isinstance(value, types):
            return kind
    return type(value)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return repr(value) if isinstance(value, str) and len(value) < 50 else f"a {type(value).__name__}"
