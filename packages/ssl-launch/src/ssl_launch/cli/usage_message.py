"""The line that a user sees for a mistake in the options of a command that click parses."""

import re

import click

from ssl_core.config.suggestion import close_names


def usage_message(error: click.ClickException, command: str) -> str:
    """Return one line: the command, what is wrong, and the nearest option.

    Parameters
    ----------
    error : click.ClickException
        The error of the parser or of a parameter.
    command : str
        Named if the error does not know its command.
    """
    context = getattr(error, "ctx", None)
    message, near = error.format_message(), getattr(error, "possibilities", None)
    if isinstance(error, click.NoSuchOption):
        message, near = f"No such option {error.option_name!r}.", _similar_options(error)
    if near:
        message = f"{error.message.rstrip('.')}; did you mean {near[0]!r}?"
    message += _as_option(message, context)
    return f"{context.command_path if context else command}: {message}"


def _similar_options(error: click.NoSuchOption) -> list[str]:
    """Return the options that resemble an unknown one; click's own include ``--help`` for any short word."""
    names = {each.lstrip("-"): each for each in error.possibilities or ()}
    return [names[each] for each in close_names(error.option_name.lstrip("-"), names)]


def _as_option(message: str, context: click.Context | None) -> str:
    """Return a suggestion for ``step=3``, which other commands accept, if this one has the option ``--step``."""
    typed = re.search(r"[(']-*(\w+)=([^)']*)[)']", message)
    known = {name for each in context.command.params for name in each.opts} if context else set()
    if typed is None or f"--{typed[1]}" not in known:
        return ""
    return f"; did you mean '--{typed[1]} {typed[2]}'?"
