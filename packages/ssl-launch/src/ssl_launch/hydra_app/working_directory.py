"""The directory where a command is typed: relative paths begin there."""

import os

from ssl_core.errors import ConfigError


def check_working_directory() -> None:
    """Raise a ConfigError if the working directory was deleted, or cannot be entered any more."""
    try:
        os.getcwd()
    except OSError as error:
        shown = f" '{os.environ['PWD']}'" if os.environ.get("PWD") else ""
        raise ConfigError(
            f"the working directory{shown} does not exist any more ({error.strerror}); change to another one with cd"
        ) from error
