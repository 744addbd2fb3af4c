"""Check the working directory, where relative paths start."""

import os

from ssl_core.errors import ConfigError


def check_working_directory() -> None:
    """Raise a ConfigError if the working directory was deleted, or cannot be entered."""
    try:
        os.getcwd()
    except OSError as error:
        shown = f" '{os.environ['PWD']}'" if os.environ.get("PWD") else ""
        raise ConfigError(
            f"the working directory{shown} does not exist ({error.strerror}); change to another one with cd"
        ) from error
