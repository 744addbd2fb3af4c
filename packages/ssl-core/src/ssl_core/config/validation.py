"""Values onto dataclasses, strictly: a key that no dataclass knows, a wrong type, an impossible value is refused.

What is allowed stands in the dataclasses themselves: their annotations, and ``field(metadata=...)`` with ``choices`` (a
tuple, or a function that gives one), ``low``/``high`` (inclusive) and ``above``/``below`` (exclusive).
"""

import dataclasses
import math
import numbers
import os
import types
import typing
from collections.abc import Iterable
from typing import Any

from ssl_core.config.suggestion import close_names, did_you_mean
from ssl_core.errors import ConfigError

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "null"}


def validation_errors(composed: dict[str, Any], groups: dict[str, Any]) -> list[tuple[str, str]]:
    """Return ``(key, sentence)`` for everything that is wrong with a composed configuration.

    Parameters
    ----------
    composed : dict
        Group -> key -> value.
    groups : dict
        Group -> its dataclass.
    """
    keys = known_keys(groups)
    found: list[tuple[str, str]] = []
    for group, values in composed.items():
        if group not in groups:
            if isinstance(values, dict) and values:
                found += [
                    (f"{group}.{key}", f"{group}.{key}: unknown key{suggest_key(f'{group}.{key}', keys)}")
                    for key in values
                ]
            else:
                found.append((group, f"{group}: unknown key{suggest_key(group, keys | set(groups))}"))
        elif values is None:
            continue  # an empty group in the YAML
        elif not isinstance(values, dict):
            found.append(
                (group, f"{group}={values!r}: {group} is a group of keys, e.g. {group}.{_first(groups[group])}=...")
            )
        else:
            fields = _fields(groups[group])
            for key, value in values.items():
                name = f"{group}.{key}"
                if key not in fields:
                    found.append((name, f"{name}: unknown key{suggest_key(name, keys)}"))
                else:
                    complaint = _complaint(*fields[key], value, name)
                    if complaint:
                        found.append((name, f"{name}={_shown(value)}: {complaint}"))
    return found


def build_dataclass(group: Any, values: dict[str, Any]) -> Any:
    """Return an instance of a dataclass from values that :func:`problems` has passed, as the annotated types."""
    fields = _fields(group)
    return group(**{key: _converted(fields[key][0], value) for key, value in values.items()})


def check_values(name: str, group: Any) -> None:
    """Apply the rules of :func:`problems` to a dataclass instance that was made in Python.

    Values of a compatible type become what a command line would have given: numpy numbers and paths become Python's
    numbers and strings, integers become floats where a float is meant.

    Parameters
    ----------
    name : str
        Name of the group in messages, e.g. ``"optim"``.
    group : dataclass instance
        Values that are the field's own default are not checked.

    Raises
    ------
    ConfigError
        (a ValueError) Naming key, value and what is allowed.
    """
    fields = _fields(type(group))
    for each in dataclasses.fields(group):
        annotation, metadata = fields[each.name]
        value = getattr(group, each.name)
        if value is each.default:
            continue
        complaint = _complaint(annotation, metadata, value, f"{name}.{each.name}")
        if complaint:
            raise ConfigError(f"{name}.{each.name}={_shown(value)}: {complaint}")
        object.__setattr__(group, each.name, _converted(annotation, value))  # a user-defined group may be frozen


def known_keys(groups: dict[str, Any]) -> set[str]:
    """Return ``{"optim.lr", ...}``."""
    return {f"{name}.{key}" for name, group in groups.items() for key in _fields(group)}


def suggest_key(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'optim.lr'?"`` for a key, or the keys of its group if none is similar.

    Keys are compared within their group: with the group's name in both, ``model.ema`` would resemble ``model.name``.
    """
    known = sorted(known)
    group, _, key = word.rpartition(".")
    group_of = {name: name.rpartition(".")[0] for name in known}
    inside = {name.rpartition(".")[2]: name for name in known if group_of[name] == group}
    near = [inside[name] for name in close_names(key, inside, cutoff=0.5 if len(key) < 3 else 0.6)]
    near = near or [name for name in known if name.rpartition(".")[2] == key]  # the right key in the wrong group
    near = near or close_names(word, [name for name in known if group_of[name] != group])  # the group is misspelt
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; expected one of {', '.join(map(repr, inside.values() or known))}"


def _fields(group: Any) -> dict[str, tuple[Any, Any]]:
    """Return key -> (annotation, metadata)."""
    try:
        annotations = typing.get_type_hints(group)
    except NameError:  # of a user-defined group: a type that is imported for type checkers only
        annotations = {field.name: Any for field in dataclasses.fields(group)}
    return {field.name: (annotations[field.name], field.metadata) for field in dataclasses.fields(group)}


def _first(group: Any) -> str:
    return dataclasses.fields(group)[0].name


def _complaint(annotation: Any, metadata: Any, value: Any, name: str) -> str | None:
    """Return what is expected instead of ``value`` of the key ``name``, or None if it is allowed."""
    if not _fits(annotation, value):
        hint = ""
        if isinstance(value, str) and _is_number(value) and float in _members(annotation):
            hint = f" (YAML reads {value} as a word: write {float(value)!r})"
        if isinstance(value, numbers.Real) and str in _members(annotation) and "choices" not in metadata:
            word = _shown(value)
            hint = (
                f'; in quotes it is a word: {name.rpartition(".")[2]}: "{word}" in a file, \'++{name}="{word}"\' typed'
            )
        return f"expected {_described(annotation)}{_range(metadata)}{hint}"
    if value is None or isinstance(value, bool):
        return None
    choices = metadata.get("choices")
    if choices is not None and isinstance(value, str):
        names = tuple(choices() if callable(choices) else choices)
        if value not in names:
            return f"expected one of {', '.join(map(repr, names))}{did_you_mean(value, names, cutoff=0.5)}"
    if isinstance(value, numbers.Real) and not _within(float(value), metadata):
        return f"expected {_described(annotation)}{_range(metadata)}"
    return None


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of ``int | None``, or the annotation alone."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _fits(annotation: Any, value: Any) -> bool:
    return any(_fits_one(member, value) for member in _members(annotation))


def _fits_one(member: Any, value: Any) -> bool:
    origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
    if member is Any:
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if origin is str:
        return isinstance(value, str | os.PathLike)
    if origin in (list, tuple):
        element = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(_fits(element, item) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    return isinstance(value, origin)


def _converted(annotation: Any, value: Any) -> Any:
    members = _members(annotation)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if int in members and isinstance(value, numbers.Integral):
            return int(value)
        return float(value) if float in members else value
    if isinstance(value, os.PathLike) and str in members:
        return os.fspath(value)
    if isinstance(value, list) and any(typing.get_origin(member) is tuple for member in members):
        return tuple(value)
    return value


def _within(value: float, metadata: Any) -> bool:
    return (
        math.isfinite(value)
        and metadata.get("low", -math.inf) <= value <= metadata.get("high", math.inf)
        and metadata.get("above", -math.inf) < value < metadata.get("below", math.inf)
    )


def _described(annotation: Any) -> str:
    words = []
    for member in _members(annotation):
        origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
        if origin is typing.Literal:
            words.append(f"one of {', '.join(map(repr, arguments))}")
        elif origin in (list, tuple):
            element = arguments[0] if arguments else Any
            inner = _WORDS.get(element, "values").removeprefix("a ") if element is not Any else "values"
            words.append(f"a list of {inner}s" if element in (int, float, str) else "a list")
        elif origin is dict:
            words.append("a mapping {key: value}")
        else:
            words.append(_WORDS.get(origin, getattr(origin, "__name__", str(origin))))
    return " or ".join(words)


def _range(metadata: Any) -> str:
    signs = {"low": "at least", "high": "at most", "above": "above", "below": "below"}
    said = [f"{sign} {metadata[name]:g}" for name, sign in signs.items() if name in metadata]
    if "choices" in metadata and not callable(metadata["choices"]):
        said.append(f"one of {', '.join(map(repr, metadata['choices']))}")
    return f", {' and '.join(said)}" if said else ""


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
