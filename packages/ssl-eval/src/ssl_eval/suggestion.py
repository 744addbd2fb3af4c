"""Suggest a known name for a misspelt one, by the rule of ``ssl_core.config.suggestion``, which is not imported here."""

import difflib
from collections.abc import Iterable


def close_name(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that resembles a word most, or None if none does. Case is ignored."""
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1)
    return folded[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean '--out'?"`` to append to a message, or an empty string if no known name is similar.

    Examples
    --------
    >>> did_you_mean("--OUT", ["--out", "--help"])
    "; did you mean '--out'?"
    """
    near = close_name(word, known)
    return f"; did you mean {near!r}?" if near else ""
