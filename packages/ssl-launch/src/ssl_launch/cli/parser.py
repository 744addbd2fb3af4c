"""The arguments of a command of ``stable-ssl``: what is wrong with them is one line, with the nearest word that is right."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ssl_core.config.suggestion import did_you_mean
from ssl_core.config.validation import suggest_key
from ssl_core.errors import ConfigError


class CommandParser(argparse.ArgumentParser):
    """Refuses with a :class:`~ssl_core.ConfigError`, not with the usage; help is as wide as a screen of 80 columns."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"stable-ssl {command}", description=description, allow_abbrev=False, formatter_class=_Formatter
        )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse has to say."""
        more = "" if "did you mean" in message else f"; see {self.prog} --help"
        raise ConfigError(f"{self.prog}: {message}{more}")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Return the values of the arguments.

        Raises
        ------
        ConfigError
            For what cannot be; an option that is not there is answered with the nearest.
        """
        for option in (each.partition("=")[0] for each in arguments if each.startswith("--")):
            if option not in self.options():
                raise ConfigError(f"{self.prog}: {option}: unknown option{suggest_key(option, self.options())}")
        return self.parse_args(list(arguments))

    def options(self) -> list[str]:
        """Return the names of the long options."""
        return [name for action in self._actions for name in action.option_strings if name.startswith("--")]


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=24, width=80)


def one_of(*words: str) -> Callable[[str], str]:
    """Return the type of an argument that is one of some words."""

    def word(given: str) -> str:
        if given not in words:
            raise argparse.ArgumentTypeError(f"{given!r} is none of {', '.join(words)}{did_you_mean(given, words)}")
        return given

    return word


def folder(given: str) -> Path:
    """Be the type of an argument that is a folder which is there."""
    path = Path(given)
    if path.is_dir():
        return path
    if path.exists():
        raise argparse.ArgumentTypeError(f"{given!r} is no folder")
    beside = [str(each) for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
    raise argparse.ArgumentTypeError(f"{given!r}: there is no such folder{did_you_mean(str(path), beside)}")
