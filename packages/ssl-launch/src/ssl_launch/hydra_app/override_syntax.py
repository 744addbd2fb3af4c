"""Check ``key=value`` arguments before Hydra expands them: its grammar, and the values of a sweep."""

import os
import re
import shlex
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Quote, QuotedString, RangeSweep, Sweep
from hydra.errors import HydraException

from ssl_core.errors import ConfigError

_KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@:$-]*")
_NEEDS_CLOSING = re.compile(r"""[\[{("']|(choice|range|interval|glob|shuffle|sort|tag|extend_list)\(""")


def check_overrides(overrides: Iterable[str]) -> None:
    """Raise for an argument that Hydra cannot parse, and for nested sweeps.

    Raises
    ------
    ConfigError
        Naming the argument and, where it can be derived, the one that works.
    """
    for override in overrides:
        parsed = _parse(override)
        if parsed is None:
            raise ConfigError(unreadable(override))
        value = parsed._value
        if isinstance(value, ChoiceSweep) and any(isinstance(each, Sweep) for each in value.list):
            key = override.partition("=")[0]
            works = f"write {key}=choice({','.join(_flat(value))})" if _is_choice(value) else "write the values out"
            raise ConfigError(f"{override}: a list with commas cannot contain choice() or range(); {works}")


def check_axes(overrides: Iterable[str], loader: Any) -> None:
    """Raise a ConfigError if an override has no value to sweep over; Hydra would run nothing and report success.

    Parameters
    ----------
    overrides : iterable of str
        From the command line, or from ``hydra.sweeper.params``.
    loader : ConfigLoader
        Hydra's loader; it knows the choices that a ``glob`` selects from.
    """
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(overrides)):
        if override.is_sweep_override() and override.is_discrete_sweep():
            value = override.value()
            if isinstance(value, RangeSweep) and value.step == 0:
                raise ConfigError(f"{override.input_line}: the step of a range must not be 0")
            if next(iter(override.sweep_string_iterator()), None) is None:
                raise ConfigError(
                    f"{override.input_line}: no value to sweep over; {_empty_because(override, value, loader)}"
                )


def unreadable(override: str) -> str:
    """Return the message for an argument that Hydra cannot parse.

    Examples
    --------
    >>> print(unreadable("++model.init_from=epoch=1.ckpt"))
    ++model.init_from=epoch=1.ckpt: the value has special characters and needs quotes: '++model.init_from="epoch=1.ckpt"'
    >>> print(unreadable("just words"))
    just words: expected group.key=value
    """
    key, equals, value = override.partition("=")
    if not equals or not _KEY.fullmatch(key):
        return f"{override}: expected group.key=value"
    if value == "~" or value.startswith("~/"):
        whole = f"{key}={os.path.expanduser(value)}"
        return f"{override}: the shell does not expand '~' here; write {_typed(whole)}"
    if _NEEDS_CLOSING.match(value) or _parse(f"{key}={quoted(value)}") is None:
        return f"{override}: the value cannot be read; expected closed brackets, braces and quotes"
    return f"{override}: the value has special characters and needs quotes: {shlex.quote(f'{key}={quoted(value)}')}"


def quoted(value: str) -> str:
    """Return the value in quotes, which Hydra reads as a string with any characters.

    Examples
    --------
    >>> print(quoted('a "b"'))
    "a \\"b\\""
    """
    return QuotedString(value, quote=Quote.double).with_quotes()


def _typed(override: str) -> str:
    """Return an argument as typed in a shell, with the quotes that Hydra needs."""
    key, _, value = override.partition("=")
    return shlex.quote(override if _parse(override) is not None else f"{key}={quoted(value)}")


def _parse(override: str) -> Any:
    """Return the argument as parsed by Hydra, or None if Hydra cannot parse it."""
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        return None


def _is_choice(sweep: ChoiceSweep) -> bool:
    return all(
        _is_choice(each) if isinstance(each, ChoiceSweep) else not isinstance(each, Sweep) for each in sweep.list
    )


def _flat(sweep: ChoiceSweep) -> list[str]:
    found = []
    for each in sweep.list:
        if isinstance(each, ChoiceSweep):
            found += _flat(each)
        else:
            found.append(each.with_quotes() if isinstance(each, QuotedString) else str(each))
    return found


def _empty_because(override: Override, value: Any, loader: Any) -> str:
    if isinstance(value, RangeSweep):
        return "a range includes its start and excludes its stop"
    if isinstance(value, Glob):
        choices = loader.get_group_options(override.key_or_group)
        return f"the choices are {', '.join(choices)}" if choices else f"there is no group {override.key_or_group!r}"
    return "give at least one"
