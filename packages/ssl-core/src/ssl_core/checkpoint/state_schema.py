"""What a checkpoint must look like before anything of it is taken over.

``torch.load(weights_only=True)`` builds nothing but tensors and plain values. This looks at what they are: the keys, types and
shapes that the run itself would write, and nothing beside them.
"""

from typing import Any

from torch import Tensor

from ssl_core.errors import CheckpointError

_PARAMETER_GROUP = "optimizer.param_groups["
PLAIN = (Tensor, bool, int, float, str, bytes, type(None))


def check_state(found: Any, expected: Any, key: str = "") -> None:
    """Raise unless a state has the form of one that the run would write now.

    A dict must have the same keys, a list the same length, a tensor the same shape and dtype, a value the same type. What is
    empty in ``expected`` is filled as a run goes on (the state of an optimizer, the last metrics): there, plain values and
    tensors in dicts and lists are expected, whatever their names. So they are for None. A tensor without elements (a queue
    that waits for its first batch) may have any shape. A parameter group of the optimizer may have more plain values than
    expected: some optimizers (timm's LAMB and Adan) add a counter to it at their first step.

    Parameters
    ----------
    found : object
        What was loaded.
    expected : object
        The state of the run as it stands: nested dicts, lists, tensors, numbers and words.
    key : str
        Where in the state this is, for the sentence.

    Raises
    ------
    CheckpointError
        Naming the key, what is expected there, and what was found.

    Examples
    --------
    >>> check_state({"model": {"bias": 3}}, {"model": {"bias": 3}})
    >>> check_state({"model": {"bias": "3"}}, {"model": {"bias": 3}})
    Traceback (most recent call last):
    ssl_core.errors.CheckpointError: model.bias: expected a number, found '3'
    """
    if expected is None or (isinstance(expected, dict | list | tuple) and not expected):
        kind = type(expected) if isinstance(expected, dict) else object
        if not isinstance(found, kind):
            raise CheckpointError(f"{key}: expected a dict, found {_described(found)}")
        _check_plain(found, key)
    elif isinstance(expected, Tensor):
        same = isinstance(found, Tensor) and found.dtype == expected.dtype
        same = same and (found.shape == expected.shape or expected.numel() == 0)
        if not same:
            raise CheckpointError(f"{key}: expected {_described(expected)}, found {_described(found)}")
    elif isinstance(expected, dict):
        if not isinstance(found, dict):
            raise CheckpointError(f"{key}: expected a dict, found {_described(found)}")
        missing, foreign = expected.keys() - found.keys(), found.keys() - expected.keys()
        if key.startswith(_PARAMETER_GROUP):
            for name in foreign:
                _check_plain(found[name], f"{key}.{name}")
            foreign = set()
        if missing or foreign:
            said = [f"has no {name!r}" for name in sorted(map(str, missing))[:3]]
            said += [f"has a foreign {name!r}" for name in sorted(map(str, foreign))[:3]]
            raise CheckpointError(f"{key or 'the state'} {', '.join(said)}")
        for name, value in expected.items():
            check_state(found[name], value, f"{key}.{name}" if key else str(name))
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            raise CheckpointError(f"{key}: expected {_described(expected)}, found {_described(found)}")
        for place, value in enumerate(expected):
            check_state(found[place], value, f"{key}[{place}]")
    elif isinstance(expected, bool | int | float):
        if not isinstance(found, bool | int | float) or isinstance(found, bool) != isinstance(expected, bool):
            raise CheckpointError(f"{key}: expected {_described(expected)}, found {_described(found)}")
    elif type(found) is not type(expected):
        raise CheckpointError(f"{key}: expected {_described(expected)}, found {_described(found)}")


def _check_plain(value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str | int):
                raise CheckpointError(f"{key}: expected names or numbers as keys, found {_described(name)}")
            _check_plain(item, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            _check_plain(item, f"{key}[{place}]")
    elif not isinstance(value, PLAIN):
        raise CheckpointError(f"{key}: expected numbers, words and tensors, found {_described(value)}")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return repr(value) if isinstance(value, str) and len(value) < 50 else f"a {type(value).__name__}"
