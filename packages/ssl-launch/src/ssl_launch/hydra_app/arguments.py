"""Parse a command line with Hydra's own parser, and write it again in the form that Hydra accepts."""

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from ssl_core.config.suggestion import close_names, unknown_key
from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError
from ssl_launch.hydra_app.override_syntax import check_overrides, quoted

# Options of Hydra that would unpickle a file, or install its own completion instead of that of stable-ssl
NOT_OFFERED = ("--experimental-rerun", "--shell-completion", "-sc")


def parse_arguments(
    typed: Sequence[str], options: Mapping[str, str], keys: Callable[[], Iterable[str]] = tuple
) -> Namespace:
    """Return the options of Hydra, and ``overrides``. Options may be anywhere.

    Parameters
    ----------
    typed : sequence of str
        The command line after the name of the program.
    options : Mapping
        Option of the command -> the key of its configuration that it sets; ``key=true`` for an option without a value.
    keys : Callable
        Returns the keys of the configuration: for ``--lr 0.1``, ``optim.lr=0.1`` is suggested.

    Raises
    ------
    ConfigError
        For an unknown option, and an option without its value; with the one that was probably meant.

    Examples
    --------
    >>> found = parse_arguments(["a=1", "-m", "--idea", "my idea.py", "b=2"], {"--idea": "method"})
    >>> found.multirun, found.overrides
    (True, ['a=1', 'b=2', 'method="my idea.py"'])
    """
    parser = _parser(options)
    hidden = [each for each in typed if each.partition("=")[0] in NOT_OFFERED]
    arguments, unread = parser.parse_known_intermixed_args([each for each in typed if each not in hidden])
    for option in (*hidden, *unread):
        if option.startswith("-"):
            raise _unknown_option(option, typed[typed.index(option) + 1 :], parser, keys())
    arguments.overrides += arguments.own or []
    return arguments


def to_words(arguments: Namespace) -> list[str]:
    """Return the command line for Hydra: options first, which Hydra 1.3 does not accept between overrides.

    Examples
    --------
    >>> to_words(parse_arguments(["optim.lr=1", "-m", "optim.epochs=2,3", "--config-name", "mine"], {}))
    ['--multirun', '--config-name=mine', 'optim.lr=1', 'optim.epochs=2,3']
    """
    words = []
    for action in get_args_parser()._actions:
        value = getattr(arguments, action.dest, None)
        if action.option_strings and value:
            words.append(action.option_strings[0] if value is True else f"{action.option_strings[0]}={value}")
    return [*words, *arguments.overrides]


def complete_arguments(arguments: Namespace, script_folder: Path) -> None:
    """Make ``config_path`` absolute, and ``multirun`` true if a sweeper is named; check the overrides.

    Hydra resolves a relative path from the module of its task function, which is ours; a user means the working directory, or
    that of the script. Hydra composes once to find the mode, ignores any error, and then reports the values of a sweep as an
    error.

    Raises
    ------
    ConfigError
        For an override that Hydra cannot read.
    """
    if arguments.config_path:
        here = Path(arguments.config_path)
        arguments.config_path = str((here if here.is_dir() else script_folder / here).absolute())
    named = {each.lstrip("+").partition("=")[0] for each in arguments.overrides}
    arguments.multirun |= "hydra/sweeper" in named and not arguments.cfg and "hydra.mode" not in named
    check_overrides(arguments.overrides)


def _parser(options: Mapping[str, str]) -> ArgumentParser:
    parser = get_args_parser()
    parser.allow_abbrev = False
    for name, key in options.items():
        if key.endswith("=true"):
            parser.add_argument(name, dest="own", action="append_const", const=key)
        else:
            parser.add_argument(name, dest="own", action="append", type=_override_of(key))
    parser.set_defaults(own=None)

    def raise_error(message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.+)\)", message)
        hint = suggest_key(choice[1], re.findall(r"\w+", choice[2])) if choice else ""
        raise ConfigError(f"{message.partition(' (choose')[0]}{hint}")

    parser.error = raise_error  # type: ignore[method-assign]
    return parser


def _override_of(key: str) -> Callable[[str], str]:
    return lambda value: f"{key}={quoted(value)}"


def _unknown_option(option: str, following: Sequence[str], parser: ArgumentParser, keys: Iterable[str]) -> ConfigError:
    """Return the error for an option, with ``key=value`` if it has the name of a key."""
    name, equals, value = option.partition("=")
    named = {key.rpartition(".")[2]: key for key in sorted(keys)} | {key: key for key in keys}
    near = close_names(name.lstrip("-").replace("-", "_"), named, cutoff=0.85)
    if not near:
        known = {each for action in parser._actions for each in action.option_strings if each.startswith("--")}
        return unknown_key(name, known.difference(NOT_OFFERED), "unknown option")
    if not equals:
        value = next((each for each in following[:1] if not each.startswith("-") and "=" not in each), "VALUE")
    suggestion = f"{named[near[0]]}={value}"
    return ConfigError("unknown option", key=name, expected="a key without dashes", suggestion=suggestion)
