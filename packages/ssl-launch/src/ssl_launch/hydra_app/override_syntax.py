"""Messages for ``key=value`` arguments that Hydra's grammar does not accept, with the argument that works."""

import os
import re
import shlex
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Quote, QuotedString, Sweep
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
