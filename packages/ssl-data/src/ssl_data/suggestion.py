"""Suggest a known name for a misspelt one, by the rule of ``ssl_core.config.suggestion``, which this package cannot import."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'CIFAR10'?"`` to append to a message, or an empty string if no known name is similar.

    Examples
    --------
    >>> did_you_mean("cifar10", ["digits", "CIFAR10"])
    "; did you mean 'CIFAR10'?"
    """
    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""
