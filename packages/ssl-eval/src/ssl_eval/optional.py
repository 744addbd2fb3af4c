"""Imports of optional packages, with an error that says how to install them. Nothing here imports torch."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def optional_import(what: str) -> Iterator[None]:
    """Turn an ImportError inside the block into one line: what needs which package, and the command that installs it.

    Examples
    --------
    >>> with optional_import("a plot"):
    ...     import a_missing_package
    Traceback (most recent call last):
    ...
    ImportError: a plot needs a_missing_package: pip install a_missing_package, or './packages/ssl-eval[report]' in the checkout
    """
    try:
        yield
    except ImportError as error:
        package = {"sklearn": "scikit-learn", "yaml": "pyyaml", "umap": "umap-learn"}.get(
            name := (error.name or "").partition(".")[0], name
        )
        raise ImportError(
            f"{what} needs {package}: pip install {package}, or './packages/ssl-eval[report]' in the checkout"
        ) from error
