"""Validate dataclasses: unknown keys, wrong types, values out of range. The same for YAML, the command line and Python.

The rules are in the dataclasses: their annotations, and ``field(metadata=...)`` with ``choices`` (a tuple), ``low``/``high``
(inclusive) and ``above``/``below`` (exclusive), which hold for each element of a list.
"""

import contextlib
import dataclasses
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ssl_core.config.suggestion import unknown_key, unknown_name
from ssl_core.errors import ConfigError

_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a string", type(None): "null"}
_LIMITS = {"low": "at least", "high": "at most", "above": "above", "below": "below"}


def build_groups(
    kinds: Mapping[str, Any], given: Mapping[str, Any], known: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return an instance of each group's dataclass. Values are not checked here: see :func:`check_groups`.

    ``given`` is group -> key -> value, as composed from YAML and the command line. For an unknown key or group, and for a key
    without default that is not given, a ConfigError suggests one of the ``known`` keys (default: those of ``kinds``).
    """
    keys = known_keys(kinds) if known is None else set(known)
    errors: list[ConfigError] = []
    for name in given.keys() - kinds.keys():
        values = given[name]
        if isinstance(values, dict) and values:
            errors += [unknown_key(f"{name}.{key}", keys) for key in values]
        else:
            errors.append(unknown_key(name, keys | kinds.keys()))
    values_of = {
        name: {} if given.get(name) is None else given[name] for name in kinds
    }  # None: an empty group in a file
    for name, kind in kinds.items():
        fields = {each.name: each for each in dataclasses.fields(kind)}
        if not isinstance(values_of[name], dict):
            expected = f"a group of keys, e.g. {name}.{next(iter(fields))}=..."
            errors.append(ConfigError(key=name, value=values_of[name], expected=expected))
            continue
        errors += [unknown_key(_join(name, key), keys) for key in values_of[name] if key not in fields]
        errors += [
            ConfigError(key=_join(name, key), expected="a value: the key has no default")
            for key, each in fields.items()
            if key not in values_of[name] and each.default is each.default_factory is dataclasses.MISSING
        ]
    ConfigError.raise_first(errors)
    return {name: kind(**values_of[name]) for name, kind in kinds.items()}


def check_groups(groups: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a wrong type or value, then for what the ``check()`` of a group does not allow.

    Values of a compatible type are converted to the annotated one: numpy numbers and paths become Python's numbers and
    strings, integers become floats where a float is expected. A field's own default and objects that are no dataclasses are
    not checked. The sentence of the first error names the keys of the others.
    """
    groups = {name: group for name, group in groups.items() if dataclasses.is_dataclass(group)}
    ConfigError.raise_first([error for name, group in groups.items() for error in validate(name, group)])
    for name, group in groups.items():
        if hasattr(group, "check"):
            with full_keys(name, group):
                group.check()


@contextlib.contextmanager
def full_keys(name: str, group: Any) -> Iterator[None]:
    """Add the group to an error that begins with one of its fields; also a user-defined group raises ``ValueError``.

    The packages that need no configuration name their own arguments: ``knn=[0]: expected ...`` of ssl-eval becomes a
    ConfigError with ``eval.knn``, ``temperature must be ...`` of ssl-losses one with ``model.temperature``.
    """
    try:
        yield
    except ValueError as error:
        field = re.match(r"(\w+)(?==|:|\.|\[| must )", str(error))
        if isinstance(error, ConfigError) or field is None or field[1] not in _names(group):
            raise
        found = ConfigError(_join(name, str(error)))
        found.key = _join(name, field[1])
        raise found from error


def validate(name: str, group: Any) -> list[ConfigError]:
    """Return what is wrong with the values of a dataclass instance; convert those that are right."""
    errors = []
    annotations = _annotations(type(group))
    for each in dataclasses.fields(group):
        value = getattr(group, each.name)
        if value is each.default:
            continue
        error = validate_value(_join(name, each.name), value, annotations[each.name], each.metadata)
        if error:
            errors.append(error)
        else:  # a user-defined group may be frozen
            object.__setattr__(group, each.name, _convert(annotations[each.name], value))
    return errors


def validate_value(key: str, value: Any, annotation: Any, metadata: Mapping[str, Any]) -> ConfigError | None:
    """Return the error for a value that its annotation or the metadata does not allow, or None."""
    if not _fits(annotation, value):
        return ConfigError(
            _hint(key, value, annotation, metadata), key=key, value=value, expected=_describe(annotation, metadata)
        )
    for each in value if isinstance(value, list | tuple) else [value]:
        if isinstance(each, str) and each not in metadata.get("choices", [each]):
            return unknown_name(key, each, metadata["choices"])
        if isinstance(each, numbers.Real) and not isinstance(each, bool) and not _within(float(each), metadata):
            return ConfigError(key=key, value=value, expected=_describe(annotation, metadata))
    return None


def known_keys(groups: Mapping[str, Any]) -> set[str]:
    """Return ``{"optim.lr", ...}``."""
    return {_join(name, each.name) for name, group in groups.items() for each in dataclasses.fields(group)}


def suggest_key(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'optim.lr'?"``, or what is expected, to append to a message."""
    return f"; {str(unknown_key(word, known, '')).partition(': ')[2]}"


def _names(group: Any) -> set[str]:
    return {each.name for each in dataclasses.fields(group)}


def _join(group: str, key: str) -> str:
    return f"{group}.{key}" if group else key


def _annotations(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind)
    except NameError:  # of a user-defined group: a type that is imported for type checkers only
        return {each.name: Any for each in dataclasses.fields(kind)}


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of ``int | None``, or the annotation alone."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return typing.get_args(annotation)
    return (annotation,)


def _fits(annotation: Any, value: Any) -> bool:
    if len(members := _members(annotation)) > 1:
        return any(_fits(member, value) for member in members)
    origin, arguments = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin is typing.Literal:
        return value in arguments
    if origin in (int, float):
        number = numbers.Integral if origin is int else numbers.Real
        return isinstance(value, number) and not isinstance(value, bool)
    if origin is str:
        return isinstance(value, str | os.PathLike)
    if origin in (list, tuple):
        element = arguments[0] if arguments else Any
        return isinstance(value, list | tuple) and all(_fits(element, item) for item in value)
    return isinstance(value, origin)


def _convert(annotation: Any, value: Any) -> Any:
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


def _within(value: float, metadata: Mapping[str, Any]) -> bool:
    return (
        math.isfinite(value)
        and metadata.get("low", -math.inf) <= value <= metadata.get("high", math.inf)
        and metadata.get("above", -math.inf) < value < metadata.get("below", math.inf)
    )


def _describe(annotation: Any, metadata: Mapping[str, Any]) -> str:
    """Return e.g. ``"a number or null, at least 0"``."""
    names = []
    for member in _members(annotation):
        origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
        if origin is typing.Literal:
            names.append(f"one of {', '.join(map(repr, arguments))}")
        elif origin in (list, tuple):
            element = _NAMES.get(arguments[0] if arguments else Any, "").rpartition(" ")[2]
            names.append(f"a list of {element}s" if element else "a list")
        elif origin is dict:
            names.append("a mapping {key: value}")
        else:
            names.append(_NAMES.get(origin, getattr(origin, "__name__", str(origin))))
    limits = [f"{sign} {metadata[name]:g}" for name, sign in _LIMITS.items() if name in metadata]
    if "choices" in metadata:
        limits.append(f"one of {', '.join(map(repr, metadata['choices']))}")
    return " or ".join(names) + (f", {' and '.join(limits)}" if limits else "")


def _hint(key: str, value: Any, annotation: Any, metadata: Mapping[str, Any]) -> str:
    """Return what to write where YAML has read a number as a string, or a string as a number."""
    if isinstance(value, str) and float in _members(annotation):
        try:
            return f"YAML reads {value} as a string, write {float(value)!r}"
        except ValueError:
            return ""
    if isinstance(value, int | float) and str in _members(annotation) and "choices" not in metadata:
        word = str(value).lower() if isinstance(value, bool) else str(value)
        return (
            f'a string needs quotes, {key.rpartition(".")[2]}: "{word}" in a file, \'{key}="{word}"\' on a command line'
        )
    return ""
